import { afterEach, describe, expect, it } from "vitest";
import { migrate, openSqlite, SqlChangeSource } from "portcullis/sql";
import { ApiKeyService, JwtManager, StoreUnavailableError } from "portcullis";
import type { Clock } from "../src/core/clock.js";
import { createRuntime } from "../src/core/runtime.js";
import { PrincipalCutOffs } from "../src/session/principal-cut-offs.js";
import { ChangeFeed } from "../src/stores/revocations/change-feed.js";
import { MemoryApiKeyStore } from "../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../src/stores/memory/token-store.js";
import type { CutOff } from "../src/stores/revocations/changes.js";
import type { SessionCutOffs } from "../src/stores/revocations/session-cut-offs.js";

/**
 * One process cannot reach the store: it refuses to end what a user has, and repeats it when the store is back. Meanwhile
 * another process, whose clock is behind, has done it, and the user has begun anew.
 */

const SECRET = "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud";
const BEHIND_MS = 4000;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function behind(ms: number): Clock {
  return { now: () => Date.now() - ms, monotonic: () => performance.now() };
}

/** Fails every call of a store while the process is cut off from it. */
function connection<S extends object>(store: S) {
  const connected = { isDown: false, calls: [] as string[] };
  const through = new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]): unknown => {
        if (connected.isDown) return Promise.reject(new Error("no connection"));
        connected.calls.push(String(name));
        return Reflect.apply(member, target, args);
      };
    },
  });
  return { connected, store: through };
}

/** Waits until the process that was cut off has called the store again. */
async function isRepeated({ calls }: { readonly calls: readonly string[] }, name: string): Promise<void> {
  await expect.poll(() => calls.includes(name), { timeout: 5000 }).toBe(true);
  await new Promise((resolve) => setTimeout(resolve, 50));
}

describe("the keys of an owner", () => {
  async function services() {
    const shared = new MemoryApiKeyStore();
    const { connected, store } = connection(shared);
    const options = { hash: "hmac-sha256", secret: SECRET, cacheSeconds: 0 } as const;
    const ahead = new ApiKeyService({ ...options, store });
    const here = new ApiKeyService({ ...options, store: shared }, { clock: behind(BEHIND_MS) });
    closing.push(
      () => ahead.close(),
      () => here.close(),
    );
    const old = await here.create({ ownerId: "ada", name: "old" });
    connected.isDown = true;
    await expect(ahead.revokeAllOf("ada")).rejects.toBeInstanceOf(StoreUnavailableError);
    return { connected, here, old };
  }

  it("made after a later call stay when the refused call is repeated", async () => {
    const { connected, here, old } = await services();
    await here.revokeAllOf("ada");
    const made = await here.create({ ownerId: "ada", name: "new" });
    connected.isDown = false;
    await isRepeated(connected, "revokeAllOf");
    expect((await here.verify(made.key)).ok).toBe(true);
    expect((await here.verify(old.key)).ok).toBe(false);
  });

  it("end with the repetition when no other call has ended them", async () => {
    const { connected, here, old } = await services();
    connected.isDown = false;
    await isRepeated(connected, "revokeAllOf");
    expect((await here.verify(old.key)).ok).toBe(false);
  });
});

