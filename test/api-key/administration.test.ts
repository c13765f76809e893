import { afterEach, describe, expect, it } from "vitest";
import { ApiKeyService } from "../../src/api-key/service.js";
import { ApiKeyError } from "../../src/api-key/errors.js";
import { choosePresented, makerOf } from "../../src/api-key/decide.js";
import { maskCredentials } from "../../src/core/mask-credentials.js";
import { SetupError } from "../../src/core/setup-error.js";
import type { ApiKeyStore } from "../../src/stores/contracts.js";
import { StoreUnavailableError } from "../../src/stores/health/store-guard.js";
import type { KeyChanges, KeyNotice } from "../../src/stores/revocations/changes.js";
import { bench, SECRET, type Bench } from "./support.js";

const DAY_MS = 86_400_000;
const open: ApiKeyService[] = [];
afterEach(async () => {
  for (const service of open.splice(0)) await service.close();
});

/** Two processes that share a store and a change log, each with a cache that never asks again by itself. */
function fleet(): Bench & { elsewhere: ApiKeyService; fail: (what: "log" | "nothing") => void } {
  let failing = "nothing";
  const listeners = new Set<(change: KeyNotice | undefined) => void>();
  const changes: KeyChanges = {
    isCurrent: true,
    onKeyChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    publish: async (change) => {
      if (failing === "log") throw new StoreUnavailableError("revocation");
      for (const listener of listeners) listener(change);
    },
  };
  const parts = bench({ cacheSeconds: 60 }, { changes });
  const elsewhere = new ApiKeyService(
    { hash: "hmac-sha256", secret: SECRET, store: parts.store, cacheSeconds: 60 },
    { changes, clock: parts.clock },
  );
  open.push(parts.service, elsewhere);
  return { ...parts, elsewhere, fail: (what) => void (failing = what) };
}

const codeOf = (error: unknown): unknown => (error instanceof ApiKeyError ? error.code : error);
const refused = (call: Promise<unknown>): Promise<unknown> => call.then(() => "done", codeOf);

