import { expect, it, onTestFinished, vi } from "vitest";
import { StoreUnavailableError } from "../../../src/stores/health/store-guard.js";
import type { KeyChanges, KeyNotice } from "../../../src/stores/revocations/changes.js";
import type { ApiKeySettings } from "../../../src/api-key/settings.js";
import { KeyHasher } from "../../../src/api-key/keys/hashing.js";
import { ApiKeyService } from "../../../src/api-key/service.js";
import { type Bench, bench, SECRET } from "../support.js";

const KEY = { ownerId: "ada", name: "ci" };
const CACHE_SECONDS = 60;

interface Fleet extends Bench {
  /** A second process, which shares the store and the change log. */
  readonly elsewhere: ApiKeyService;
  /** How many more changes the change log accepts. */
  accept(changes: number): void;
  /** Number of changes sent to the change log. */
  published(): number;
}

function fleet(settings: ApiKeySettings = {}): Fleet {
  let left = Infinity;
  let published = 0;
  const listeners = new Set<(change: KeyNotice | undefined) => void>();
  const changes: KeyChanges = {
    isCurrent: true,
    onKeyChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    publish: async (change) => {
      published += 1;
      left -= 1;
      if (left < 0) throw new StoreUnavailableError("revocation");
      for (const listener of listeners) listener(change);
    },
  };
  const parts = bench({ cacheSeconds: CACHE_SECONDS, ...settings }, { changes });
  const elsewhere = new ApiKeyService(
    { hash: "hmac-sha256", secret: SECRET, store: parts.store, cacheSeconds: CACHE_SECONDS },
    { changes, clock: parts.clock },
  );
  return { ...parts, elsewhere, accept: (count) => void (left = count), published: () => published };
}

it("a rotation that cannot be announced is refused, and has changed nothing; later it succeeds", async () => {
  const { service, elsewhere, accept } = fleet();
  const old = await service.create(KEY);
  accept(0);
  await expect(service.rotate(old.record.id)).rejects.toThrow(StoreUnavailableError);
  expect(await service.list("ada")).toHaveLength(1);
  for (const process of [service, elsewhere]) expect(await process.verify(old.key)).toMatchObject({ ok: true });
  accept(Infinity);
  const { key } = await service.rotate(old.record.id);
  for (const process of [service, elsewhere]) {
    expect(await process.verify(key)).toMatchObject({ ok: true });
    expect(await process.verify(old.key)).toMatchObject({ ok: false, reason: "rotated" });
  }
});

it("a key that another process uses during its rotation is refused there as soon as it is rotated, though no later announcement arrives", async () => {
  const { service, elsewhere, store, accept } = fleet();
  const old = await service.create(KEY);
  expect(await elsewhere.verify(old.key)).toMatchObject({ ok: true });
  const rotate = store.rotate.bind(store);
  store.rotate = async (...given) => {
    // Read, and cached again, after the announcement and before the rotation.
    for (let use = 0; use < 2; use += 1) expect(await elsewhere.verify(old.key)).toMatchObject({ ok: true });
    return rotate(...given);
  };
  accept(1);
  const { key } = await service.rotate(old.record.id);
  expect(await elsewhere.verify(old.key)).toMatchObject({ ok: false, reason: "rotated" });
  expect(await elsewhere.verify(key)).toMatchObject({ ok: true });
});

it.each([
  { state: "was announced to be rotated and is not", reads: 3, rotate: false },
  { state: "is rotated and in its grace period", reads: 1, rotate: true },
])("a key that $state is read $reads times for three uses", async (given) => {
  const { service, elsewhere, store, clock, accept } = fleet();
  const old = await service.create(KEY);
  const readsOf = async (uses: number): Promise<number> => {
    const before = store.gets;
    for (let use = 0; use < uses; use += 1) expect(await elsewhere.verify(old.key)).toMatchObject({ ok: true });
    return store.gets - before;
  };
  accept(1);
  const rotate = store.rotate.bind(store);
  store.rotate = (...args) => (given.rotate ? rotate(...args) : Promise.reject(new Error("disk full")));
  const rotation = service.rotate(old.record.id, { graceSeconds: 3600 });
  if (given.rotate) await rotation;
  else await expect(rotation).rejects.toThrow(StoreUnavailableError);
  expect(await readsOf(3)).toBe(given.reads);
  clock.advance(15_249);
  expect(await readsOf(3)).toBe(given.rotate ? 0 : 3);
  clock.advance(1);
  expect(await readsOf(3)).toBe(given.rotate ? 0 : 1);
});