describe("the tokens of a subject", () => {
  async function managers() {
    const shared = new MemoryTokenStore();
    const { connected, store } = connection(shared);
    const ahead = new JwtManager({ secret: SECRET, store });
    const here = new JwtManager({ secret: SECRET, store: shared }, { clock: behind(BEHIND_MS) });
    closing.push(
      () => ahead.close(),
      () => here.close(),
    );
    const old = await here.issue("ada");
    connected.isDown = true;
    await expect(ahead.revokeSubject("ada")).rejects.toMatchObject({ code: "store-unavailable" });
    return { connected, here, ahead, old };
  }

  it("issued after a later call stay when the refused call is repeated", async () => {
    const { connected, here, old } = await managers();
    await here.revokeSubject("ada");
    const again = await here.issue("ada");
    connected.isDown = false;
    await isRepeated(connected, "revokeSubject");
    await expect(here.verifyAccessToken(again.accessToken)).resolves.toBeDefined();
    await expect(here.refresh(again.refreshToken)).resolves.toBeDefined();
    await expect(here.verifyAccessToken(old.accessToken)).rejects.toMatchObject({ code: "revoked" });
  });

  it("end with the repetition when no other call has ended them", async () => {
    const { connected, here, old } = await managers();
    connected.isDown = false;
    await isRepeated(connected, "revokeSubject");
    await expect(here.refresh(old.refreshToken)).rejects.toMatchObject({ code: "revoked" });
    await expect(here.verifyAccessToken(old.accessToken)).rejects.toMatchObject({ code: "revoked" });
  });

  it("end when the last cut-off was read too late: the call is refused, or has ended them", async () => {
    const shared = new MemoryTokenStore();
    let blockedMs = 0;
    // As a database driver that blocks the process while a file is locked.
    const store = new Proxy(shared, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== "function") return member;
        return (...args: unknown[]): unknown => {
          const until = performance.now() + (name === "cutOffOf" ? blockedMs : 0);
          while (performance.now() < until);
          return Reflect.apply(member, target, args);
        };
      },
    });
    const manager = new JwtManager({ secret: SECRET, store, storeTimeoutMs: 250 });
    closing.push(() => manager.close());
    await manager.revokeSubject("ada");
    const { refreshToken } = await manager.issue("ada");
    blockedMs = 300;
    const isDone = await manager.revokeSubject("ada").then(
      () => true,
      () => false,
    );
    blockedMs = 0;
    const isAlive = await manager.refresh(refreshToken).then(
      () => true,
      () => false,
    );
    expect({ isDone, isAlive }).not.toEqual({ isDone: true, isAlive: true });
  });

  it("are not issued while the last cut-off cannot be read", async () => {
    const { connected, ahead } = await managers();
    await expect(ahead.issue("bob")).rejects.toMatchObject({ code: "store-unavailable" });
    await expect(ahead.signAccessToken("bob")).rejects.toMatchObject({ code: "store-unavailable" });
    connected.isDown = false;
    await expect.poll(() => ahead.signAccessToken("bob").catch(() => undefined), { timeout: 5000 }).toBeDefined();
  });
});