describe("update", () => {
  it("changes a cached key in every process, and announces it once", async () => {
    const { service, elsewhere, events } = fleet();
    const { key, record } = await service.create({
      ownerId: "ada",
      name: "ci",
      scopes: ["orders:*"],
      roles: ["editor"],
    });
    for (const process of [service, elsewhere]) expect((await process.verify(key)).ok).toBe(true);
    const updated = await service.update(
      record.id,
      { scopes: ["orders:read"], roles: [], name: "CI", metadata: { plan: "small" } },
      { subject: "root" },
    );
    expect(updated).toEqual({
      ...record,
      scopes: ["orders:read"],
      roles: [],
      name: "CI",
      metadata: { plan: "small" },
      usageCount: 1,
      lastUsedAt: expect.any(Number) as number,
    });
    for (const process of [service, elsewhere]) {
      const result = await process.verify(key);
      expect(result.ok && [result.principal.scopes, result.principal.roles]).toEqual([["orders:read"], []]);
    }
    expect((await service.get(record.id))?.scopes).toEqual(["orders:read"]);
    expect(events.filter(({ event }) => event === "authz_change")).toMatchObject([
      { level: "WARN", reason: "updated", credentialId: record.id, subject: "root" },
    ]);
    // Nothing to change: the record as it is.
    expect((await service.update(record.id, {})).name).toBe("CI");
  });

  it("narrows addresses and expiry, and sets and changes a limit, at once", async () => {
    const { service, elsewhere, clock } = fleet();
    const { key, record } = await service.create({ ownerId: "ada", name: "ci" });
    const from = (process: ApiKeyService) => process.verify(key, { address: "192.0.2.1" });
    expect((await from(elsewhere)).ok).toBe(true);
    await service.update(record.id, { allow: ["198.51.100.0/24"] });
    expect(await from(elsewhere)).toMatchObject({ ok: false, reason: "address-not-allowed" });
    await service.update(record.id, { allow: [], rateLimit: { limit: 1, windowSeconds: 60 } });
    expect((await from(elsewhere)).ok).toBe(true);
    expect(await from(elsewhere)).toMatchObject({ ok: false, reason: "rate-limited" });
    await service.update(record.id, { rateLimit: { limit: 2, windowSeconds: 60 } });
    expect((await from(elsewhere)).ok).toBe(true);
    await service.update(record.id, { rateLimit: null, expiresAt: clock.now() + 1000 });
    expect((await from(elsewhere)).ok).toBe(true);
    clock.advance(1000);
    expect(await from(elsewhere)).toMatchObject({ ok: false, reason: "expired" });
  });

  it("is refused for what a key cannot become, and for a key that is over", async () => {
    const { service, clock } = fleet();
    const limited = await service.create({ ownerId: "ada", name: "a", rateLimit: { limit: 5, windowSeconds: 60 } });
    const { id } = limited.record;
    const inputs: unknown[] = [
      { rateLimit: { limit: 5, windowSeconds: 61 } },
      { expiresAt: clock.now() },
      { expiresAt: "tomorrow" },
      { scopes: ["a b"] },
      { ownerId: "mallory" },
      { id: "x" },
      { revokedAt: null },
      { name: "" },
      { allow: ["everywhere"] },
      null,
      "{}",
    ];
    for (const input of inputs)
      expect(await refused(service.update(id, input as object)), JSON.stringify(input)).toBe("invalid-input");
    expect(await service.update(id, { rateLimit: { limit: 6, windowSeconds: 60 } })).toMatchObject({
      rateLimit: { limit: 6 },
    });
    for (const unknown of ["", "x", "A".repeat(12), "../../etc", "\0".repeat(12)])
      expect(await refused(service.update(unknown, { name: "x" }))).toBe("not-found");
    const rotated = await service.create({ ownerId: "ada", name: "b" });
    await service.rotate(rotated.record.id, { graceSeconds: 60 });
    const revoked = await service.create({ ownerId: "ada", name: "c" });
    await service.revoke(revoked.record.id);
    const expired = await service.create({ ownerId: "ada", name: "d", expiresAt: clock.now() + 1 });
    clock.advance(1);
    for (const [key, code] of [
      [rotated, "rotated"],
      [revoked, "revoked"],
      [expired, "expired"],
    ] as const)
      expect(await refused(service.update(key.record.id, { expiresAt: clock.now() + DAY_MS }))).toBe(code);
  });

  it("keeps a key within the successor of the key that made it", async () => {
    const { service } = fleet();
    const limit = (count: number) => ({ rateLimit: { limit: count, windowSeconds: 60 } });
    const maker = await service.create({ ownerId: "ada", name: "maker", ...limit(10) });
    const child = await service.create({ ownerId: "ada", name: "child", ...limit(2) }, {}, makerOf(maker.record));
    const second = await service.rotate(maker.record.id);
    const third = await service.rotate(second.record.id);
    await service.update(third.record.id, limit(3));
    expect(await refused(service.update(child.record.id, limit(4)))).toBe("invalid-input");
    await service.update(child.record.id, limit(3));
  });

  it("removes no limit that keys made with the key share, so that a later one has no other window", async () => {
    const { service } = fleet();
    const rateLimit = { limit: 10, windowSeconds: 60 };
    const maker = await service.create({ ownerId: "ada", name: "maker", scopes: ["api-keys:*"], rateLimit });
    await service.create({ ownerId: "ada", name: "child", rateLimit }, {}, makerOf(maker.record));
    const { id } = maker.record;
    expect(await refused(service.update(id, { rateLimit: null }))).toBe("invalid-input");
    expect(await refused(service.update(id, { rateLimit: null, scopes: [] }))).toBe("invalid-input");
    expect((await service.get(id))?.rateLimit).toEqual(rateLimit);
    await service.update(id, { rateLimit: { limit: 20, windowSeconds: 60 } });
    const unlimited = await service.create({ ownerId: "ada", name: "unlimited", scopes: ["api-keys:*"] });
    await service.update(unlimited.record.id, { rateLimit: null });
    await service.update(unlimited.record.id, { rateLimit });
  });

  it("keeps a key within the key that made it, whose earlier expiry ends it too", async () => {
    const { service, elsewhere, clock } = fleet();
    const at = clock.now();
    const maker = await service.create({
      ownerId: "ada",
      name: "maker",
      expiresAt: at + DAY_MS,
      rateLimit: { limit: 10, windowSeconds: 60 },
    });
    const child = await service.create(
      { ownerId: "ada", name: "child", expiresAt: at + DAY_MS, rateLimit: { limit: 5, windowSeconds: 60 } },
      {},
      makerOf(maker.record),
    );
    const update = (input: Parameters<ApiKeyService["update"]>[1]) => refused(service.update(child.record.id, input));
    expect(await update({ expiresAt: at + DAY_MS + 1 })).toBe("invalid-input");
    expect(await update({ expiresAt: null })).toBe("invalid-input");
    expect(await update({ rateLimit: null })).toBe("invalid-input");
    expect(await update({ rateLimit: { limit: 11, windowSeconds: 60 } })).toBe("invalid-input");
    expect(await update({ rateLimit: { limit: 10, windowSeconds: 60 }, expiresAt: at + DAY_MS - 1 })).toBe("done");
    expect((await elsewhere.verify(child.key)).ok).toBe(true);
    await service.update(maker.record.id, { expiresAt: at + 1000 });
    clock.advance(1000);
    for (const key of [maker.key, child.key])
      expect(await elsewhere.verify(key)).toMatchObject({ ok: false, reason: "expired" });
  });

  it("that cannot be announced or written is refused, and has changed nothing; later it succeeds", async () => {
    const { service, fail, store } = fleet();
    const { record } = await service.create({ ownerId: "ada", name: "ci", scopes: ["a", "b"] });
    fail("log");
    await expect(service.update(record.id, { scopes: ["a"] })).rejects.toBeInstanceOf(StoreUnavailableError);
    expect((await store.get(record.id))?.scopes).toEqual(["a", "b"]);
    fail("nothing");
    const update = store.update.bind(store);
    store.update = () => Promise.reject(new Error("down"));
    await expect(service.update(record.id, { scopes: ["a"] })).rejects.toBeInstanceOf(StoreUnavailableError);
    expect((await store.get(record.id))?.scopes).toEqual(["a", "b"]);
    store.update = update;
    expect((await service.update(record.id, { scopes: ["a"] })).scopes).toEqual(["a"]);
  });
});

