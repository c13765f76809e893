import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { SortedList } from "../../../src/stores/memory/sorted-list.js";
import { Denylist } from "../../../src/stores/revocations/denylist.js";
import { ManualClock } from "../../../src/testing/manual-clock.js";
import { heapUsed } from "../../support/heap.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";

test("the memory key store is bounded: a full one rejects and stays as it is", async () => {
  const store = new MemoryApiKeyStore({ maxKeys: 2 });
  await store.insert(sampleKey({ id: "a" }));
  await store.insert(sampleKey({ id: "b" }));
  await expect(store.insert(sampleKey({ id: "c" }))).rejects.toThrow("The memory store is full: it has 2 API keys.");
  await expect(store.rotate("a", sampleKey({ id: "c" }), Number.MAX_SAFE_INTEGER)).rejects.toThrow(
    "The memory store is full: it has 2 API keys.",
  );
  expect(await store.get("a")).toEqual(sampleKey({ id: "a" }));
  expect(await store.get("c")).toBeUndefined();
});

describe("keys with metadata of many short values", () => {
  const metadata = { list: Array.from({ length: 1300 }, () => ({})) };
  const filled = async (): Promise<MemoryApiKeyStore> => {
    const store = new MemoryApiKeyStore();
    for (let i = 0; i < 200; i += 1) {
      const id = `key-${String(i).padStart(3, "0")}`;
      await store.insert(sampleKey({ id, firstId: id, metadata }));
    }
    return store;
  };

  test("take about as much memory as their text", async () => {
    const before = heapUsed();
    const store = await filled();
    expect((heapUsed() - before) / 200).toBeLessThan(4 * JSON.stringify(metadata).length);
    expect((await store.get("key-199"))?.metadata).toEqual(metadata);
  });

  test("leave room for other requests while a page of them is read", async () => {
    const store = await filled();
    let turns = 0;
    let next: NodeJS.Immediate;
    const count = (): void => {
      turns += 1;
      next = setImmediate(count);
    };
    next = setImmediate(count);
    const page = store.list("owner", { limit: 100 });
    // What happens meanwhile does not change the page.
    await store.revoke("key-100", 5, "late");
    const found = await page;
    clearImmediate(next);
    expect(found.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, i) => `key-${199 - i}`));
    expect(found.every((key) => key.revokedAt === null && JSON.stringify(key.metadata).length > 3000)).toBe(true);
    expect(turns).toBeGreaterThanOrEqual(4);
  });
});

test("the memory token store is bounded, and makes room by what has ended", async () => {
  const clock = new ManualClock();
  const store = new MemoryTokenStore({ clock, maxTokens: 3 });
  const end = clock.now() + 1000;
  const short = (id: string) => sampleToken({ id, familyId: id, expiresAt: end, familyExpiresAt: end });
  for (const id of ["a", "b", "c"]) await store.insert(short(id));
  await expect(store.insert(short("d"))).rejects.toThrow("The memory store is full: it has 3 refresh tokens.");
  clock.advance(1001);
  await store.insert(short("d"));
  expect(await store.get("d")).toBeDefined();
});

test("a rotation of a token that has just ended leaves no orphan", async () => {
  const clock = new ManualClock();
  const store = new MemoryTokenStore({ clock });
  await store.insert(sampleToken({ expiresAt: clock.now(), familyExpiresAt: clock.now() }));
  clock.advance(1);
  const later = { expiresAt: clock.now() + 1000, familyExpiresAt: clock.now() + 1000 };
  expect(await store.rotate("token-1", clock.now(), sampleToken({ id: "token-2", ...later }), "sealed")).toBe(false);
  expect(await store.get("token-1")).toBeUndefined();
  expect(await store.get("token-2")).toBeUndefined();
});

test("expired denials are removed without deleteExpired: only those in force remain", () => {
  const denials = new Denylist();
  const life = 1000;
  let most = 0;
  for (let now = 0; now < 20_000; now += 1) {
    denials.denyToken(`jti-${now}`, now + life, now);
    if (now % 97 === 0) most = Math.max(most, denials.inForce(0).length);
    expect(denials.isRevoked({ jti: `jti-${Math.max(0, now - life)}`, subject: "s", issuedAt: 0 })).toBe(true);
  }
  expect(most).toBeLessThan(life * 2);
  denials.deleteExpired(19_999);
  expect(denials.inForce(0)).toHaveLength(life + 1);
});

