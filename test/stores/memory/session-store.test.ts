import { InvalidInputError } from "../../../src/core/portcullis-error.js";
import session from "express-session";
import { describe, expect, it, vi } from "vitest";
import { SessionStoreFullError } from "../../../src/stores/health/store-full.js";
import { SESSION_METADATA } from "../../../src/stores/contracts.js";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { ManualClock } from "../../support/manual-clock.js";

function make(maxSessions?: number): { clock: ManualClock; store: MemorySessionStore; expired: string[] } {
  const clock = new ManualClock();
  const store = new MemorySessionStore({ clock, ...(maxSessions === undefined ? {} : { maxSessions }) });
  const expired: string[] = [];
  store.on("expired", ({ sid }: { sid: string }) => expired.push(sid));
  return { clock, store, expired };
}

function data(
  clock: ManualClock,
  { life = 1000, principal, extra = {} }: { life?: number; principal?: string; extra?: object } = {},
): session.SessionData {
  const cookie = new session.Cookie();
  cookie.expires = new Date(clock.now() + life);
  const now = clock.now();
  return {
    cookie,
    ...extra,
    [SESSION_METADATA]: {
      createdAt: now,
      seenAt: now,
      principal: principal === undefined ? null : { id: principal, scopes: [], roles: [] },
    },
  } as unknown as session.SessionData;
}

function get(store: MemorySessionStore, sid: string): Record<string, unknown> | null | undefined {
  let found: unknown;
  store.get(sid, (_error, value) => (found = value));
  return found as Record<string, unknown> | null | undefined;
}