describe("listAll", () => {
  it("pages through the keys of all owners, by expiry and by last use", async () => {
    const { service, clock } = fleet();
    const at = clock.now();
    const made: string[] = [];
    for (let n = 0; n < 7; n += 1) {
      const input = { ownerId: `owner-${n % 3}`, name: `key ${n}`, expiresAt: n === 6 ? null : at + DAY_MS * (7 - n) };
      made.push((await service.create(input)).record.id);
      clock.advance(1000);
    }
    const ids = async (page: Parameters<ApiKeyService["listAll"]>[0]) =>
      (await service.listAll(page)).map(({ id }) => id);
    expect(await ids({})).toEqual(made.toReversed());
    expect(await ids({ limit: 3, after: made[4] ?? "" })).toEqual([made[3], made[2], made[1]]);
    const expiresBefore = new Date(at + DAY_MS * 4.5);
    const first = await service.listAll({ expiresBefore, limit: 2 });
    expect(first.map(({ id }) => id)).toEqual([made[5], made[4]]);
    expect(await ids({ expiresBefore, limit: 2, after: first.at(-1) })).toEqual([made[3]]);
    expect(await ids({ unusedSince: at + 3000, limit: 2 })).toEqual([made[0], made[1]]);
    expect(await ids({ unusedSince: at + 3000, after: made[1] ?? "" })).toEqual([made[2]]);
  });

  it("does not list a key as unused that was used a moment ago, and goes on after one that left the listing", async () => {
    const { service, clock } = fleet();
    const keys = [];
    for (let n = 0; n < 4; n += 1) keys.push(await service.create({ ownerId: "ada", name: `key ${n}` }));
    clock.advance(DAY_MS);
    const unusedSince = clock.now();
    const page = await service.listAll({ unusedSince, limit: 2 });
    const others = keys.map(({ record }) => record.id).filter((id) => !page.some((listed) => listed.id === id));
    const last = page.at(-1);
    await service.verify(keys.find(({ record }) => record.id === last?.id)?.key ?? "");
    expect((await service.listAll({ unusedSince, after: last })).map(({ id }) => id)).toEqual(others.sort());
    await expect(service.listAll({ unusedSince, after: last?.id ?? "" })).rejects.toMatchObject({
      code: "invalid-input",
      issues: [{ path: "after" }],
    });
    expect((await service.listAll({ unusedSince })).map(({ id }) => id)).not.toContain(last?.id);
    await service.revoke(others[0] ?? "");
    expect(await service.listAll({ unusedSince, after: others[0] ?? "" })).toHaveLength(1);
  });

  it("refuses malformed pages, and an unknown cursor finds nothing", async () => {
    const { service } = fleet();
    await service.create({ ownerId: "ada", name: "ci" });
    for (const page of [
      { limit: 0 },
      { limit: 101 },
      { after: "x" },
      { after: {} },
      { expiresBefore: "soon" },
      { unusedSince: Number.NaN },
      { owner: "ada" },
    ])
      expect(await refused(service.listAll(page as object)), JSON.stringify(page)).toBe("invalid-input");
    // An empty page would end the listing.
    for (const call of [service.listAll({ after: "A".repeat(12) }), service.report({ after: "A".repeat(12) })])
      await expect(call).rejects.toMatchObject({ code: "invalid-input", issues: [{ path: "after" }] });
    expect(await service.listAll({ limit: 100 })).toHaveLength(1);
  });
});

