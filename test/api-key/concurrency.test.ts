import { afterEach, describe, expect, it } from "vitest";
import { createRuntime } from "../../src/core/runtime.js";
import type { KeyDigest } from "../../src/stores/contracts.js";
import { ApiKeyService } from "../../src/api-key/service.js";
import { HashQueue, type HashTarget } from "../../src/api-key/keys/hash-queue.js";
import { type Comparison, KeyHasher } from "../../src/api-key/keys/hashing.js";
import { KeyLimits } from "../../src/api-key/verification/limits.js";
import { UsageLog } from "../../src/api-key/verification/usage.js";
import { VerifiedCache } from "../../src/api-key/verification/verified-cache.js";
import { KeyVerifier } from "../../src/api-key/verification/verifier.js";
import { ManualClock } from "../support/manual-clock.js";
import { bench, forged, SECRET, WatchedStore } from "./support.js";
import { caller } from "../support/caller.js";

const KEY = { ownerId: "user-1", name: "ci" };

/** The real hasher, counting. */
class CountingHasher extends KeyHasher {
  compared = 0;

  override compare(
    key: string,
    digest: KeyDigest,
    callers: readonly string[],
    target?: HashTarget,
  ): Promise<Comparison> {
    this.compared += 1;
    return super.compare(key, digest, callers, target);
  }
}

/** A verifier over real parts, and the number of hashes it asked for. */
function countingVerifier(store: WatchedStore): { verifier: KeyVerifier; hasher: CountingHasher; clock: ManualClock } {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const hasher = new CountingHasher("argon2id", [], new HashQueue(2, 100));
  const verifier = new KeyVerifier({
    prefixes: ["mcp_"],
    cacheMs: 10_000,
    runtime,
    cache: new VerifiedCache(100, clock, 250),
    hasher,
    limits: new KeyLimits({ limit: 20, windowSeconds: 60 }, runtime, 250, undefined),
    usage: new UsageLog((batch) => store.addUsage(batch), clock, 3600),
    get: (id) => store.get(id),
    replaceHash: (id, from, to) => store.replaceHash(id, from, to),
  });
  return { verifier, hasher, clock };
}

describe("hashes", () => {
  it("50 parallel first uses of a key hash once and read the store once; later uses do not hash at all", async () => {
    const store = new WatchedStore();
    const { key } = await new ApiKeyService({ store }).create(KEY);
    const { verifier, hasher, clock } = countingVerifier(store);
    const results = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => verifier.check(key, caller(`192.0.2.${i}`))),
    );
    expect(results.every(({ ok }) => ok)).toBe(true);
    expect([hasher.compared, store.gets]).toEqual([1, 1]);
    clock.advance(10_000);
    await Promise.all(Array.from({ length: 50 }, async () => verifier.check(key, caller("192.0.2.1"))));
    expect([hasher.compared, store.gets]).toEqual([1, 2]);
    for (let i = 0; i < 6; i += 1) {
      clock.advance(3_600_000);
      expect(await verifier.check(key, caller("192.0.2.1"))).toMatchObject({ ok: true });
    }
    expect(hasher.compared).toBe(1);
  });

  it("a wrong key for a remembered id is hashed, and does not displace the right one", async () => {
    const store = new WatchedStore();
    const { key } = await new ApiKeyService({ store }).create(KEY);
    const { verifier, hasher } = countingVerifier(store);
    expect(await verifier.check(key, caller("192.0.2.1"))).toMatchObject({ ok: true });
    expect(await verifier.check(forged(key, 1), caller("192.0.2.1"))).toMatchObject({ ok: false, reason: "mismatch" });
    expect(hasher.compared).toBe(2);
    expect(verifier.check(key, caller("192.0.2.1"))).toMatchObject({ ok: true });
  });

  it("text that is not a key is never hashed", async () => {
    const store = new WatchedStore();
    const { verifier, hasher } = countingVerifier(store);
    for (let i = 0; i < 100; i += 1) await verifier.check(`mcp_${"a".repeat(50)}`, caller("192.0.2.1"));
    expect([hasher.compared, store.gets]).toEqual([0, 0]);
  });
});

