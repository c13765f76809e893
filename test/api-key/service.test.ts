import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { Secret } from "../../src/core/secret.js";
import type { ApiKeyStore, RateLimitStore } from "../../src/stores/contracts.js";
import { ApiKeyError } from "../../src/api-key/errors.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import type { CreateApiKeyInput } from "../../src/api-key/keys/input.js";
import { checksum } from "../../src/api-key/keys/format.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { bench, forged, SECRET, WatchedStore } from "./support.js";
import { caller } from "../support/caller.js";

const KEY: CreateApiKeyInput = { ownerId: "user-1", name: "ci" };

/** The error a call rejects with. */
async function failure(work: Promise<unknown>): Promise<ApiKeyError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ApiKeyError);
  return error as ApiKeyError;
}

async function reasonOf(work: Promise<{ ok: boolean; reason?: string }>): Promise<string> {
  const result = await work;
  return result.ok ? "ok" : (result.reason ?? "?");
}

describe("create", () => {
  it("works without settings, with argon2id and in memory", async () => {
    const service = new ApiKeyService();
    const { key, record } = await service.create(KEY);
    expect(key).toMatch(/^mcp_[0-9A-Za-z]{50}$/);
    expect(key.slice(4, 16)).toBe(record.id);
    expect(await service.verify(key)).toMatchObject({
      ok: true,
      record: { id: record.id, ownerId: "user-1" },
      principal: { id: "user-1", kind: "api-key", credentialId: record.id },
    });
    await service.close();
  });

  it("stores every option, and neither the key nor its secret", async () => {
    const { service, store, clock, events } = bench();
    const expiresAt = clock.now() + 1000;
    const given: CreateApiKeyInput = {
      ...KEY,
      scopes: ["read", "orders:*", "read"],
      roles: ["editor"],
      expiresAt,
      allow: ["192.0.2.0/24"],
      rateLimit: { limit: 5, windowSeconds: 60 },
      metadata: { team: "a", nested: { list: [1, null, true] } },
    };
    const { key, record } = await service.create(Object.freeze(given));
    expect(record).toEqual({
      ...given,
      id: record.id,
      scopes: ["read", "orders:*"],
      createdAt: clock.now(),
      revokedAt: null,
      revokedReason: null,
      rotatedTo: null,
      graceUntil: null,
      madeBy: null,
      lineage: record.id,
      firstId: record.id,
      path: [],
      usageCount: 0,
      lastUsedAt: null,
    });
    expect(record).not.toHaveProperty("hash");
    expect(
      Object.isFrozen(record) && Object.isFrozen(record.metadata) && Object.isFrozen(record.metadata["nested"]),
    ).toBe(true);
    expect(JSON.stringify(await store.get(record.id))).not.toContain(key.slice(16, -6));
    expect(await service.get(record.id)).toEqual(record);
    expect(events).toMatchObject([
      {
        event: "authn_token_created",
        source: "api-key",
        reason: "created",
        subject: "user-1",
        credentialId: record.id,
      },
    ]);
    expect(JSON.stringify(events)).not.toContain(key.slice(16));
  });

  it.each([
    ["a Date", (now: number) => new Date(now + 5000)],
    ["ISO 8601", (now: number) => new Date(now + 5000).toISOString()],
    ["ISO 8601 with an offset", (now: number) => new Date(now + 5000 + 7_200_000).toISOString().replace("Z", "+02:00")],
    ["milliseconds", (now: number) => now + 5000],
  ])("accepts %s as expiry", async (_name, at) => {
    const { service, clock } = bench();
    const { record } = await service.create({ ...KEY, expiresAt: at(clock.now()) });
    expect(record.expiresAt).toBe(clock.now() + 5000);
  });

  const FIELDS = "ownerId, name, scopes, roles, expiresAt, allow, rateLimit, metadata";
  const wrong: [string, Record<string, unknown>, string][] = [
    ["nothing", { ownerId: undefined, name: undefined }, "ownerId: Missing; name: Missing"],
    ["an empty name", { name: "" }, "name: Must not be empty"],
    ["a name with a line break", { name: "a\nb" }, "name: Must not contain control characters"],
    ["a number for a name", { name: 7 }, "name: Must be of type string"],
    ["an unknown field", { admin: true }, `(input): Contains unknown fields (known: ${FIELDS})`],
    ["an id", { id: "AAAAAAAAAAAA", hash: {}, createdAt: 0 }, `(input): Contains unknown fields (known: ${FIELDS})`],
    [
      "a bad scope",
      { scopes: ["read", "a b"] },
      "scopes[1]: Must be words of letters, digits, '.', '_' or '-', joined by colons, and optionally ':*' at the end",
    ],
    [
      "the scope *",
      { scopes: ["*"] },
      "scopes[0]: Must be words of letters, digits, '.', '_' or '-', joined by colons, and optionally ':*' at the end",
    ],
    ["a past expiry", { expiresAt: 1 }, "expiresAt: Must be in the future"],
    [
      "an expiry without zone",
      { expiresAt: "2030-01-01T00:00:00" },
      "expiresAt: Must be a time: a date with time and zone (2030-01-31T12:00:00Z), milliseconds since the epoch, or a Date",
    ],
    [
      "an endless expiry",
      { expiresAt: 1e300 },
      "expiresAt: Must be a time: a date with time and zone (2030-01-31T12:00:00Z), milliseconds since the epoch, or a Date",
    ],
    ["a bad range", { allow: ["10.0.0.0/33"] }, "allow[0]: The prefix length after the slash is out of range."],
    ["a limit of none", { rateLimit: { limit: 0, windowSeconds: 60 } }, "rateLimit.limit: Must be at least 1"],
    ["half a limit", { rateLimit: { limit: 1 } }, "rateLimit.windowSeconds: Missing"],
    [
      "metadata that is a list",
      { metadata: [] },
      "metadata: Must be an object of JSON values, nested at most 8 levels deep",
    ],
    [
      "metadata with a function",
      { metadata: { a: () => 1 } },
      "metadata: Must be an object of JSON values, nested at most 8 levels deep",
    ],
    [
      "metadata with __proto__",
      { metadata: JSON.parse('{"__proto__":{"admin":true}}') as unknown },
      "metadata: Must be an object of JSON values, nested at most 8 levels deep",
    ],
    ["too much metadata", { metadata: { a: "x".repeat(4096) } }, "metadata: Must be at most 4096 bytes of JSON"],
  ];
  it.each(wrong)("refuses %s", async (_name, change, issues) => {
    const { service, store } = bench();
    const error = await failure(service.create({ ...KEY, ...change }));
    expect(error.code).toBe("invalid-input");
    expect(error.message).toBe(`The input is invalid: ${issues}`);
    expect(await store.list("user-1", { limit: 10 })).toEqual([]);
  });

  it("accepts 4096 bytes of metadata", async () => {
    const { service } = bench();
    await expect(
      service.create({ ...KEY, metadata: { a: "x".repeat(4096 - '{"a":""}'.length) } }),
    ).resolves.toBeDefined();
  });
});