describe("revokeAllOf", () => {
  it("ends every cached key of the owner in every process, and no other", async () => {
    const { service, elsewhere, events } = fleet();
    const mine = await Promise.all([1, 2, 3].map((n) => service.create({ ownerId: "ada", name: `key ${n}` })));
    const other = await service.create({ ownerId: "bob", name: "other" });
    const usable = async (process: ApiKeyService) => {
      const results = await Promise.all([...mine, other].map(({ key }) => process.verify(key)));
      return results.filter(({ ok }) => ok).length;
    };
    for (const process of [service, elsewhere]) expect(await usable(process)).toBe(4);
    expect(await service.revokeAllOf("ada", { reason: "left" }, { subject: "root" })).toBe(3);
    for (const process of [service, elsewhere]) expect(await usable(process)).toBe(1);
    expect((await service.get(mine[0]?.record.id ?? ""))?.revokedReason).toBe("left");
    expect(events.filter(({ reason }) => reason === "owner")).toMatchObject([
      { event: "authn_token_revoked", subject: "ada" },
    ]);
    const later = await service.create({ ownerId: "ada", name: "later" });
    expect((await elsewhere.verify(later.key)).ok).toBe(true);
    expect(await service.revokeAllOf("nobody")).toBe(0);
  });

  it("takes numbers as ids, and refuses what is none", async () => {
    const { service } = fleet();
    const { key } = await service.create({ ownerId: 17, name: "ci" });
    for (const owner of ["", "a\0b", "\ud800", "x".repeat(256), 1.5, null, {}])
      expect(await refused(service.revokeAllOf(owner as string)), JSON.stringify(owner)).toBe("invalid-input");
    expect(await refused(service.revokeAllOf("ada", { reason: "" }))).toBe("invalid-input");
    expect((await service.verify(key)).ok).toBe(true);
    expect(await service.revokeAllOf(17)).toBe(1);
    expect((await service.verify(key)).ok).toBe(false);
  });

  it("that was refused is repeated; a key made meanwhile waits for it and lives on", async () => {
    const { service, elsewhere, store } = fleet();
    const old = await service.create({ ownerId: "ada", name: "old" });
    const revokeAllOf = store.revokeAllOf.bind(store);
    store.revokeAllOf = () => Promise.reject(new Error("down"));
    await expect(service.revokeAllOf("ada")).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(service.create({ ownerId: "ada", name: "new" })).rejects.toBeInstanceOf(StoreUnavailableError);
    store.revokeAllOf = revokeAllOf;
    const made = await service.create({ ownerId: "ada", name: "new" });
    expect((await elsewhere.verify(old.key)).ok).toBe(false);
    expect((await elsewhere.verify(made.key)).ok).toBe(true);
    await service.revokeAllOf("ada");
    expect((await elsewhere.verify(made.key)).ok).toBe(false);
  });
});

it("a store of the app's own without the methods for administrators says what it lacks", async () => {
  const { store } = bench();
  const plain: ApiKeyStore = {
    init: () => store.init(),
    insert: (key) => store.insert(key),
    get: (id) => store.get(id),
    list: (ownerId, page) => store.list(ownerId, page),
    revoke: (id, at, reason) => store.revoke(id, at, reason),
    rotate: (id, successor, graceUntil) => store.rotate(id, successor, graceUntil),
    replaceHash: (id, from, to) => store.replaceHash(id, from, to),
    addUsage: (batch) => store.addUsage(batch),
    close: () => store.close(),
  };
  const service = new ApiKeyService({ store: plain, hash: "hmac-sha256", secret: SECRET });
  open.push(service);
  const { record } = await service.create({ ownerId: "ada", name: "ci" });
  for (const call of [
    () => service.listAll(),
    () => service.update(record.id, { name: "x" }),
    () => service.revokeAllOf("ada"),
  ])
    await expect(call()).rejects.toBeInstanceOf(SetupError);
});

