import assert from "node:assert/strict";
import session from "express-session";
import { SESSION_STAMP, type SessionStamp } from "../stores/memory/session-record.js";
import type { SessionStore } from "../stores/contracts.js";
import { AWKWARD_TEXTS, caseWith, countTrue, type ConformanceCase } from "./conformance.js";
import { ManualClock } from "./manual-clock.js";

export interface SessionConformanceOptions {
  /** Lets this much time pass for the store, in milliseconds. Moves the clock given to `makeStore` unless set. */
  readonly elapse?: (ms: number) => Promise<void>;
  /** The finest time the store measures lives by, in milliseconds (default 1). A session may live that much longer. */
  readonly grainMs?: number;
}

type ClosableStore = SessionStore & { close(): void | Promise<void> };

/** A `SessionStore` with promises, as the cases want it. */
class Asked {
  constructor(
    private readonly store: SessionStore,
    private readonly clock: ManualClock,
  ) {}

  get(sid: string): Promise<Record<string, unknown> | null | undefined> {
    return called((done) => this.store.get(sid, done as (error: unknown, data?: session.SessionData | null) => void));
  }

  set(sid: string, data: session.SessionData): Promise<unknown> {
    return called((done) => this.store.set(sid, data, done));
  }

  create(sid: string, data: session.SessionData): Promise<boolean | undefined> {
    return called((done) => this.store.create(sid, data, done));
  }

  replace(sid: string, data: session.SessionData): Promise<boolean | undefined> {
    return called((done) => this.store.replace(sid, data, done));
  }

  touch(sid: string, data: session.SessionData): Promise<boolean | undefined> {
    return called((done) => this.store.touch(sid, data, done));
  }

  destroy(sid: string): Promise<unknown> {
    return called((done) => this.store.destroy(sid, done));
  }

  async ids(principalId: string): Promise<string[]> {
    return (await this.store.listByPrincipal(principalId)).map(({ sid }) => sid).sort();
  }

  async list(principalId: string): Promise<unknown> {
    return this.store.listByPrincipal(principalId);
  }

  async endAll(principalId: string, exceptSid?: string): Promise<number> {
    return this.store.destroyByPrincipal(principalId, exceptSid);
  }

  now(): number {
    return this.clock.now();
  }

  /** A session of somebody, or of nobody, that ends `lifeMs` from now. */
  data(principal?: string, extra: object = {}, lifeMs = 60_000): session.SessionData {
    const cookie = new session.Cookie();
    cookie.expires = new Date(this.now() + lifeMs);
    const who: SessionStamp["principal"] = principal === undefined ? null : { id: principal, scopes: ["read"], roles: [] };
    return { cookie, ...extra, [SESSION_STAMP]: { createdAt: this.now(), seenAt: this.now(), principal: who } } as unknown as session.SessionData;
  }
}

/**
 * The checks of a `SessionStore`, for any test runner: sessions that come back as saved, end at their time, and stay ended
 * whatever else is under way.
 *
 * @param makeStore gives an empty store that takes the time from the clock it is given
 */
export function sessionStoreConformance(
  makeStore: (clock: ManualClock) => ClosableStore | Promise<ClosableStore>,
  options: SessionConformanceOptions = {},
): ConformanceCase[] {
  const grain = options.grainMs ?? 1;
  const testCase = (name: string, check: (store: Asked, elapse: (ms: number) => Promise<void>) => Promise<void>): ConformanceCase => {
    const clock = new ManualClock();
    const elapse = async (ms: number): Promise<void> => {
      clock.advance(ms);
      await options.elapse?.(ms);
    };
    return caseWith(() => makeStore(clock), name, (store) => check(new Asked(store, clock), elapse));
  };
  return [...dataCases(testCase, grain), ...endingCases(testCase), ...principalCases(testCase, grain)];
}

type TestCase = (name: string, check: (store: Asked, elapse: (ms: number) => Promise<void>) => Promise<void>) => ConformanceCase;