describe("verify", () => {
  it("gives the reason of a refusal, for the log", async () => {
    const { service, clock, store } = bench({ cacheSeconds: 0, failures: { limit: 1000 } });
    const { key, record } = await service.create({ ...KEY, expiresAt: clock.now() + 10_000 });
    const bound = await service.create({ ...KEY, allow: ["192.0.2.0/24"] });
    expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(await reasonOf(service.verify(`${key}x`))).toBe("malformed");
    expect(await reasonOf(service.verify(undefined as unknown as string))).toBe("malformed");
    expect(await reasonOf(service.verify("mcp_".repeat(1_000_000)))).toBe("malformed");
    expect(await reasonOf(service.verify(forged(key, 1)))).toBe("mismatch");
    const foreign = (await bench().service.create(KEY)).key;
    expect(await reasonOf(service.verify(foreign))).toBe("unknown");
    expect(await reasonOf(service.verify(bound.key))).toBe("address-not-allowed");
    expect(await reasonOf(service.verify(bound.key, { address: "192.0.3.1" }))).toBe("address-not-allowed");
    expect(await reasonOf(service.verify(bound.key, { address: "192.0.2.1" }))).toBe("ok");
    clock.advance(10_000);
    expect(await reasonOf(service.verify(key))).toBe("expired");
    await service.revoke(record.id);
    expect(await reasonOf(service.verify(key))).toBe("revoked");
    store.failing = true;
    expect(await service.verify(bound.key, { address: "192.0.2.1" })).toEqual({
      ok: false,
      reason: "store-unavailable",
      retryAfterSeconds: 1,
    });
  });

  it("does not ask the store about text that is not a key", async () => {
    const { service, store } = bench();
    for (const text of ["", "mcp_", "x".repeat(54), `mcp_${"a".repeat(50)}`])
      await service.verify(text, { address: "192.0.2.1" });
    expect(store.gets).toBe(0);
  });

  it("notices the end of expiry and grace period while the key is cached", async () => {
    const { service, clock } = bench({ cacheSeconds: 60 });
    const { key } = await service.create({ ...KEY, expiresAt: clock.now() + 5000 });
    expect(await reasonOf(service.verify(key))).toBe("ok");
    clock.advance(4999);
    expect(service.verifier.check(key, caller())).toMatchObject({ ok: true });
    clock.advance(1);
    expect(service.verifier.check(key, caller())).toMatchObject({ ok: false, reason: "expired" });
  });

  it("is synchronous while the key is cached, and asks the store again after cacheSeconds", async () => {
    const { service, clock, store } = bench({ cacheSeconds: 10 });
    const { key } = await service.create(KEY);
    expect(service.verifier.check(key, caller("192.0.2.1"))).toBeInstanceOf(Promise);
    await service.verify(key);
    const gets = store.gets;
    expect(service.verifier.check(key, caller("192.0.2.1"))).toMatchObject({ ok: true });
    expect(store.gets).toBe(gets);
    clock.advance(10_000);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(store.gets).toBe(gets + 1);
  });

  it("counts cacheSeconds from the moment the record was read, however long the check then took", async () => {
    const { service, clock, store } = bench({ cacheSeconds: 10 });
    const { key } = await service.create({ ownerId: "u", name: "n" });
    store.afterRead = async () => clock.advance(9000);
    await service.verify(key);
    store.afterRead = () => Promise.resolve();
    const { gets } = store;
    clock.advance(999);
    await service.verify(key);
    expect(store.gets).toBe(gets);
    clock.advance(1);
    await service.verify(key);
    expect(store.gets).toBe(gets + 1);
  });

  it("caches nothing with cacheSeconds 0", async () => {
    const { service, store } = bench({ cacheSeconds: 0 });
    const { key } = await service.create(KEY);
    for (let i = 0; i < 3; i += 1) expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(store.gets).toBe(3);
  });

  it("accepts a key that another process revoked no longer than cacheSeconds", async () => {
    const { service, clock, store } = bench({ cacheSeconds: 10 });
    const { key, record } = await service.create(KEY);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    await store.revoke(record.id, clock.now(), "elsewhere");
    clock.advance(9999);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    clock.advance(1);
    expect(await reasonOf(service.verify(key))).toBe("revoked");
  });

  it("refuses a digest that was copied to another record", async () => {
    const { service, store } = bench();
    const mine = await service.create(KEY);
    const theirs = await service.create({ ...KEY, ownerId: "admin" });
    const myRow = await store.get(mine.record.id);
    const theirRow = await store.get(theirs.record.id);
    if (myRow === undefined || theirRow === undefined) throw new Error("not stored");
    await store.replaceHash(theirRow.id, theirRow.hash, myRow.hash);
    const body = `mcp_${theirs.record.id}${mine.key.slice(16, -6)}`;
    expect(await reasonOf(service.verify(body + checksum(body)))).toBe("mismatch");
  });

  it("moves a record to the algorithm of the settings when its key is used", async () => {
    const store = new WatchedStore();
    const slow = new ApiKeyService({ store });
    const { key, record } = await slow.create(KEY);
    const fast = new ApiKeyService({ store, hash: "hmac-sha256", secret: SECRET });
    expect(await reasonOf(fast.verify(key))).toBe("ok");
    await fast.close();
    expect((await store.get(record.id))?.hash.algorithm).toBe("hmac-sha256");
    const again = new ApiKeyService({
      store,
      hash: "hmac-sha256",
      secret: [new Secret(randomBytes(32).toString("base64url")), new Secret(SECRET)],
    });
    const before = (await store.get(record.id))?.hash.digest;
    expect(await reasonOf(again.verify(key))).toBe("ok");
    await again.close();
    expect((await store.get(record.id))?.hash.digest).not.toBe(before);
    expect(await reasonOf(slow.verify(key))).toBe("unreadable"); // it has no pepper
  });
});