describe("formerPrefixes", () => {
  it("accepts keys of earlier prefixes, makes new ones with the present one, and masks all of them", async () => {
    const { store } = bench();
    const before = new ApiKeyService({ store, hash: "hmac-sha256", secret: SECRET, prefix: "old_" });
    const older = new ApiKeyService({ store, hash: "hmac-sha256", secret: SECRET, prefix: "old_2_" });
    const now = new ApiKeyService({
      store,
      hash: "hmac-sha256",
      secret: SECRET,
      prefix: "new_",
      formerPrefixes: ["old_", "old_2_"],
    });
    open.push(before, older, now);
    const first = await before.create({ ownerId: "ada", name: "first" });
    const second = await older.create({ ownerId: "ada", name: "second" });
    for (const key of [first, second]) expect((await now.verify(key.key)).ok).toBe(true);
    expect(await before.verify(second.key)).toMatchObject({ ok: false, reason: "malformed" });
    const next = await now.rotate(first.record.id);
    expect(next.key.startsWith("new_")).toBe(true);
    expect((await now.verify(next.key)).ok).toBe(true);
    for (const { key } of [first, second, next]) expect(maskCredentials(`/x/${key}/y`)).toBe("/x/[credential]/y");
    // As a bearer token too, in the layer.
    for (const { key } of [second, next])
      expect(
        choosePresented(
          {
            keyHeader: undefined,
            authorization: { kind: "credentials", scheme: "bearer", value: key },
            hasSession: false,
          },
          "new_",
          ["old_", "old_2_"],
        ),
      ).toEqual({ verdict: "key", key, scheme: "Bearer" });
  });

  it.each([
    [{ formerPrefixes: ["mcp_"] }, "formerPrefixes[0]"],
    [{ formerPrefixes: ["a_", "b_", "a_"] }, "formerPrefixes[2]"],
    [{ formerPrefixes: ["a"] }, "formerPrefixes[0]"],
    [{ formerPrefixes: "a_" }, "formerPrefixes"],
  ])("%j stops the start", (settings, path) => {
    expect(() => new ApiKeyService(settings as object)).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ path })] }) as Error,
    );
  });
});

describe("report", () => {
  it("names unused, expiring and over-wide keys, with reasons, and goes on where it stopped", async () => {
    const { service, clock } = fleet();
    const at = clock.now();
    const make = async (name: string, more: object = {}) =>
      (await service.create({ ownerId: "ada", name, expiresAt: at + 900 * DAY_MS, ...more })).record.id;
    const old = await make("old");
    clock.advance(100 * DAY_MS);
    const soon = await make("soon", { expiresAt: clock.now() + 10 * DAY_MS });
    const wide = await make("wide", { expiresAt: null, scopes: ["orders:*"] });
    await make("wide, but not for ever", { scopes: ["orders:*"] });
    const manager = await make("manager", { expiresAt: null, scopes: ["api-keys:manage"] });
    const here = await make("manager with addresses", {
      scopes: ["api-keys:*"],
      allow: ["192.0.2.1"],
      expiresAt: null,
    });
    const revoked = await make("revoked", { expiresAt: null, scopes: ["orders:*"] });
    await service.revoke(revoked);
    const report = await service.report();
    expect(report.unused.map(({ id }) => id)).toEqual([old]);
    expect(report.expiring.map(({ id }) => id)).toEqual([soon]);
    expect(report.overWide.map(({ record, reasons }) => [record.id, reasons])).toEqual(
      expect.arrayContaining([
        [wide, ["wildcard-without-expiry"]],
        [manager, ["manages-keys-without-expiry", "manages-keys-from-anywhere"]],
        [here, ["wildcard-without-expiry", "manages-keys-without-expiry"]],
      ]),
    );
    expect(report.overWide).toHaveLength(3);
    expect(report.next).toBeNull();
    clock.advance(1);
    for (let n = 0; n < 1000; n += 1) await service.create({ ownerId: `owner ${n}`, name: "more" });
    const many = await service.report({ unusedDays: 1, limit: 2 });
    expect([many.unused.length, many.overWide, typeof many.next]).toEqual([1, [], "string"]);
    const rest = await service.report({ after: many.next ?? "" });
    expect([rest.overWide.length, rest.next]).toEqual([3, null]);
    for (const input of [{ unusedDays: 0 }, { limit: 101 }, { after: "x" }, { days: 1 }])
      expect(await refused(service.report(input as object))).toBe("invalid-input");
  });
});
