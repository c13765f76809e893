import { describe, expect, test, vi } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { MemorySingleUseStore } from "../../../src/stores/memory/single-use-store.js";
import { recordId, sampleCredential, sampleRecord } from "../../../src/testing/credential-samples.js";
import { ManualClock } from "../../../src/testing/manual-clock.js";

const FULL = { code: "PORTCULLIS_STORE_FULL" };

/** How many reads and writes of maps, sets and pages of lists the work needs. */
async function steps(work: () => Promise<unknown>): Promise<number> {
  const spies = [
    vi.spyOn(Map.prototype, "get"),
    vi.spyOn(Map.prototype, "set"),
    vi.spyOn(Map.prototype, "has"),
    vi.spyOn(Map.prototype, "values"),
    vi.spyOn(Map.prototype, "entries"),
    vi.spyOn(Set.prototype, "has"),
    vi.spyOn(Set.prototype, "values"),
    vi.spyOn(Array.prototype, "at"),
    vi.spyOn(Array.prototype, "splice"),
  ];
  try {
    await work();
    return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe("credentials in memory", () => {
  const owned = (id: string, ownerId: string, expiresAt: number | null = null, kind = "totp") =>
    sampleCredential({ id, ownerId, expiresAt, kind });

  test("a store full of what never ends rejects what adds one and stays as it is; changes that add none go on", async () => {
    const store = new MemoryCredentialStore({ maxCredentials: 2 });
    await store.change("a", { insert: [owned("a", "a")] });
    await store.change("b", { insert: [owned("b", "b")] });
    await expect(store.change("c", { insert: [owned("c", "c")] })).rejects.toMatchObject(FULL);
    const more = { insert: [owned("a2", "a"), owned("a3", "a")] };
    await expect(store.change("a", { remove: ["a"], ...more })).rejects.toMatchObject(FULL);
    expect(await store.listOf("a")).toEqual([owned("a", "a")]);
    expect(await store.addFailure("a")).toBe(3);
    expect(await store.change("a", { remove: ["a"], insert: [owned("a2", "a")] })).toBe(true);
    expect(await store.change("b", { update: [{ id: "b", version: 3, failures: 0 }] })).toBe(true);
    expect(store.size).toBe(2);
  });

  test("in a full store expired ones give way, then those that end, the first to end first, and none that never ends", async () => {
    const clock = new ManualClock();
    const store = new MemoryCredentialStore({ maxCredentials: 4, clock });
    const at = clock.now();
    for (const [id, ends] of [
      ["late", at + 900],
      ["early", at + 100],
      ["never", null],
      ["next", at + 5000],
    ] as const)
      await store.change(id, { insert: [owned(id, id, ends)] });
    const left = async () =>
      (await Promise.all(["early", "late", "next", "never"].map((id) => store.listOf(id)))).flat().map(({ id }) => id);
    clock.advance(1000);
    await store.change("x", { insert: [owned("x", "x")] });
    expect(await left()).toEqual(["late", "next", "never"]);
    await store.change("y", { insert: [owned("y", "y")] });
    expect(await left()).toEqual(["next", "never"]);
    const two = { insert: [owned("z1", "z"), owned("z2", "z")] };
    await expect(store.change("z", two)).rejects.toMatchObject(FULL);
    expect(await left()).toEqual(["next", "never"]);
    await store.change("z", { insert: [owned("z", "z")] });
    expect(await left()).toEqual(["never"]);
    await expect(store.change("w", { insert: [owned("w", "w", at + 9000)] })).rejects.toMatchObject(FULL);
  });

  test("in a full store the kind of which there are most gives way, and no other", async () => {
    const clock = new ManualClock();
    const store = new MemoryCredentialStore({ maxCredentials: 6, clock });
    const at = clock.now();
    const add = (id: string, kind: string, expiresAt: number | null) =>
      store.change(id, { insert: [owned(id, id, expiresAt, kind)] });
    await add("ada", "totp", null);
    await add("link", "password-reset", at + 10);
    for (let n = 0; n < 20; n += 1) await add(`stranger-${n}`, "registration", at + 1000 + n);
    expect(store.size).toBe(6);
    // Links that end before the registrations take their places, until there are as many.
    for (let n = 0; n < 5; n += 1) await add(`link-${n}`, "password-reset", at + 20 + n);
    const found = async (kind: string, id: string) => (await store.find(kind, `name of ${id}`)) !== undefined;
    expect(await found("totp", "ada")).toBe(true);
    const registrations = await Promise.all([18, 19].map((n) => found("registration", `stranger-${n}`)));
    expect(registrations).toEqual([true, true]);
    const links = await Promise.all(["link", "link-2", "link-3", "link-4"].map((id) => found("password-reset", id)));
    expect(links).toEqual([false, true, true, true]);
    expect(store.size).toBe(6);
  });

  test("in a full store nothing of the person who is changed gives way", async () => {
    const store = new MemoryCredentialStore({ maxCredentials: 3, clock: new ManualClock() });
    const ends = Number.MAX_SAFE_INTEGER;
    await store.change("a", { insert: [owned("a", "a", ends - 2), owned("a2", "a", ends - 1)] });
    await store.change("b", { insert: [owned("b", "b", ends)] });
    const update = [{ id: "a", version: 3, failures: 0 }];
    expect(await store.change("a", { update, insert: [owned("a3", "a", ends)] })).toBe(true);
    expect((await store.listOf("a")).map(({ id }) => id).sort()).toEqual(["a", "a2", "a3"]);
    expect([await store.listOf("b"), store.size]).toEqual([[], 3]);
    await expect(store.change("a", { insert: [owned("a4", "a", ends)] })).rejects.toMatchObject(FULL);
    expect(store.size).toBe(3);
  });

  test("what is removed or replaced leaves nothing behind", async () => {
    const store = new MemoryCredentialStore();
    for (let round = 0; round < 3; round += 1) {
      await store.change("a", { insert: [owned("a", "a", 1000), owned("b", "a", 2000)] });
      await store.change("a", { update: [{ id: "a", version: 3, expiresAt: 5000 }] });
      expect(await store.deleteExpired(2000)).toBe(1);
      expect(await store.change("a", { remove: ["a"] })).toBe(true);
      expect(store.size).toBe(0);
      expect(await store.find("totp", "name of a")).toBeUndefined();
      expect(await store.deleteExpired(Number.MAX_SAFE_INTEGER)).toBe(0);
    }
  });

  test("no method takes more steps with 20 000 persons than with 200, but for the search by end", async () => {
    const counts: number[][] = [];
    for (const persons of [200, 20_000]) {
      const store = new MemoryCredentialStore();
      for (let n = 0; n < persons; n += 1)
        await store.change(`p${n}`, { insert: [owned(`a${n}`, `p${n}`), owned(`b${n}`, `p${n}`, n + 1)] });
      counts.push([
        await steps(() => store.listOf("p7")),
        await steps(() => store.find("totp", "name of a7")),
        await steps(() => store.addFailure("a7")),
        await steps(() => store.advance("a7", Number.MAX_SAFE_INTEGER, 1)),
        await steps(() => store.clearFailures("a7")),
        await steps(() => store.change("p8", { remove: ["a8"], insert: [owned("c8", "p8")] })),
        await steps(() => store.change("p9", { update: [{ id: "a9", version: 3, failures: 0 }] })),
      ]);
      // A binary search: some ten steps more for a hundred times as many.
      const byEnd = await steps(() => store.change("p9", { insert: [owned("c9", "p9", persons / 2)] }));
      expect(byEnd).toBeLessThan(80);
      expect(await steps(() => store.deleteExpired(10))).toBeLessThan(400);
    }
    expect(counts[1]).toEqual(counts[0]);
    expect(Math.max(...(counts[1] ?? []))).toBeLessThan(60);
  });
});

describe("single-use records in memory", () => {
  test("in a full store the kind of which there are most gives way, and no other", async () => {
    const store = new MemorySingleUseStore({ maxRecords: 4, clock: new ManualClock() });
    const of = (name: string, kind: string) => sampleRecord(name, { kind, ownerId: name });
    await store.put(of("ada", "log-in"));
    for (let n = 0; n < 9; n += 1) await store.put(of(`c${n}`, "challenge"));
    await store.put(of("bob", "log-in"));
    const held = await Promise.all(["ada", "bob"].map((name) => store.get("log-in", recordId(name), 1)));
    expect(held.map((one) => one?.ownerId)).toEqual(["ada", "bob"]);
    expect(store.size).toBe(4);
  });

  test("in a full store an expired record, the person's own first to end, or the first to end of all gives way", async () => {
    const clock = new ManualClock();
    const store = new MemorySingleUseStore({ maxRecords: 11, clock });
    const at = clock.now();
    const of = (name: string, ownerId: string, expiresAt: number) => sampleRecord(name, { ownerId, expiresAt });
    for (let n = 0; n < 10; n += 1) await store.put(of(`a${n}`, "ada", at + 5000 + n));
    await store.put(of("b", "bob", at + 1000));
    await store.put(of("a10", "ada", at + 6000));
    expect(await store.get("log-in", recordId("a0"), at)).toBeUndefined();
    expect(await store.get("log-in", recordId("b"), at)).toBeDefined();
    clock.advance(1000);
    await store.put(of("c", "carol", at + 5000));
    expect(store.size).toBe(11);
    await store.put(of("d", "dan", at + 5000));
    expect(await store.get("log-in", recordId("d"), at)).toBeDefined();
    expect(store.size).toBe(11);
    expect(await store.deleteExpired(Number.MAX_SAFE_INTEGER)).toBe(11);
    expect(store.size).toBe(0);
    await store.put(of("a0", "ada", at));
  });

  test("no method takes more steps with 20 000 persons than with 200, but for the search by end", async () => {
    const counts: number[][] = [];
    for (const persons of [200, 20_000]) {
      const store = new MemorySingleUseStore();
      for (let n = 0; n < persons; n += 1) await store.put(sampleRecord(`r${n}`, { ownerId: `p${n}` }));
      counts.push([await steps(() => store.get("log-in", recordId("r7"), 1))]);
      expect(await steps(() => store.put(sampleRecord("new", { ownerId: "p7" })))).toBeLessThan(60);
      expect(await steps(() => store.take("log-in", recordId("r8"), 1))).toBeLessThan(60);
    }
    expect(counts[1]).toEqual(counts[0]);
  });
});