describe("rotate", () => {
  it("ends the old key at once with grace 0, and keeps everything but id and secret", async () => {
    const { service, clock, events } = bench();
    const old = await service.create({
      ...KEY,
      scopes: ["read"],
      roles: ["r"],
      allow: ["192.0.2.1"],
      rateLimit: { limit: 9, windowSeconds: 9 },
      metadata: { a: 1 },
      expiresAt: clock.now() + 1e6,
    });
    expect(await reasonOf(service.verify(old.key, { address: "192.0.2.1" }))).toBe("ok");
    clock.advance(10);
    const fresh = await service.rotate(old.record.id, { graceSeconds: 0 });
    expect(fresh.record).toEqual({ ...old.record, id: fresh.record.id, createdAt: clock.now() });
    expect(fresh.record.id).not.toBe(old.record.id);
    expect(await reasonOf(service.verify(old.key, { address: "192.0.2.1" }))).toBe("rotated");
    expect(await reasonOf(service.verify(fresh.key, { address: "192.0.2.1" }))).toBe("ok");
    expect(await service.get(old.record.id)).toMatchObject({ rotatedTo: fresh.record.id, graceUntil: null });
    expect(events.slice(1).map(({ event, reason, credentialId }) => [event, reason, credentialId])).toEqual([
      ["authn_token_created", "rotated", fresh.record.id],
      ["authn_token_revoked", "rotated", old.record.id],
    ]);
  });

  it("accepts the old key for the grace period, never beyond its expiry", async () => {
    const { service, clock } = bench();
    const [long, short] = [
      await service.create(KEY),
      await service.create({ ...KEY, expiresAt: clock.now() + 30_000 }),
    ];
    await service.rotate(long.record.id, { graceSeconds: 60 });
    await service.rotate(short.record.id, { graceSeconds: 60 });
    clock.advance(29_999);
    expect([await reasonOf(service.verify(long.key)), await reasonOf(service.verify(short.key))]).toEqual(["ok", "ok"]);
    clock.advance(1);
    expect([await reasonOf(service.verify(long.key)), await reasonOf(service.verify(short.key))]).toEqual([
      "ok",
      "expired",
    ]);
    clock.advance(30_000);
    expect(await reasonOf(service.verify(long.key))).toBe("rotated");
  });

  it("refuses keys that are unknown, revoked, expired or rotated, and invalid grace periods", async () => {
    const { service, clock } = bench();
    const [revoked, expired, rotated, good] = await Promise.all([
      service.create(KEY),
      service.create({ ...KEY, expiresAt: clock.now() + 1 }),
      service.create(KEY),
      service.create(KEY),
    ]);
    await service.revoke(revoked.record.id);
    await service.rotate(rotated.record.id, { graceSeconds: 600 });
    clock.advance(1);
    expect((await failure(service.rotate("AAAAAAAAAAAA"))).code).toBe("not-found");
    expect((await failure(service.rotate("../../etc"))).code).toBe("not-found");
    expect((await failure(service.rotate(revoked.record.id))).code).toBe("revoked");
    expect((await failure(service.rotate(expired.record.id))).code).toBe("expired");
    expect((await failure(service.rotate(rotated.record.id))).code).toBe("rotated");
    for (const graceSeconds of [-1, 1.5, 2_592_001, "60" as unknown as number]) {
      expect((await failure(service.rotate(good.record.id, { graceSeconds }))).code).toBe("invalid-input");
    }
    await expect(service.rotate(good.record.id)).resolves.toBeDefined();
  });

  it("lets one of many rotations at once succeed", async () => {
    const { service, store } = bench();
    const { record } = await service.create(KEY);
    const settled = await Promise.allSettled(Array.from({ length: 10 }, () => service.rotate(record.id)));
    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const result of settled)
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "rotated" });
    expect(await store.list("user-1", { limit: 10 })).toHaveLength(2);
  });
});