function dataCases(testCase: TestCase, grain: number): ConformanceCase[] {
  return [
    testCase("get gives back what was saved, and null for what is not there", async (store) => {
      const extra = { cart: ["a", { deep: [1, null, "ü\u0000\ud800"] }], constructor: 1, empty: {}, big: "x".repeat(70_000) };
      assert.equal(await store.create("s", store.data("ada", extra)), true);
      const found = await store.get("s");
      assert.deepEqual({ ...found, cookie: undefined }, { ...store.data("ada", extra), cookie: undefined });
      for (const sid of ["S", "s ", "", "__proto__", "constructor", "*", "s*"]) assert.equal(await store.get(sid), null, sid);
    }),

    testCase("what was given out or passed in can be changed without changing what is stored", async (store) => {
      const given = store.data(undefined, { cart: ["a"] });
      await store.create("s", given);
      (given as unknown as { cart: string[] }).cart.push("b");
      ((await store.get("s"))?.cart as string[]).push("c");
      assert.deepEqual((await store.get("s"))?.cart, ["a"]);
    }),

    testCase("any id names its own session", async (store) => {
      const ids = [...AWKWARD_TEXTS.filter((text) => text !== ""), "{a}", "a:b", "a*"];
      for (const sid of ids) assert.equal(await store.create(sid, store.data("ada", { mine: sid })), true, sid);
      for (const sid of ids) assert.equal((await store.get(sid))?.mine, sid);
      assert.deepEqual(await store.ids("ada"), [...ids].sort());
      await store.destroy("upper");
      assert.equal((await store.get("UPPER"))?.mine, "UPPER");
    }),

    testCase("create writes what is new, replace what is there, and set either", async (store) => {
      assert.equal(await store.replace("s", store.data(undefined, { n: 1 })), false);
      assert.equal(await store.get("s"), null);
      assert.equal(await store.create("s", store.data(undefined, { n: 2 })), true);
      assert.equal(await store.create("s", store.data(undefined, { n: 3 })), false);
      assert.equal((await store.get("s"))?.n, 2);
      assert.equal(await store.replace("s", store.data(undefined, { n: 4 })), true);
      assert.equal((await store.get("s"))?.n, 4);
      await store.set("s", store.data(undefined, { n: 5 }));
      await store.set("t", store.data(undefined, { n: 6 }));
      assert.deepEqual([(await store.get("s"))?.n, (await store.get("t"))?.n], [5, 6]);
    }),

    testCase("of twenty calls of create for one id exactly one is true", async (store) => {
      assert.equal(await countTrue(20, async (index) => (await store.create("s", store.data(undefined, { index }))) === true), 1);
    }),

    testCase("a session ends at its cookie's end, and its id is free then", async (store, elapse) => {
      await store.create("s", store.data("ada", {}, 2 * grain));
      await store.create("t", store.data("ada", {}, 60_000));
      assert.notEqual(await store.get("s"), null);
      await elapse(3 * grain + 5);
      assert.equal(await store.get("s"), null);
      assert.equal(await store.replace("s", store.data()), false);
      assert.equal(await store.touch("s", store.data()), false);
      assert.deepEqual(await store.ids("ada"), ["t"]);
      assert.equal(await store.create("s", store.data()), true);
    }),

    testCase("touch moves the end and seenAt, and no data", async (store, elapse) => {
      const life = 3 * grain + 20;
      await store.create("s", store.data("ada", { note: "saved" }, life));
      const createdAt = store.now();
      await elapse(2 * grain);
      assert.equal(await store.touch("s", store.data("ada", { note: "unsaved" }, life)), true);
      const touchedAt = store.now();
      await elapse(2 * grain + 20);
      const found = await store.get("s");
      assert.equal(found?.note, "saved");
      const stamp = (found as { [SESSION_STAMP]?: SessionStamp })[SESSION_STAMP];
      assert.deepEqual([stamp?.createdAt, stamp?.seenAt, stamp?.principal?.id], [createdAt, touchedAt, "ada"]);
      assert.equal(new Date((found as { cookie: { expires: string } }).cookie.expires).getTime(), touchedAt + life);
      assert.deepEqual(await store.list("ada"), [{ sid: "s", createdAt, seenAt: touchedAt, expiresAt: touchedAt + life }]);
      assert.equal(await store.touch("unknown", store.data()), false);
      assert.equal(await store.get("unknown"), null);
    }),

    testCase("data that JSON cannot carry is an error, and what was there stays", async (store) => {
      const round: Record<string, unknown> = {};
      round.self = round;
      await store.create("s", store.data(undefined, { n: 1 }));
      await assert.rejects(store.replace("s", store.data(undefined, round)));
      assert.equal((await store.get("s"))?.n, 1);
    }),
  ];
}