it("a hundred rotations of one key at once make one hash and two announcements, before and when one has succeeded", async () => {
  const { service, published, accept } = fleet({ hash: "argon2id" });
  const old = await service.create(KEY);
  const hashes = vi.spyOn(KeyHasher.prototype, "digest");
  onTestFinished(() => hashes.mockRestore());
  const rotations = () => Promise.allSettled(Array.from({ length: 100 }, () => service.rotate(old.record.id)));
  accept(0);
  for (const one of await rotations())
    expect(one).toEqual({ status: "rejected", reason: expect.any(StoreUnavailableError) });
  expect([hashes.mock.calls.length, published()]).toEqual([1, 1]);
  expect(await service.verify(old.key)).toMatchObject({ ok: true });

  accept(Infinity);
  const made = await rotations();
  const lost = made.filter(({ status }) => status === "rejected");
  expect(lost.map((one) => one.status === "rejected" && (one.reason as { code: unknown }).code)).toEqual(
    Array(99).fill("rotated"),
  );
  expect([hashes.mock.calls.length, published()]).toEqual([2, 3]);
  // A key that was rotated costs no hash either.
  await expect(service.rotate(old.record.id)).rejects.toMatchObject({ code: "rotated" });
  expect(hashes).toHaveBeenCalledTimes(2);
});

it("a rotation that the store completed late is announced when its key is handed out", async () => {
  const { service, elsewhere, store, clock } = fleet({ storeTimeoutMs: 100 });
  const old = await service.create(KEY);
  const rotate = store.rotate.bind(store);
  let complete = (): void => undefined;
  const completing = new Promise<void>((resolve) => (complete = resolve));
  let completed: Promise<boolean> | undefined;
  store.rotate = (...args) => (completed = completing.then(() => rotate(...args)));
  await expect(service.rotate(old.record.id)).rejects.toThrow(StoreUnavailableError);
  clock.advance(16_000);
  for (const process of [service, elsewhere]) expect(await process.verify(old.key)).toMatchObject({ ok: true });
  complete();
  await completed;
  await new Promise((resolve) => setImmediate(resolve));
  const { key } = await service.rotate(old.record.id);
  for (const process of [service, elsewhere]) {
    expect(await process.verify(key)).toMatchObject({ ok: true });
    expect(await process.verify(old.key)).toMatchObject({ ok: false, reason: "rotated" });
  }
});

it("a record that was read before the rotation is not cached, however long its use took", async () => {
  const { service, elsewhere, store, clock, accept } = fleet();
  const old = await service.create(KEY);
  accept(1);
  let answer = (): void => undefined;
  const answering = new Promise<void>((resolve) => (answer = resolve));
  let use: Promise<unknown> | undefined;
  const rotate = store.rotate.bind(store);
  store.rotate = async (...args) => {
    const isRead = new Promise<void>((resolve) => {
      store.afterRead = () => (resolve(), answering);
    });
    use = elsewhere.verify(old.key);
    await isRead;
    store.afterRead = () => Promise.resolve();
    return rotate(...args);
  };
  await service.rotate(old.record.id);
  clock.advance(16_000);
  answer();
  await use;
  expect(await elsewhere.verify(old.key)).toMatchObject({ ok: false, reason: "rotated" });
});

it("a rotation does not undo an update that was written after it had read the key", async () => {
  const { service, store } = bench();
  const changes = [
    { scopes: ["orders:read"] },
    { roles: [] },
    { allow: ["192.0.2.1"] },
    { rateLimit: { limit: 1, windowSeconds: 60 } },
    { metadata: { plan: "free" } },
    { name: "narrow" },
  ];
  for (const change of changes) {
    const old = await service.create({ ...KEY, scopes: ["orders:*"], roles: ["admin"] });
    const update = () => service.update(old.record.id, change);
    store.afterRead = async () => {
      store.afterRead = () => Promise.resolve();
      await update();
    };
    const { record } = await service.rotate(old.record.id);
    expect(record).toMatchObject(change);
    expect(await service.get(record.id)).toMatchObject(change);
  }
});
