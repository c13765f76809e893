import type { Request } from "express";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SecurityEvents, type SecurityEvent } from "../../src/core/events.js";
import { FairSlots } from "../../src/core/fair-slots.js";
import type { MaybePromise } from "../../src/core/maybe-promise.js";
import { RequestState } from "../../src/core/request-state.js";
import { createRuntime } from "../../src/core/runtime.js";
import { TrustCheck, type Trust, type TrustFunction } from "../../src/core/trust-check.js";
import { ManualClock } from "../support/manual-clock.js";

/** A value that the types forbid and JavaScript does not. */
const untyped = (value: unknown): boolean => value as boolean;
const settled = (answers: MaybePromise<Trust>[]): Promise<Trust[]> =>
  Promise.all(answers.map(async (answer) => answer));
const never = (): Promise<boolean> => new Promise(() => undefined);

describe("a function of the app that says what it trusts", () => {
  const events: SecurityEvent[] = [];
  const warnings: string[] = [];
  const unhandled: unknown[] = [];
  const clock = new ManualClock();
  const runtime = createRuntime({
    clock,
    events: new SecurityEvents().on("*", (event) => events.push(event)),
  });
  const noteWarning = (warning: Error): unknown => warnings.push(warning.message);
  const noteUnhandled = (error: unknown): unknown => unhandled.push(error);

  beforeEach(() => {
    events.length = warnings.length = unhandled.length = 0;
    process.on("warning", noteWarning);
    process.on("unhandledRejection", noteUnhandled);
  });
  afterEach(async () => {
    // Warnings are emitted in the next tick.
    await soon();
    process.off("warning", noteWarning);
    process.off("unhandledRejection", noteUnhandled);
    vi.useRealTimers();
  });

  const checkOf = (trusts: TrustFunction): TrustCheck => new TrustCheck(trusts, "cors", "cors.origins");
  const ask = (check: TrustCheck, name: string, address = "192.0.2.1"): MaybePromise<Trust> =>
    check.ask(name, { ip: address, socket: { remoteAddress: address } } as Request, new RequestState(runtime));
  const seen = (): string[] => events.map(({ event, source, reason }) => `${event} ${source} ${reason}`);
  const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it("returns an answer at once that the function gives at once, and a promise otherwise", async () => {
    const check = checkOf((name) => (name === "slow" ? Promise.resolve(true) : name === "ours"));
    expect(ask(check, "ours")).toBe(true);
    expect(ask(check, "theirs")).toBe(false);
    const slow = ask(check, "slow");
    expect(slow).toBeInstanceOf(Promise);
    expect(await slow).toBe(true);
    expect(seen()).toEqual([]);
  });

  it.each<[string, unknown]>([
    ["yes", "yes"],
    ["1", 1],
    ["undefined", undefined],
    ["null", null],
    ["rows", [{ id: 1 }]],
    ["a Boolean", Object(true)],
    ["a promise of 1", Promise.resolve(1)],
    ["a promise of rows", Promise.resolve([{ id: 1 }])],
  ])("trusts nothing but true: not %s, announced once, but true of the same function", async (_name, value) => {
    const check = checkOf((name) => (name === "ours" ? true : untyped(value)));
    expect(await ask(check, "theirs")).toBe(false);
    expect(await ask(check, "theirs")).toBe(false);
    expect(await ask(check, "ours")).toBe(true);
    await soon();
    expect(seen()).toEqual(["portcullis_misconfigured cors function-gave-no-boolean"]);
    expect(warnings).toEqual([
      expect.stringMatching(/^The function cors\.origins returned a value that is not a boolean/),
    ]);
  });

  it.each<[string, TrustFunction]>([
    [
      "function-threw",
      () => {
        throw new Error("no table");
      },
    ],
    ["function-rejected", () => Promise.reject(new Error("no table"))],
    ["function-late", never],
  ])("%s is no answer, one event and one warning for each outage", async (reason, fails) => {
    let isDown = true;
    const check = checkOf((name) => (isDown && name !== "cached" ? fails(name) : true));
    expect(await ask(check, "ours")).toBeUndefined();
    expect(await ask(check, "ours")).toBeUndefined();
    // Some names come from a cache of the app: the outage goes on.
    expect(ask(check, "cached")).toBe(true);
    expect(await ask(check, "ours")).toBeUndefined();
    await soon();
    expect(seen()).toEqual([`portcullis_store_unavailable cors ${reason}`]);
    expect(warnings).toHaveLength(1);
    isDown = false;
    expect(ask(check, "ours")).toBe(true);
    expect(seen()).toHaveLength(1);
    clock.advance(10_000);
    expect(ask(check, "ours")).toBe(true);
    expect(seen()[1]).toBe("portcullis_store_recovered cors answered");
    isDown = true;
    expect(await ask(check, "ours")).toBeUndefined();
    expect(seen()[2]).toBe(`portcullis_store_unavailable cors ${reason}`);
    expect(unhandled).toEqual([]);
  });

  it.each<[string, () => unknown]>([
    ["null", () => null],
    ["a message that is a symbol", () => Object.assign(new Error("x"), { message: Symbol("secret") })],
    ["a message that is no text", () => Object.assign(new Error("x"), { message: Object.create(null) as unknown })],
    [
      "a message that throws",
      () =>
        Object.defineProperty(new Error("x"), "message", {
          get() {
            throw new Error("from the getter");
          },
        }),
    ],
    [
      "a proxy that throws at every question",
      () =>
        new Proxy(new Error("x"), {
          get() {
            throw new Error("from the proxy");
          },
          getPrototypeOf() {
            throw new Error("from the proxy");
          },
        }),
    ],
  ])("gets no answer from a function that fails with %s, and says so", async (_what, failure) => {
    const thrower = checkOf(() => {
      throw failure();
    });
    expect(ask(thrower, "a")).toBeUndefined();
    const rejecter = checkOf(async () => {
      throw failure();
    });
    expect(await ask(rejecter, "a")).toBeUndefined();
    await soon();
    expect(warnings).toEqual([
      expect.stringMatching(/^The function cors\.origins failed: /),
      expect.stringMatching(/^The function cors\.origins failed: /),
    ]);
    expect(unhandled).toEqual([]);
  });

  it("ignores what comes after 250 milliseconds, a rejection too", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const late: { resolve: (value: boolean) => void; reject: (error: Error) => void }[] = [];
    const check = checkOf(() => new Promise((resolve, reject) => late.push({ resolve, reject })));
    const answers = [ask(check, "a"), ask(check, "b"), ask(check, "c")];
    await vi.advanceTimersByTimeAsync(249);
    late[2]?.resolve(true);
    await vi.advanceTimersByTimeAsync(1);
    await soon();
    expect(await settled(answers)).toEqual([undefined, undefined, true]);
    late[0]?.resolve(true);
    late[1]?.reject(new Error("too late"));
    await soon();
    expect(unhandled).toEqual([]);
    // The late `true` of "a" is not kept: the function is asked again.
    const again = ask(check, "a");
    expect(late).toHaveLength(4);
    late[3]?.resolve(false);
    expect(await again).toBe(false);
  });

  it("shares a call under way, and keeps no answer: what the app removes is refused at the next request", async () => {
    const tenants = new Set(["ours"]);
    const asked: string[] = [];
    const check = checkOf(async (name) => {
      asked.push(name);
      await soon();
      return tenants.has(name);
    });
    const both = await settled([ask(check, "ours"), ask(check, "ours"), ask(check, "theirs")]);
    expect([both, asked]).toEqual([
      [true, true, false],
      ["ours", "theirs"],
    ]);
    tenants.delete("ours");
    expect(await ask(check, "ours")).toBe(false);
    expect(asked).toEqual(["ours", "theirs", "ours"]);
  });

  it("has 100 calls under way for names it has not accepted, 25 for one client; accepted names go on", async () => {
    const open: (() => void)[] = [];
    const check = checkOf((name) =>
      name.startsWith("ours") ? Promise.resolve(true) : new Promise((resolve) => open.push(() => resolve(false))),
    );
    expect(await ask(check, "ours.example")).toBe(true);
    for (let i = 0; i < 200; i += 1) void ask(check, `invented-${i}.example`, "198.51.100.1");
    expect(open).toHaveLength(25);
    expect(await ask(check, "ours.example")).toBe(true);
    expect(await ask(check, "ours-too.example", "192.0.2.7")).toBe(true);
    expect(ask(check, "ours-three.example", "198.51.100.1")).toBeUndefined();
    // One household is one client, whichever of its addresses it uses.
    for (let i = 0; i < 50; i += 1) void ask(check, `other-${i}.example`, `2001:db8::${i + 1}`);
    expect(open).toHaveLength(50);
    for (let i = 0; i < 200; i += 1) void ask(check, `more-${i}.example`, `203.0.113.${i}`);
    expect(open).toHaveLength(100);
    expect(ask(check, "ours-four.example", "192.0.2.8")).toBeUndefined();
    for (const name of ["ours.example", "ours-too.example"]) expect(await ask(check, name, "198.51.100.1")).toBe(true);
    expect(seen()).toEqual(["portcullis_overload cors calls"]);
    for (const settle of open) settle();
    await soon();
    expect(await ask(check, "ours-four.example", "192.0.2.8")).toBe(true);
    clock.advance(1000);
    expect(seen()).toHaveLength(1);
  });

  it("counts late calls until they settle, and those that never do for 10 seconds", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    let calls = 0;
    const check = checkOf((name) => {
      calls += 1;
      return name === "ours" ? true : never();
    });
    const flood = async (from: number): Promise<void> => {
      const all = Array.from({ length: 30 }, (_, i) => ask(check, `invented-${from + i}`));
      await vi.advanceTimersByTimeAsync(250);
      await soon();
      expect(new Set(await settled(all))).toEqual(new Set([undefined]));
    };
    await flood(0);
    expect(calls).toBe(25);
    await flood(100);
    expect(calls).toBe(25);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ask(check, "ours")).toBe(true);
    await flood(200);
    expect(calls).toBe(26 + 25);
  });
});

describe("FairSlots", () => {
  it("keeps its size and the share of every client, and counts what was given back once", () => {
    const step = fc.record({ client: fc.constantFrom("a", "b", "c"), gives: fc.boolean(), at: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const slots = new FairSlots(5, 2);
        const held: { client: string; release: () => void }[] = [];
        for (const { client, gives, at } of steps) {
          const given = gives ? held.splice(at % (held.length || 1), 1)[0] : undefined;
          given?.release();
          given?.release();
          const ofClient = held.filter((one) => one.client === client).length;
          expect(slots.hasRoom(() => client)).toBe(held.length < 5 && ofClient < 2);
          if (held.length < 5 && ofClient < 2) held.push({ client, release: slots.take(client) });
        }
      }),
    );
  });
});