describe("a revocation that the store refused", () => {
  it.each(["before the store was asked", "after the store had done it"])(
    "%s: is repeated later, reported once, and succeeds when it is called again",
    async (when) => {
      const { service, store, events } = bench();
      const { record } = await service.create(KEY);
      const revoke = store.revoke.bind(store);
      vi.spyOn(store, "revoke").mockImplementationOnce(async (...args) => {
        if (when.startsWith("after")) await revoke(...args);
        throw new Error("connection lost");
      });
      await expect(service.revoke(record.id)).rejects.toMatchObject({ status: 503 });
      await expect
        .poll(() => events.filter(({ event }) => event === "authn_token_revoked").length, { timeout: 3000 })
        .toBe(1);
      expect((await store.get(record.id))?.revokedAt).not.toBeNull();
      expect([await service.revoke(record.id), await service.revoke(record.id)]).toEqual([true, false]);
      expect(events.filter(({ event }) => event === "authn_token_revoked")).toMatchObject([
        { credentialId: record.id },
      ]);
      await service.close();
    },
  );

  it.each([
    { kind: "does not exist", make: async () => undefined },
    {
      kind: "was revoked before",
      make: async (store: WatchedStore, id: string) => void (await store.revoke(id, 1, "elsewhere")),
    },
  ])("of a key that $kind is reported neither later nor when the caller repeats it", async ({ kind, make }) => {
    const { service, store, events } = bench();
    const id = kind === "does not exist" ? "AAAAAAAAAAAA" : (await service.create(KEY)).record.id;
    await make(store, id);
    const revoke = vi.spyOn(store, "revoke").mockRejectedValueOnce(new Error("connection lost"));
    await expect(service.revoke(id)).rejects.toMatchObject({ status: 503 });
    await expect.poll(() => revoke.mock.calls.length, { timeout: 3000 }).toBe(2);
    expect([await service.revoke(id), await service.revoke(id)]).toEqual([false, false]);
    expect(events.filter(({ event }) => event === "authn_token_revoked")).toEqual([]);
    await service.close();
  });

  it("by two callers at once is reported once, and succeeds for both when they repeat it", async () => {
    const { service, store, events } = bench();
    const { record } = await service.create(KEY);
    const revoke = store.revoke.bind(store);
    vi.spyOn(store, "revoke")
      .mockImplementationOnce(async (...args) => {
        await revoke(...args);
        throw new Error("connection lost");
      })
      .mockRejectedValueOnce(new Error("connection lost"));
    const both = await Promise.allSettled([service.revoke(record.id), service.revoke(record.id)]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await service.revoke(record.id)).toBe(true);
    await service.close();
    expect(events.filter(({ event }) => event === "authn_token_revoked")).toHaveLength(1);
  });

  it("of a value that the store cannot hold is not retried", async () => {
    const { service, store, clock } = bench();
    const { record } = await service.create(KEY);
    const revoke = vi
      .spyOn(store, "revoke")
      .mockRejectedValueOnce(Object.assign(new Error("bad value"), { code: "22001" }));
    await expect(service.revoke(record.id)).rejects.toThrow();
    clock.advance(5000);
    await sleep(700);
    expect(revoke).toHaveBeenCalledTimes(1);
    expect(await service.revoke(record.id)).toBe(true);
    expect((await store.get(record.id))?.revokedAt).toBe(clock.now());
    await service.close();
  });

  it("with descendants is repeated with them, also when a later refused call asked for the key alone", async () => {
    const { service, store } = bench({ cacheSeconds: 0 });
    const old = await service.create(KEY);
    const next = await service.rotate(old.record.id, { graceSeconds: 3600 });
    const revoke = vi
      .spyOn(store, "revoke")
      .mockRejectedValueOnce(new Error("connection lost"))
      .mockRejectedValueOnce(new Error("connection lost"));
    await expect(service.revoke(old.record.id, { descendants: true })).rejects.toMatchObject({ status: 503 });
    await expect(service.revoke(old.record.id)).rejects.toMatchObject({ status: 503 });
    await expect.poll(() => revoke.mock.calls.length, { timeout: 5000 }).toBe(4);
    await expect.poll(() => reasonOf(service.verify(next.key)), { timeout: 5000 }).toBe("revoked");
    await service.close();
  });

  it("of a key that another caller had revoked is not reported", async () => {
    const { service, store, events } = bench();
    const { record } = await service.create(KEY);
    await store.revoke(record.id, 1, "elsewhere");
    expect(await service.revoke(record.id)).toBe(false);
    expect(events.filter(({ event }) => event === "authn_token_revoked")).toEqual([]);
  });
});