describe("the sessions of a principal", () => {
  async function processes() {
    const { db, close } = await openSqlite("sqlite::memory:");
    closing.push(close);
    await migrate(db);
    const { connected, store } = connection(new SqlChangeSource(db));
    const start = async (source: SqlChangeSource, clock: Clock) => {
      const runtime = createRuntime({ clock });
      const feed = new ChangeFeed(source, runtime, { pollMs: 50 });
      closing.push(() => feed.close());
      await feed.start();
      return new PrincipalCutOffs(feed, runtime, 1000);
    };
    const ahead = await start(store, behind(0));
    const here = await start(new SqlChangeSource(db, { clock: behind(BEHIND_MS) }), behind(BEHIND_MS));
    return { connected, ahead, here };
  }

  const session = (since = {}) => ({
    createdAt: 0,
    seenAt: 0,
    principal: { id: "ada", scopes: [], roles: [] },
    ...since,
  });

  it.each([
    { calls: 0, tries: 1 },
    { calls: 1, tries: 1 },
    { calls: 3, tries: 1 },
    { calls: 0, tries: 5 },
    { calls: 2, tries: 5 },
  ])(
    "begun after a later call stay when the refused calls are repeated, in every process ($calls calls before, $tries refused)",
    async ({ calls, tries }) => {
      const { connected, ahead, here } = await processes();
      for (let call = 0; call < calls; call += 1) await (call % 2 === 0 ? ahead : here).end("ada", undefined);
      const old = session(await here.latest("ada", undefined));
      await expect.poll(async () => session(await ahead.latest("ada", undefined))).toEqual(old);
      connected.isDown = true;
      for (let call = 0; call < tries; call += 1)
        await expect(ahead.end("ada", undefined)).rejects.toBeInstanceOf(StoreUnavailableError);
      await here.end("ada", undefined);
      const begun = session(await here.latest("ada", undefined));
      connected.calls.splice(0);
      connected.isDown = false;
      await isRepeated(connected, "restore");
      for (const process of [here, ahead]) {
        expect(process.isKnown("new", begun)).toBe(false);
        expect(process.isKnown("old", old)).toBe(true);
      }
    },
  );

  it("end with the repetition when no other call has ended them", async () => {
    const { connected, ahead, here } = await processes();
    const old = session(await here.latest("ada", undefined));
    connected.isDown = true;
    await expect(ahead.end("ada", undefined)).rejects.toBeInstanceOf(StoreUnavailableError);
    connected.isDown = false;
    await expect.poll(() => here.isKnown("old", old), { timeout: 5000 }).toBe(true);
  });

  it("that began elsewhere after as many calls as were refused here end with a call that is not", async () => {
    const { connected, ahead, here } = await processes();
    connected.isDown = true;
    await expect(ahead.end("ada", undefined)).rejects.toBeInstanceOf(StoreUnavailableError);
    await here.end("ada", undefined);
    const begun = session(await here.latest("ada", undefined));
    connected.isDown = false;
    await ahead.end("ada", undefined);
    expect(ahead.isKnown("begun", begun)).toBe(true);
    await expect.poll(() => here.isKnown("begun", begun), { timeout: 5000 }).toBe(true);
  });

  it("do not begin while the latest cut-off cannot be read", async () => {
    const { connected, ahead } = await processes();
    connected.isDown = true;
    await expect(async () => ahead.latest("ada", undefined)).rejects.toBeInstanceOf(StoreUnavailableError);
    connected.isDown = false;
    await expect
      .poll(async () => Promise.resolve(ahead.latest("ada", undefined)).catch(() => undefined), { timeout: 5000 })
      .toEqual({});
  });

  /** A process by itself, and what it published. */
  function alone(now: number, known?: number, read: SessionCutOffs["sessionCutOffOf"] = () => known) {
    const published: CutOff[] = [];
    const source: SessionCutOffs = {
      isCurrent: true,
      hasKnownEnd: () => false,
      hasEnded: async () => false,
      sessionCutOffOf: read,
      knownSessionCutOffOf: () => known,
      publishCutOff: async (cutOff) => void published.push(cutOff),
    };
    const runtime = createRuntime({ clock: { now: () => now, monotonic: () => 0 } });
    return { published, cutOffs: new PrincipalCutOffs(source, runtime, 1000) };
  }

  it("are not said to be ended when the latest cut-off cannot be read, which may be greater than the published one", async () => {
    const { published, cutOffs } = alone(Date.now(), 17, () => Promise.reject(new Error("no connection")));
    await expect(cutOffs.end("ada", undefined)).rejects.toBeInstanceOf(StoreUnavailableError);
    // It ends what began after the last cut-off that this process knows, and nothing that began after a later one.
    expect(published.map(({ cutOff }) => cutOff)).toEqual([18]);
  });

  it.each([
    { known: undefined, expected: 1_000_000 },
    { known: 999_999, expected: 1_000_000 },
    { known: 1_000_000, expected: 1_000_001 },
    { known: 2_000_000, expected: 2_000_001 },
  ])(
    "are cut off after all cut-offs that are known, and not before now, for others may be lost ($known)",
    async ({ known, expected }) => {
      const { published, cutOffs } = alone(1_000_000, known);
      await cutOffs.end("ada", undefined);
      expect(published.map(({ cutOff }) => cutOff)).toEqual([expected]);
    },
  );
});