describe("MemorySessionStore", () => {
  it("is an express-session store that keeps copies", () => {
    const { clock, store } = make();
    const given = data(clock, { extra: { cart: ["a"] } });
    store.set("s", given);
    (given as unknown as { cart: string[] }).cart.push("b");
    expect(get(store, "s")?.cart).toEqual(["a"]);
    (get(store, "s")?.cart as string[]).push("c");
    expect(get(store, "s")?.cart).toEqual(["a"]);
    expect(store).toBeInstanceOf(session.Store);
    expect(get(store, "unknown")).toBeNull();
    expect(get(store, "__proto__")).toBeNull();
  });

  it("ends a session at its time, and not a moment before", () => {
    const { clock, store, expired } = make();
    store.set("s", data(clock));
    clock.advance(999);
    expect(get(store, "s")).toBeTruthy();
    clock.advance(1);
    expect(get(store, "s")).toBeNull();
    expect(get(store, "s")).toBeNull();
    expect(expired).toEqual(["s"]);
    expect(store.size).toBe(0);
  });

  it("changes the end and the last use on touch, not the data, and restores no ended session", () => {
    const { clock, store } = make();
    store.set("s", data(clock, { extra: { note: "saved" }, principal: "ada" }));
    clock.advance(900);
    store.touch("s", data(clock, { extra: { note: "unsaved" } }));
    clock.advance(900);
    expect(get(store, "s")).toMatchObject({
      note: "saved",
      [SESSION_METADATA]: { createdAt: clock.now() - 1800, seenAt: clock.now() - 900, principal: { id: "ada" } },
    });
    expect(store.listByPrincipal("ada")).toEqual([
      { sid: "s", createdAt: clock.now() - 1800, seenAt: clock.now() - 900, expiresAt: clock.now() + 100 },
    ]);
    store.destroy("s");
    store.touch("s", data(clock));
    expect(get(store, "s")).toBeNull();
  });

  it("prunes by itself, a slice at a time", () => {
    const { clock, store, expired } = make();
    for (let i = 0; i < 50; i += 1) store.set(`a${i}`, data(clock, { life: i % 2 === 0 ? 10 : 10_000 }));
    for (let i = 0; i < 50; i += 1)
      store.set(`o${i}`, data(clock, { life: i % 2 === 0 ? 10 : 10_000, principal: `p${i}` }));
    clock.advance(100);
    store.prune(20);
    expect(expired).toHaveLength(10);
    for (let i = 0; i < 6; i += 1) store.prune(20);
    expect([store.size, expired.length]).toEqual([50, 50]);
    expect(store.listByPrincipal("p0")).toEqual([]);
    store.close();
  });

  it("allows a principal a hundredth of the places, at least ten and at most a thousand", () => {
    for (const [maxSessions, share] of [
      [20, 10],
      [2000, 20],
      [200_000, 1000],
    ] as const) {
      const { clock, store } = make(maxSessions);
      store.set("z", data(clock, { principal: "zed" }));
      const made = Math.min(maxSessions, 2 * share);
      for (let i = 0; i < made; i += 1) store.set(`m${i}`, data(clock, { principal: "mallory" }));
      expect(store.listByPrincipal("mallory").map(({ sid }) => sid)).toEqual(
        Array.from({ length: share }, (_, i) => `m${made - share + i}`),
      );
      // Saving one of them again is no new one.
      store.set(`m${made - 1}`, data(clock, { principal: "mallory" }));
      expect(store.size).toBe(share + 1);
      expect(get(store, "z")).toBeTruthy();
      store.close();
    }
  });

  it("makes room by removing expired sessions, then idle anonymous ones, then the principal's own, or refuses", () => {
    const { clock, store } = make(4);
    store.set("owned-expired", data(clock, { life: 10, principal: "old" }));
    store.set("first", data(clock));
    store.set("second", data(clock));
    store.set("ada", data(clock, { principal: "ada" }));
    clock.advance(20);
    store.touch("first", data(clock));
    store.set("third", data(clock));
    expect(get(store, "owned-expired")).toBeNull();
    store.set("fourth", data(clock));
    expect(get(store, "second")).toBeNull();
    expect(get(store, "first")).toBeTruthy();
    for (const sid of ["ada2", "ada3", "bob"]) store.set(sid, data(clock, { principal: sid.replace(/\d/, "") }));
    expect(store.size).toBe(4);
    const errors: unknown[] = [];
    store.set("stranger", data(clock), (error) => errors.push(error));
    store.set("cleo", data(clock, { principal: "cleo" }), (error) => errors.push(error));
    expect(errors).toEqual([expect.any(SessionStoreFullError), expect.any(SessionStoreFullError)]);
    // Known ids are always written, and the principal's own oldest gives way.
    store.set("bob", data(clock, { principal: "bob", extra: { note: "again" } }), (error) => errors.push(error));
    store.set("ada4", data(clock, { principal: "ada" }), (error) => errors.push(error));
    expect(errors.slice(2)).toEqual([undefined, undefined]);
    expect([get(store, "ada"), get(store, "bob")?.note]).toEqual([null, "again"]);
    expect(store.size).toBe(4);
  });

  it("stays within its bound under a flood", () => {
    const { clock, store } = make(1000);
    for (let i = 0; i < 500; i += 1) store.set(`owned${i}`, data(clock, { principal: `p${i}` }));
    for (let i = 0; i < 20_000; i += 1) store.set(`flood${i}`, data(clock));
    expect(store.size).toBe(1000);
    for (let i = 0; i < 500; i += 1) expect(store.listByPrincipal(`p${i}`)).toHaveLength(1);
    store.close();
  });

  it("lists and ends by principal, names like __proto__ included", () => {
    const { clock, store } = make();
    store.set("a", data(clock, { principal: "__proto__" }));
    store.set("b", data(clock, { principal: "__proto__" }));
    store.set("c", data(clock, { principal: "constructor" }));
    expect(store.listByPrincipal("__proto__").map(({ sid }) => sid)).toEqual(["a", "b"]);
    expect(store.idsByPrincipal("__proto__", 0)).toEqual(["a", "b"]);
    expect(store.idsByPrincipal("nobody", 0)).toEqual([]);
    store.destroy("a");
    expect(store.idsByPrincipal("__proto__", 0)).toEqual(["b"]);
    expect([get(store, "a"), get(store, "b") != null, get(store, "c") != null]).toEqual([null, true, true]);
    let all: object | null | undefined;
    store.all((_error, sessions) => (all = sessions));
    expect(Object.keys(all ?? {})).toEqual(["b", "c"]);
    store.clear();
    expect([store.size, store.listByPrincipal("constructor")]).toEqual([0, []]);
  });

  it("rejects data that JSON cannot represent, and keeps the earlier data", () => {
    const { clock, store } = make();
    store.set("s", data(clock, { extra: { note: "good" } }));
    let caught: unknown;
    store.set("s", data(clock, { extra: { big: 1n } }), (error) => (caught = error));
    expect(caught).toBeInstanceOf(TypeError);
    expect(get(store, "s")?.note).toBe("good");
  });

  it("refuses an invalid bound", () => {
    for (const maxSessions of [0, -1, 1.5, Number.NaN])
      expect(() => new MemorySessionStore({ maxSessions })).toThrow(InvalidInputError);
  });

  it("does not keep the process alive", async () => {
    const store = new MemorySessionStore();
    store.set("s", data(new ManualClock()));
    const timers = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    store.close();
    expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length).toBe(timers);
  });
});