describe("a rotation that was refused", () => {
  /** The store does the next rotation, and answers when the caller has been refused and calls the result. */
  function answerLate(store: WatchedStore): () => void {
    const rotate = store.rotate.bind(store);
    let answer = (): void => undefined;
    const isRefused = new Promise<void>((resolve) => (answer = resolve));
    vi.spyOn(store, "rotate").mockImplementationOnce(async (...args) => {
      const isDone = await rotate(...args);
      await isRefused;
      return isDone;
    });
    return answer;
  }

  async function refused() {
    // Long enough for a busy machine to make the calls that must be in time.
    const parts = bench({ storeTimeoutMs: 150, cacheSeconds: 0 });
    const { key, record } = await parts.service.create(KEY);
    const answer = answerLate(parts.store);
    await expect(parts.service.rotate(record.id)).rejects.toMatchObject({ status: 503 });
    answer();
    await sleep(0);
    parts.events.length = 0;
    return { ...parts, key, id: record.id };
  }

  it("but took effect returns the new key when the caller repeats it, once, and reports it", async () => {
    const { service, events, key, id } = await refused();
    const made = await service.rotate(id);
    expect([await reasonOf(service.verify(made.key)), await reasonOf(service.verify(key))]).toEqual(["ok", "rotated"]);
    await expect(service.rotate(id)).rejects.toMatchObject({ code: "rotated" });
    expect(events.filter(({ event }) => event === "authn_token_created")).toMatchObject([
      { reason: "rotated", credentialId: made.record.id },
    ]);
  });

  it("but took effect returns the new key to one of many repeated calls", async () => {
    const { service, id } = await refused();
    const settled = await Promise.allSettled(Array.from({ length: 10 }, () => service.rotate(id)));
    expect(settled.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const result of settled)
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "rotated" });
  });

  it("but took effect does not return the new key if it was revoked meanwhile", async () => {
    const { service, store, id } = await refused();
    await service.revoke((await store.get(id))?.rotatedTo ?? "");
    await expect(service.rotate(id)).rejects.toMatchObject({ code: "revoked" });
  });

  it("and was not committed creates a new key when the caller repeats it", async () => {
    const { service, store } = bench();
    const { key, record } = await service.create(KEY);
    vi.spyOn<ApiKeyStore, "rotate">(store, "rotate").mockImplementationOnce(
      async (_id, _successor, _graceUntil, call) => {
        call?.beginCommit();
        throw new Error("connection lost");
      },
    );
    await expect(service.rotate(record.id)).rejects.toMatchObject({ status: 503 });
    expect(await reasonOf(service.verify(key))).toBe("ok");
    const made = await service.rotate(record.id);
    expect([await reasonOf(service.verify(made.key)), await reasonOf(service.verify(key))]).toEqual(["ok", "rotated"]);
  });
});