function endingCases(testCase: TestCase): ConformanceCase[] {
  return [
    testCase("what was destroyed is gone, and no later write or touch brings it back", async (store) => {
      await store.create("s", store.data("ada"));
      await store.destroy("s");
      assert.equal(await store.get("s"), null);
      assert.equal(await store.replace("s", store.data("ada")), false);
      assert.equal(await store.touch("s", store.data("ada")), false);
      assert.equal(await store.create("s", store.data("ada")), false);
      // express-session's own way of saving, which knows no difference.
      await store.set("s", store.data("ada"));
      assert.equal(await store.get("s"), null);
      assert.deepEqual(await store.ids("ada"), []);
      await store.destroy("s");
      assert.equal(await store.get("s"), null);
    }),

    testCase("an id can be ended before its session is there", async (store) => {
      await store.destroy("s");
      assert.equal(await store.create("s", store.data("ada")), false);
      assert.equal(await store.get("s"), null);
    }),

    testCase("destroy among twenty saves and touches at once: it is gone when all are done", async (store) => {
      for (let round = 0; round < 5; round += 1) {
        const sid = `s${round}`;
        await store.create(sid, store.data("ada"));
        await Promise.all(
          Array.from({ length: 20 }, (_, index) => {
            if (index === 7) return store.destroy(sid);
            if (index % 3 === 0) return store.touch(sid, store.data("ada"));
            return index % 3 === 1 ? store.replace(sid, store.data("ada", { index })) : store.set(sid, store.data("ada", { index }));
          }),
        );
        assert.equal(await store.get(sid), null);
      }
      assert.deepEqual(await store.ids("ada"), []);
    }),
  ];
}

function principalCases(testCase: TestCase, grain: number): ConformanceCase[] {
  return [
    testCase("a principal's sessions are listed, and nobody else's", async (store) => {
      const owners = ["ada", "Ada", "ada ", "__proto__", "日本語", "*", "a:b", "{x}", "\ud800"];
      for (const [index, owner] of owners.entries()) {
        await store.create(`${index}-1`, store.data(owner));
        await store.create(`${index}-2`, store.data(owner));
      }
      await store.create("nobody", store.data());
      for (const [index, owner] of owners.entries()) assert.deepEqual(await store.ids(owner), [`${index}-1`, `${index}-2`], owner);
      assert.deepEqual(await store.ids("unknown"), []);
    }),

    testCase("destroyByPrincipal ends them all but the one excepted, counts them, and leaves others alone", async (store) => {
      for (const sid of ["a", "b", "c"]) await store.create(sid, store.data("ada"));
      await store.create("d", store.data("bob"));
      assert.equal(await store.endAll("ada", "b"), 2);
      assert.deepEqual([await store.ids("ada"), await store.ids("bob")], [["b"], ["d"]]);
      assert.deepEqual([await store.get("a"), await store.get("c")], [null, null]);
      assert.equal(await store.replace("a", store.data("ada")), false);
      assert.equal(await store.endAll("ada"), 1);
      assert.equal(await store.endAll("ada"), 0);
      assert.equal(await store.create("e", store.data("ada")), true);
      assert.deepEqual(await store.ids("ada"), ["e"]);
    }),

    testCase("destroyByPrincipal among saves and log-ins at once: what it did not end can still be ended, and is listed", async (store) => {
      for (let round = 0; round < 5; round += 1) {
        const owner = `owner-${round}`;
        for (let n = 0; n < 5; n += 1) await store.create(`${owner}-${n}`, store.data(owner));
        await Promise.all([
          ...Array.from({ length: 5 }, (_, n) => store.replace(`${owner}-${n}`, store.data(owner, { n }))),
          store.endAll(owner),
          ...Array.from({ length: 5 }, (_, n) => store.create(`${owner}-new-${n}`, store.data(owner))),
        ]);
        for (let n = 0; n < 5; n += 1) assert.equal(await store.get(`${owner}-${n}`), null);
        // A session in force is never one that the listing does not show.
        const listed = await store.ids(owner);
        for (let n = 0; n < 5; n += 1) {
          const sid = `${owner}-new-${n}`;
          assert.equal((await store.get(sid)) !== null, listed.includes(sid), sid);
        }
      }
    }),

    testCase("a session replaced and touched stays listed beyond its first end", async (store, elapse) => {
      const life = 2 * grain + 20;
      await store.create("s", store.data("ada", {}, life));
      await elapse(grain);
      await store.replace("s", store.data("ada", {}, life));
      await elapse(grain);
      await store.touch("s", store.data("ada", {}, life));
      await elapse(grain + 20);
      assert.deepEqual(await store.ids("ada"), ["s"]);
      assert.equal(await store.endAll("ada"), 1);
    }),
  ];
}

function called<T>(start: (done: (error: unknown, value?: T) => void) => void): Promise<T | undefined> {
  return new Promise((resolve, reject) => start((error, value) => (error == null ? resolve(value) : reject(error))));
}