describe("the steps of MemorySessionStore", () => {
  /** Reads, writes and iterations of maps and sets while `work` runs. */
  function stepsOf(work: () => void): number {
    type Methods = Record<string, (...parameters: unknown[]) => unknown>;
    const places: readonly (readonly [object, readonly string[]])[] = [
      [Map.prototype, ["get", "has", "set", "delete"]],
      [Set.prototype, ["add", "has", "delete"]],
      [Object.getPrototypeOf(new Map().values()) as object, ["next"]],
      [Object.getPrototypeOf(new Set().values()) as object, ["next"]],
    ];
    const spies = places.flatMap(([place, names]) => names.map((name) => vi.spyOn(place as Methods, name)));
    try {
      work();
      return spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  }

  /** A store with this many sessions of visitors and as many users, and `logIns` log-ins of one more. */
  function filled(sessions: number, logIns: number, maxSessions = 2 * sessions + 10) {
    const made = make(maxSessions);
    for (let i = 0; i < sessions; i += 1) {
      made.store.set(`visitor${i}`, data(made.clock));
      made.store.set(`user${i}`, data(made.clock, { principal: `user${i}` }));
    }
    for (let i = 0; i < logIns; i += 1) made.store.set(`ada${i}`, data(made.clock, { principal: "ada" }));
    return made;
  }

  it("are as many in a store with 40,000 sessions as in one with 400: list, end, touch and a new one", () => {
    const steps = [200, 20_000].map((sessions) => {
      const { clock, store } = filled(sessions, 8);
      const found = [
        stepsOf(() => expect(store.listByPrincipal("ada")).toHaveLength(8)),
        stepsOf(() => expect(store.idsByPrincipal("ada", 0)).toHaveLength(8)),
        stepsOf(() => store.destroy("ada3")),
        stepsOf(() => store.touch("ada4", data(clock))),
        stepsOf(() => store.create("ada8", data(clock, { principal: "ada" }), () => undefined)),
      ];
      store.close();
      return found;
    });
    expect(steps[1]).toEqual(steps[0]);
    expect(Math.max(...(steps[1] ?? []))).toBeLessThan(100);
  });

  it("are as many to make room in a full store, whatever its size and whoever gives way", () => {
    const steps = [200, 20_000].map((sessions) => {
      const { clock, store } = filled(sessions, 0, 2 * sessions);
      const inFullStore = (sid: string, principal?: string) =>
        stepsOf(() => store.set(sid, data(clock, principal === undefined ? {} : { principal })));
      const found = [inFullStore("visitor"), inFullStore("ada", "ada"), inFullStore("ada again", "ada")];
      expect(store.size).toBe(2 * sessions);
      // Every visitor gives way to users, and then nobody does: a user's own session, or a refusal.
      for (let i = 0; i < sessions; i += 1) store.set(`more${i}`, data(clock, { principal: `more${i}` }));
      found.push(inFullStore("of more1", "more1"), inFullStore("stranger"));
      clock.advance(1000);
      found.push(inFullStore("after the end of all"));
      store.close();
      return found;
    });
    expect(steps[1]).toEqual(steps[0]);
    expect(Math.max(...(steps[1] ?? []))).toBeLessThan(50);
  });

  it("are bounded for a principal that has logged in 20,000 times: no more than for one with a full share", () => {
    const steps = [1000, 20_000].map((logIns) => {
      const { clock, store } = filled(0, logIns, 200_000);
      const found = [
        stepsOf(() => expect(store.listByPrincipal("ada")).toHaveLength(1000)),
        stepsOf(() => expect(store.idsByPrincipal("ada", 0)).toHaveLength(1000)),
        stepsOf(() => store.destroy(`ada${logIns - 7}`)),
        stepsOf(() => store.set("again", data(clock, { principal: "ada" }))),
        stepsOf(() => store.set("one more", data(clock, { principal: "ada" }))),
      ];
      store.close();
      return found;
    });
    expect(steps[1]).toEqual(steps[0]);
    expect(Math.max(...(steps[1] ?? []))).toBeLessThan(10 * 1000);
    expect(Math.max(...(steps[1] ?? []).slice(2))).toBeLessThan(50);
  });
});