describe("a flood of well-formed wrong keys", () => {
  const services: ApiKeyService[] = [];
  afterEach(async () => {
    for (const service of services.splice(0)) await service.close();
  });

  it("is bounded, and every other caller is still served", async () => {
    const { service } = bench({ hash: "argon2id", hashQueue: 20, failures: { limit: 10_000 } });
    services.push(service);
    const [target, known, fresh] = [
      await service.create(KEY),
      await service.create(KEY),
      await service.create({ ...KEY, ownerId: "user-2" }),
    ];
    expect(await service.verify(known.key, { address: "192.0.2.1" })).toMatchObject({ ok: true });

    const flood = Array.from({ length: 200 }, (_, i) =>
      service.verify(forged(target.key, i), { address: "203.0.113.1" }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    // A remembered key is answered without waiting; one that has to be hashed finds a place.
    expect(service.verifier.check(known.key, caller("192.0.2.1"))).toMatchObject({ ok: true });
    let turns = 0;
    const ticking = setInterval(() => (turns += 1), 5);
    const begun = performance.now();
    expect(await service.verify(fresh.key, { address: "192.0.2.2" })).toMatchObject({ ok: true });
    const waited = performance.now() - begun;
    clearInterval(ticking);
    // The event loop kept turning while argon2 ran in its threads.
    expect(turns).toBeGreaterThan(Math.min(3, waited / 50));

    const reasons = (await Promise.all(flood)).map((result) => (result.ok ? "ok" : result.reason));
    const hashed = reasons.filter((reason) => reason === "mismatch").length;
    expect(hashed).toBe(11); // half of the 2 + 20 places
    expect(reasons.filter((reason) => reason === "busy")).toHaveLength(200 - hashed);
  });

  it("that guesses at many keys of one owner, each from its own address, leaves room for the keys of others", async () => {
    const { service } = bench({ hash: "argon2id", hashQueue: 20 });
    services.push(service);
    const own: string[] = [];
    for (let n = 0; n < 23; n += 1) own.push((await service.create({ ownerId: "mallory", name: "ci" })).key);
    const { key } = await service.create(KEY);
    const flood = own.map((target, n) =>
      service.verify(forged(target, n), { address: `2001:db8:0:${(n * 256).toString(16)}::1` }),
    );
    await new Promise((resolve) => setImmediate(resolve));
    expect(await service.verify(key, { address: "192.0.2.2" })).toMatchObject({ ok: true });
    const hashed = (await Promise.all(flood)).filter((result) => !result.ok && result.reason === "mismatch");
    expect(hashed).toHaveLength(11); // half of the 2 + 20 places
  });

  it("leaves room while the many keys of one owner move to argon2id at once", async () => {
    const { service: before, store } = bench();
    const { service } = bench({ hash: "argon2id", store, secret: SECRET, hashQueue: 10, hashConcurrency: 1 });
    services.push(before, service);
    const keys = await Promise.all(Array.from({ length: 40 }, () => before.create(KEY)));
    for (const result of await Promise.all(keys.map(({ key }) => service.verify(key)))) expect(result.ok).toBe(true);
    const made = await service.create({ ownerId: "user-2", name: "n" });
    expect(await service.verify(made.key)).toMatchObject({ ok: true });
    await service.close();
    const algorithms = await Promise.all(keys.map(async ({ record }) => (await store.get(record.id))?.hash.algorithm));
    // Half of the places; the others move when they are next used.
    expect(algorithms.filter((algorithm) => algorithm === "argon2id")).toHaveLength(6);
  });

  it("from one address is refused once that address has used up its limit of failures", async () => {
    const { service } = bench({ failures: { limit: 5 } });
    services.push(service);
    const { key } = await service.create(KEY);
    const reasons: string[] = [];
    for (let i = 0; i < 30; i += 1) {
      const result = await service.verify(forged(key, i), { address: "203.0.113.1" });
      reasons.push(result.ok ? "ok" : result.reason);
    }
    expect(reasons.slice(0, 5)).toEqual(Array(5).fill("mismatch"));
    expect(new Set(reasons.slice(5))).toEqual(new Set(["too-many-failures"]));
  });
});

describe("revoking while a verification is under way", () => {
  it.each(["revoke", "rotate"] as const)(
    "%s: the record read before the revocation is neither cached nor accepted",
    async (change) => {
      const { service, store } = bench({ cacheSeconds: 60 });
      const { key, record } = await service.create(KEY);
      let letGo = (): void => undefined;
      const held = new Promise<void>((resolve) => (letGo = resolve));
      let reached = (): void => undefined;
      const reading = new Promise<void>((resolve) => (reached = resolve));
      store.afterRead = () => {
        store.afterRead = () => Promise.resolve();
        reached();
        return held;
      };
      const early = service.verify(key);
      await reading; // the record has been read, unrevoked, and the answer is on its way
      if (change === "revoke") await service.revoke(record.id);
      else await service.rotate(record.id);
      letGo();
      expect(await early).toMatchObject({ ok: false, reason: change === "revoke" ? "revoked" : "rotated" });
      expect(await service.verify(key)).toMatchObject({ ok: false });
    },
  );
});

it("a cached key costs a small part of its first use", async () => {
  const service = new ApiKeyService();
  const { key } = await service.create(KEY);
  const begun = performance.now();
  await service.verify(key, { address: "192.0.2.1" });
  const coldMs = performance.now() - begun;
  for (let i = 0; i < 2000; i += 1) void service.verifier.check(key, caller("192.0.2.1"));
  const rounds = 20_000;
  const warmBegun = performance.now();
  for (let i = 0; i < rounds; i += 1) void service.verifier.check(key, caller("192.0.2.1"));
  const warmUs = ((performance.now() - warmBegun) * 1000) / rounds;
  const ratio = (coldMs * 1000) / warmUs;
  process.stdout.write(
    `api-key: cold ${coldMs.toFixed(1)} ms, warm ${warmUs.toFixed(1)} µs, ratio ${Math.round(ratio)}\n`,
  );
  expect(ratio).toBeGreaterThan(100);
  await service.close();
});