/** How many reads of maps and sets the work needs. */
async function lookUps(work: () => Promise<unknown>): Promise<number> {
  const spies = [
    vi.spyOn(Map.prototype, "get"),
    vi.spyOn(Map.prototype, "values"),
    vi.spyOn(Set.prototype, "values"),
    vi.spyOn(Set.prototype, "has"),
  ];
  try {
    await work();
    return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const NEVER = Number.MAX_SAFE_INTEGER;

describe("a share of the memory key store", () => {
  const live = (id: string, ownerId: string) => sampleKey({ id, ownerId, expiresAt: null });

  test("only an owner with a full share is refused, and can still revoke; others are not affected", async () => {
    const store = new MemoryApiKeyStore({ maxKeys: 2000 });
    for (let n = 0; n < 20; n += 1) await store.insert(live(`m${n}`, "mallory"));
    await expect(store.insert(live("m20", "mallory"))).rejects.toMatchObject({ code: "PORTCULLIS_SHARE_FULL" });
    await expect(store.rotate("m1", live("m20", "mallory"), NEVER)).rejects.toMatchObject({
      code: "PORTCULLIS_SHARE_FULL",
    });
    expect(await store.get("m1")).toEqual(live("m1", "mallory"));
    await store.insert(live("a", "ada"));
    expect(await store.revoke("m3", 1, "leaked")).toBe(true);
    await store.insert(live("m20", "mallory"));
    expect(await store.get("m3")).toBeUndefined();
    expect((await store.list("mallory", { limit: 100 })).length).toBe(20);
  });

  test("a key rotated without a grace period gives its place in a full share to its successor", async () => {
    const clock = new ManualClock();
    const store = new MemoryApiKeyStore({ maxKeys: 10, clock });
    for (let n = 0; n < 10; n += 1) await store.insert(live(`m${n}`, "mallory"));
    expect(await store.rotate("m4", live("m10", "mallory"), clock.now())).toBe(true);
    expect(await store.get("m4")).toBeUndefined();
    expect(await store.get("m10")).toEqual(live("m10", "mallory"));
  });

  test("expired keys are found and removed, those in force never", async () => {
    const clock = new ManualClock();
    const store = new MemoryApiKeyStore({ maxKeys: 30, clock });
    for (let n = 0; n < 10; n += 1) await store.insert(live(`a${n}`, "ada"));
    for (let n = 0; n < 10; n += 1)
      await store.insert(sampleKey({ id: `b${n}`, ownerId: "bob", expiresAt: clock.now() + 1000 }));
    for (let n = 0; n < 10; n += 1) await store.insert(live(`c${n}`, "carol"));
    await expect(store.insert(live("d0", "dan"))).rejects.toMatchObject({ code: "PORTCULLIS_STORE_FULL" });
    clock.advance(1000);
    let made = 0;
    for (let tries = 0; tries < 40; tries += 1)
      await store.insert(live(`d${tries}`, `dan${tries}`)).then(
        () => (made += 1),
        () => undefined,
      );
    expect(made).toBe(10);
    for (const owner of ["ada", "carol"]) expect(await store.list(owner, { limit: 100 })).toHaveLength(10);
  });

  test("an owner whose oldest keys have expired, or are past their grace period, gets a place at once", async () => {
    const clock = new ManualClock();
    const store = new MemoryApiKeyStore({ maxKeys: 2000, clock });
    for (let n = 0; n < 1000; n += 1) await store.insert(live(`x${n}`, `other ${n}`));
    const key = (id: string, createdAt: number, ends: boolean) =>
      sampleKey({ id, ownerId: "ada", createdAt, expiresAt: ends ? clock.now() + 1000 : null });
    for (let n = 0; n < 10; n += 1) await store.insert(key(`a${n}`, n, n > 0 && n < 5));
    for (let n = 10; n < 19; n += 1) await store.insert(key(`a${n}`, n, false));
    expect(await store.rotate("a0", key("a19", 19, false), clock.now() + 1000)).toBe(true);
    await expect(store.insert(live("b", "ada"))).rejects.toMatchObject({ code: "PORTCULLIS_SHARE_FULL" });
    clock.advance(1000);
    for (let n = 20; n < 25; n += 1) await store.insert(key(`a${n}`, n, false));
    await expect(store.insert(live("b", "ada"))).rejects.toMatchObject({ code: "PORTCULLIS_SHARE_FULL" });
  });

  test("no operation takes more steps in a store with 20 000 keys of the owner than in one with 200", async () => {
    const steps: number[][] = [];
    for (const count of [200, 20_000]) {
      const store = new MemoryApiKeyStore({ maxKeys: 10_000_000 });
      for (let n = 0; n < count; n += 1) await store.insert(sampleKey({ id: `k${n}`, createdAt: n, expiresAt: null }));
      steps.push([
        await lookUps(() => store.list("owner", { limit: 5 })),
        await lookUps(() => store.list("owner", { limit: 5, after: `k${count / 2}` })),
        await lookUps(() => store.revoke("k7", 1, "x")),
        await lookUps(() => store.rotate("k8", sampleKey({ id: "next", createdAt: count }), 1)),
        await lookUps(() => store.insert(sampleKey({ id: "more", createdAt: count / 2 }))),
      ]);
    }
    expect(steps[1]).toEqual(steps[0]);
    expect(Math.max(...(steps[1] ?? []))).toBeLessThan(30);
  });

  test("a page of all owners takes as many steps in a store with 50 000 keys as in one with 500", async () => {
    const steps: number[][] = [];
    for (const count of [500, 50_000]) {
      const store = new MemoryApiKeyStore({ maxKeys: 10_000_000 });
      for (let n = 0; n < count; n += 1)
        await store.insert(
          sampleKey({
            id: `k${n}`,
            ownerId: `owner ${n % 50}`,
            createdAt: n,
            expiresAt: NEVER - n,
            lastUsedAt: null,
          }),
        );
      // Ended keys stand at the beginning of the other orders, and are passed over only once they are asked for.
      for (let n = 0; n < count; n += 2) await store.revoke(`k${n}`, 1, "x");
      const at = (n: number) => ({ id: `k${n}`, createdAt: n, expiresAt: NEVER - n, lastUsedAt: null });
      const expires = { from: 1, before: NEVER };
      const page = (more: object, first: number) =>
        lookUps(async () => {
          const found = await store.listAll({ limit: 50, ...more });
          expect([found.length, found[0]?.id]).toEqual([50, `k${first}`]);
        });
      steps.push([
        await page({}, count - 1),
        await page({ after: at(count / 2) }, count / 2 - 1),
        await page({ expires }, count - 1),
        await page({ expires, after: at(count / 2 + 1) }, count / 2 - 1),
        await page({ unusedSince: count }, 1),
        await page({ unusedSince: count, after: at(count / 2 - 1) }, count / 2 + 1),
        await lookUps(() => store.addUsage([{ id: "k7", count: 1, lastUsedAt: count }])),
        await lookUps(() => store.update("k9", { expiresAt: 5 })),
      ]);
    }
    const [few = [], many = []] = steps;
    // The test runner reads some maps of its own in between.
    for (const [call, count] of many.entries()) expect([call, count - few[call]! < 10]).toEqual([call, true]);
    expect(Math.max(...many)).toBeLessThan(250);
  });
});

describe("a share of the memory token store", () => {
  test("a subject with a full share loses the family that was idle for longest; no other subject loses one", async () => {
    const store = new MemoryTokenStore({ maxTokens: 1000 });
    await store.insert(sampleToken({ id: "ada", familyId: "ada", subject: "ada" }));
    for (let n = 0; n < 10; n += 1) await store.insert(sampleToken({ id: `m${n}`, familyId: `m${n}` }));
    await store.insert(sampleToken({ id: "m10", familyId: "m10" }));
    const marks = await Promise.all(["m0", "m1", "m10", "ada"].map((id) => store.get(id)));
    expect(marks.map((token) => token?.revokedAt)).toEqual([undefined, null, null, null]);
  });

  test("a family that alone fills the share is ended, and its used tokens are remembered until then", async () => {
    const store = new MemoryTokenStore({ maxTokens: 1000 });
    await store.insert(sampleToken({ id: "t0" }));
    let n = 0;
    while (await store.rotate(`t${n}`, Date.now(), sampleToken({ id: `t${n + 1}` }), "sealed")) n += 1;
    expect(n).toBe(9);
    expect((await store.get("t9"))?.revokedAt).not.toBeNull();
    await store.insert(sampleToken({ id: "again", familyId: "again" }));
    expect((await store.get("again"))?.revokedAt).toBeNull();
  });

  test("a full store removes tokens of revoked families, and revoking always works", async () => {
    const store = new MemoryTokenStore({ maxTokens: 20 });
    for (let n = 0; n < 20; n += 1)
      await store.insert(sampleToken({ id: `t${n}`, familyId: `t${n}`, subject: `s${n}` }));
    await expect(store.insert(sampleToken({ id: "x", familyId: "x", subject: "x" }))).rejects.toMatchObject({
      code: "PORTCULLIS_STORE_FULL",
    });
    expect(await store.revokeFamily("t3", 1)).toBe(true);
    await store.revokeSubject("s4", 1, NEVER);
    await store.insert(sampleToken({ id: "x", familyId: "x", subject: "x" }));
    await store.insert(sampleToken({ id: "y", familyId: "y", subject: "y" }));
    await expect(store.insert(sampleToken({ id: "z", familyId: "z", subject: "z" }))).rejects.toMatchObject({
      code: "PORTCULLIS_STORE_FULL",
    });
  });

  test("revoking takes as many steps for a family of 5 000 tokens, or a subject of 5 000 families, as for one of 50; a second time too", async () => {
    const steps: number[][] = [];
    for (const count of [50, 5000]) {
      const store = new MemoryTokenStore({ maxTokens: 10_000_000 });
      await store.insert(sampleToken({ id: "t0" }));
      for (let n = 0; n < count; n += 1) await store.rotate(`t${n}`, 1, sampleToken({ id: `t${n + 1}` }), "sealed");
      for (let n = 0; n < count; n += 1)
        await store.insert(sampleToken({ id: `f${n}`, familyId: `f${n}`, subject: "user-2" }));
      steps.push([
        await lookUps(() => store.revokeFamily("family-1", 1)),
        await lookUps(() => store.revokeFamily("family-1", 1)),
        await lookUps(() => store.revokeSubject("user-2", 1, NEVER)),
        await lookUps(() => store.get("t0")),
        await lookUps(() => store.insert(sampleToken({ id: "new", familyId: "new", subject: "user-2" }))),
      ]);
      expect((await store.get(`t${count}`))?.revokedAt).toBe(1);
      expect((await store.get(`f${count - 1}`))?.revokedAt).toBe(1);
    }
    expect(steps[1]).toEqual(steps[0]);
  });
});

test("a sorted list gives the pages that sorting gives, and compares O(log n) items for each call", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 300 })), { maxLength: 500 }),
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 20 }),
      (changes, cursor, limit) => {
        const list = new SortedList<number>((a, b) => b - a);
        const model = new Set<number>();
        for (const [isAdded, item] of changes) {
          if (!isAdded) list.remove(item);
          else if (!model.has(item)) list.add(item);
          if (isAdded) model.add(item);
          else model.delete(item);
        }
        const sorted = [...model].sort((a, b) => b - a);
        expect(list.page(undefined, 1000)).toEqual(sorted);
        expect(list.page(cursor, limit)).toEqual(sorted.filter((item) => item < cursor).slice(0, limit));
      },
    ),
  );
  let compared = 0;
  const big = new SortedList<number>((a, b) => ((compared += 1), a - b));
  for (let n = 0; n < 100_000; n += 1) big.add((n * 7919) % 100_003);
  for (const call of [() => big.add(0.5), () => big.remove(0.5), () => big.page(50_000, 10)]) {
    compared = 0;
    call();
    expect(compared).toBeLessThan(30);
  }
});