describe("revoke", () => {
  it("removes the key from the cache at once, and stores and reports the reason once", async () => {
    const { service, clock, events } = bench({ cacheSeconds: 60 });
    const { key, record } = await service.create(KEY);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(await service.revoke(record.id, { reason: "leaked" }, { subject: "admin" })).toBe(true);
    expect(await reasonOf(service.verify(key))).toBe("revoked");
    expect(await service.get(record.id)).toMatchObject({ revokedAt: clock.now(), revokedReason: "leaked" });
    expect(await service.revoke(record.id)).toBe(false);
    expect(await service.revoke("nothing")).toBe(false);
    expect(events.filter(({ event }) => event === "authn_token_revoked")).toMatchObject([
      { reason: "revoked", subject: "admin", credentialId: record.id },
    ]);
  });
});

describe("list", () => {
  it("returns the owner's keys, newest first, in pages", async () => {
    const { service, clock } = bench();
    const ids: string[] = [];
    for (let i = 0; i < 5; i += 1) {
      ids.unshift((await service.create({ ...KEY, name: `k${i}` })).record.id);
      clock.advance(1);
    }
    await service.create({ ...KEY, ownerId: "user-2" });
    expect((await service.list("user-1")).map(({ id }) => id)).toEqual(ids);
    const page = await service.list("user-1", { limit: 2 });
    expect(page.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect((await service.list("user-1", { limit: 2, after: ids[1] })).map(({ id }) => id)).toEqual(ids.slice(2, 4));
    expect((await failure(service.list("user-1", { limit: 101 }))).code).toBe("invalid-input");
    for (const record of page) expect(record).not.toHaveProperty("hash");
  });
});

describe("usage", () => {
  it("is counted in memory, visible at once and written in batches", async () => {
    const { service, store, clock } = bench({ usageFlushSeconds: 3600 });
    const [a, b] = [await service.create(KEY), await service.create(KEY)];
    for (let i = 0; i < 100; i += 1) {
      clock.advance(1);
      await service.verify(a.key);
    }
    await service.verify(b.key);
    expect(store.writes).toHaveLength(0);
    expect(await service.usage(a.record.id)).toEqual({ usageCount: 100, lastUsedAt: clock.now() });
    expect(await service.usage("AAAAAAAAAAAA")).toBeUndefined();
    await service.close();
    expect(store.writes).toHaveLength(1);
    expect(store.writes[0]).toHaveLength(2);
    expect((await store.get(a.record.id))?.usageCount).toBe(100);
    expect(store.closed).toBe(1);
    await service.close();
    expect(store.closed).toBe(1);
  });

  it("counts accepted uses only", async () => {
    const { service, clock } = bench();
    const { key, record } = await service.create({
      ...KEY,
      rateLimit: { limit: 2, windowSeconds: 60 },
      expiresAt: clock.now() + 1000,
    });
    for (let i = 0; i < 5; i += 1) await service.verify(key);
    await service.verify(forged(key, 1));
    clock.advance(1000);
    await service.verify(key);
    expect(await service.usage(record.id)).toMatchObject({ usageCount: 2 });
  });

  it("is written by the timer; what could not be written is kept and written later", async () => {
    const { service, store, clock, events } = bench({ usageFlushSeconds: 0.05, cacheSeconds: 60 });
    const { key, record } = await service.create(KEY);
    await service.verify(key);
    store.failing = true;
    await expect.poll(() => events.map(({ event }) => event)).toContain("portcullis_store_unavailable");
    await service.verify(key);
    store.failing = false;
    clock.advance(1000); // lets the store be tried again
    await expect.poll(async () => (await store.get(record.id))?.usageCount).toBe(2);
    expect(await service.usage(record.id)).toMatchObject({ usageCount: 2 });
    await service.close();
    expect((await store.get(record.id))?.usageCount).toBe(2);
  });

  it("does not make close() hang or fail when the store is down", async () => {
    const { service, store } = bench();
    const { key } = await service.create(KEY);
    await service.verify(key);
    store.failing = true;
    await expect(service.close()).resolves.toBeUndefined();
  });
});

describe("limits", () => {
  it("of one key: it is refused with the exact wait, then accepted again", async () => {
    const { service, clock } = bench();
    const { key, record } = await service.create({ ...KEY, rateLimit: { limit: 2, windowSeconds: 60 } });
    expect(await reasonOf(service.verify(key))).toBe("ok");
    clock.advance(15_000);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(await service.verify(key)).toMatchObject({
      ok: false,
      reason: "rate-limited",
      keyId: record.id,
      retryAfterSeconds: 45,
    });
    clock.advance(45_000);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(await reasonOf(service.verify(key))).toBe("rate-limited");
  });

  it("of failures by address: garbage, wrong and revoked keys count alike, and a valid key that is not cached gets the same answer", async () => {
    const { service, clock, store } = bench({ failures: { limit: 3, windowSeconds: 60 } });
    const [known, fresh, dead] = [await service.create(KEY), await service.create(KEY), await service.create(KEY)];
    await service.revoke(dead.record.id);
    const address = "192.0.2.1";
    expect(await reasonOf(service.verify(known.key, { address }))).toBe("ok");
    expect(await reasonOf(service.verify("garbage", { address }))).toBe("malformed");
    expect(await reasonOf(service.verify(forged(known.key, 1), { address }))).toBe("mismatch");
    expect(await reasonOf(service.verify(dead.key, { address }))).toBe("revoked");
    const gets = store.gets;
    for (const key of ["garbage", forged(known.key, 2), fresh.key, dead.key]) {
      expect(await service.verify(key, { address })).toMatchObject({
        ok: false,
        reason: "too-many-failures",
        retryAfterSeconds: 60,
      });
    }
    expect(store.gets).toBe(gets);
    // A key that proved right here before is not locked out by its neighbours; nor are other addresses.
    expect(await reasonOf(service.verify(known.key, { address }))).toBe("ok");
    expect(await reasonOf(service.verify(fresh.key, { address: "192.0.2.2" }))).toBe("ok");
    clock.advance(60_000);
    expect(await reasonOf(service.verify(fresh.key, { address }))).toBe("ok");
  });

  it("of failures by address: IPv6 addresses of one /56 count together", async () => {
    const { service } = bench({ failures: { limit: 1 } });
    await service.verify("garbage", { address: "2001:db8:0:1::1" });
    expect(await reasonOf(service.verify("garbage", { address: "2001:db8:0:2::9" }))).toBe("too-many-failures");
    expect(await reasonOf(service.verify("garbage", { address: "2001:db8:0:100::1" }))).toBe("malformed");
  });

  it("of failures by key id: every address counts", async () => {
    const { service, store } = bench({ failures: { limit: 1, windowSeconds: 60 } });
    const [known, fresh] = [await service.create(KEY), await service.create(KEY)];
    expect(await reasonOf(service.verify(known.key))).toBe("ok");
    for (let i = 0; i < 5; i += 1)
      expect(await reasonOf(service.verify(forged(known.key, i), { address: `192.0.2.${i}` }))).toBe("mismatch");
    const gets = store.gets;
    expect(await reasonOf(service.verify(forged(known.key, 9), { address: "192.0.2.9" }))).toBe("too-many-failures");
    expect(store.gets).toBe(gets);
    expect(await reasonOf(service.verify(known.key, { address: "192.0.2.10" }))).toBe("ok");
    expect(await reasonOf(service.verify(fresh.key, { address: "192.0.2.10" }))).toBe("ok");
  });

  it("use a shared limiter, synchronous or asynchronous, and one in this process while it fails", async () => {
    const inner = new SlidingWindowStore();
    let calls = 0;
    let failing = false;
    const answer = async <T>(value: () => T): Promise<T> => {
      calls += 1;
      if (failing) throw new Error("down");
      return value();
    };
    const limiter: RateLimitStore = {
      consume: (policy, key, cost) => answer(() => inner.consume(policy, key, cost)),
      peek: (policy, key, cost) => answer(() => inner.peek(policy, key, cost)),
      reset: (policy, key) => answer(() => inner.reset(policy, key)),
      close: () => undefined,
    };
    const { service } = bench({ failures: { limit: 2 } }, { limiter });
    const { key } = await service.create({ ...KEY, rateLimit: { limit: 1, windowSeconds: 60 } });
    expect([await reasonOf(service.verify(key)), await reasonOf(service.verify(key))]).toEqual(["ok", "rate-limited"]);
    expect(calls).toBeGreaterThan(1);
    failing = true;
    expect([await reasonOf(service.verify(key)), await reasonOf(service.verify(key))]).toEqual(["ok", "rate-limited"]);
    const address = "192.0.2.1";
    const garbage = [];
    for (let i = 0; i < 3; i += 1) garbage.push(await reasonOf(service.verify("garbage", { address })));
    expect(garbage).toEqual(["malformed", "malformed", "too-many-failures"]);
    await service.close();
    inner.close();
  });
});

describe("the store", () => {
  it("is opened on first use, and again after a failure", async () => {
    let opened = 0;
    class Slow extends WatchedStore {
      override async init(): Promise<void> {
        opened += 1;
        if (opened === 1) throw new Error("not yet");
      }
    }
    const service = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET, store: new Slow() });
    await expect(service.init()).rejects.toThrow("not yet");
    await Promise.all([service.create(KEY), service.create(KEY)]);
    expect(opened).toBe(2);
  });

  it("is not closed when the app owns it", async () => {
    const store = new WatchedStore();
    const service = new ApiKeyService({ hash: "hmac-sha256", secret: SECRET }, { store });
    await service.create(KEY);
    await service.close();
    expect(store.closed).toBe(0);
  });

  it("that hangs makes calls fail with store-unavailable in time, reports one outage, and recovers", async () => {
    const { service, store, clock, events } = bench({ storeTimeoutMs: 100, cacheSeconds: 0 });
    const { key } = await service.create(KEY);
    store.afterRead = () => new Promise(() => undefined);
    const begun = performance.now();
    for (let call = 0; call < 5; call += 1) expect(await reasonOf(service.verify(key))).toBe("store-unavailable");
    expect(performance.now() - begun).toBeLessThan(5 * 100 + 650);
    expect(await reasonOf(service.verify(key))).toBe("store-unavailable");
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toHaveLength(1);
    store.afterRead = () => Promise.resolve();
    clock.advance(1000);
    expect(await reasonOf(service.verify(key))).toBe("ok");
    expect(events.at(-1)?.event).toBe("portcullis_store_recovered");
  });
});
