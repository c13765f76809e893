import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { Clock } from "../../../../src/core/clock.js";
import { SettingsError } from "../../../../src/settings/errors.js";
import { SlidingWindowStore } from "../../../../src/stores/memory/sliding-window/store.js";
import { Clients } from "../../../../src/stores/memory/sliding-window/clients.js";
import { ManualClock } from "../../../support/manual-clock.js";

const POLICY = { name: "p", limit: 3, windowMs: 1000 };
const open: SlidingWindowStore[] = [];

function storeWith(settings: ConstructorParameters<typeof SlidingWindowStore>[0] = {}) {
  const clock = new ManualClock();
  const store = new SlidingWindowStore({ clock, ...settings });
  open.push(store);
  return { clock, store };
}

afterEach(() => {
  while (open.length > 0) open.pop()?.close();
});

describe("the log", () => {
  it.each([false, true])(
    "removes the oldest remaining record, even when one before it was already removed (%s)",
    (between) => {
      const clock = new ManualClock();
      const clients = new Clients(10, clock);
      const policy = { name: "p", limit: 5, windowMs: 100 };
      const hit = (): number => {
        clients.decide(policy, "k", 1, true);
        return clients.lastReceipt;
      };
      hit();
      clock.advance(10);
      const middle = hit();
      if (between) clients.refund(policy, "k", 1, middle);
      clock.advance(10);
      hit();
      clock.advance(85);
      const { used } = clients.decide(policy, "k", 1, false);
      clients.refundOldest(policy, "k");
      expect([used, clients.decide(policy, "k", 1, false).used]).toEqual(between ? [1, 0] : [2, 1]);
    },
  );

  it("frees a slot when the oldest request leaves the window, not at the end of a fixed window", () => {
    const { clock, store } = storeWith();
    for (const wait of [0, 400, 400]) {
      clock.advance(wait);
      expect(store.consume(POLICY, "a", 1).allowed).toBe(true);
    }
    expect(store.consume(POLICY, "a", 1)).toEqual({ allowed: false, used: 3, retryAfterMs: 200, resetMs: 200 });
    clock.advance(199);
    expect(store.consume(POLICY, "a", 1).allowed).toBe(false);
    clock.advance(1);
    expect(store.consume(POLICY, "a", 1)).toEqual({ allowed: true, used: 3, retryAfterMs: 0, resetMs: 400 });
  });

  it("does not record refused requests: a client that keeps trying is accepted again", () => {
    const { clock, store } = storeWith();
    const accepted: number[] = [];
    for (let ms = 0; ms < 10_000; ms += 10) {
      if (store.consume(POLICY, "a", 1).allowed) accepted.push(ms);
      clock.advance(10);
    }
    expect(accepted).toHaveLength(30);
  });

  it("counts the cost of requests, and returns how long the same cost has to wait", () => {
    const { clock, store } = storeWith();
    store.consume(POLICY, "a", 2);
    clock.advance(100);
    store.consume(POLICY, "a", 1);
    expect(store.consume(POLICY, "a", 1).retryAfterMs).toBe(900);
    expect(store.consume(POLICY, "a", 3).retryAfterMs).toBe(1000);
    expect(store.consume(POLICY, "a", 4)).toMatchObject({ allowed: false, retryAfterMs: 1000 });
    expect(store.consume(POLICY, "a", 0)).toMatchObject({ allowed: true, used: 3 });
    for (const cost of [-1, 0.5, NaN, Infinity]) expect(() => store.consume(POLICY, "a", cost)).toThrow(RangeError);
  });

  it("counts requests that cost more units than one record holds", () => {
    const { clock, store } = storeWith();
    const policy = { name: "big", limit: 10_000, windowMs: 1000 };
    expect(store.consume(policy, "a", 9_999)).toMatchObject({ allowed: true, used: 9_999 });
    clock.advance(1);
    expect(store.consume(policy, "a", 2)).toMatchObject({ allowed: false, retryAfterMs: 999 });
    expect(store.consume(policy, "a", 1)).toMatchObject({ allowed: true, used: 10_000 });
    clock.advance(999);
    expect(store.consume(policy, "a", 9_999)).toMatchObject({ allowed: true, used: 10_000 });
  });

  it.each([-1_000_000_000, 0, Date.UTC(2026, 0, 1) + 0.123])(
    "counts alike whatever value the clock starts at: %d",
    (start) => {
      let time = start;
      const { store } = storeWith({ clock: { now: () => 0, monotonic: () => time } });
      const accepted: number[] = [];
      for (let ms = 0; ms < 5000; ms += 100, time += 100) if (store.consume(POLICY, "a", 1).allowed) accepted.push(ms);
      expect(accepted).toEqual([0, 1000, 2000, 3000, 4000].flatMap((ms) => [ms, ms + 100, ms + 200]));
    },
  );

  it("takes no more memory for a request that costs more, so that costs in bytes can be limited", () => {
    const { clock, store } = storeWith();
    const policy = { name: "bytes", limit: 2_000_000_000, windowMs: 1000 };
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 1000; i += 1) expect(store.consume(policy, `client-${i}`, 1_000_000_000).allowed).toBe(true);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4_000_000);
    clock.advance(500);
    expect(store.consume(policy, "client-0", 1_000_000_001)).toMatchObject({
      allowed: false,
      used: 1_000_000_000,
      retryAfterMs: 500,
    });
    expect(store.consume(policy, "client-0", 1_000_000_000)).toMatchObject({ allowed: true, used: 2_000_000_000 });
    clock.advance(500);
    expect(store.consume(policy, "client-0", 1)).toMatchObject({ allowed: true, used: 1_000_000_001 });
  });

  it("peeks without recording, resets one key, and keeps policies apart", () => {
    const { store } = storeWith();
    const other = { ...POLICY, name: "q" };
    for (let i = 0; i < 5; i += 1) expect(store.peek(POLICY, "a", 3).allowed).toBe(true);
    expect(store.size).toBe(0);
    store.consume(POLICY, "a", 3);
    expect(store.peek(POLICY, "a", 1)).toEqual({ allowed: false, used: 3, retryAfterMs: 1000, resetMs: 1000 });
    expect(store.consume(other, "a", 3).allowed).toBe(true);
    expect(store.consume(POLICY, "b", 3).allowed).toBe(true);
    store.reset(POLICY, "a");
    expect(store.consume(POLICY, "a", 1)).toMatchObject({ allowed: true, used: 1 });
    expect(store.peek(other, "a", 1).allowed).toBe(false);
    expect(store.peek(POLICY, "b", 1).allowed).toBe(false);
    store.reset({ ...POLICY, name: "never seen" }, "a");
  });

  it("is not moved by the wall clock, and stands still when the monotonic clock goes back", () => {
    const { clock, store } = storeWith();
    store.consume(POLICY, "a", 3);
    clock.step(3_600_000);
    expect(store.consume(POLICY, "a", 1).allowed).toBe(false);
    clock.step(-7_200_000);
    expect(store.consume(POLICY, "a", 1).retryAfterMs).toBe(1000);

    let time = 5000;
    const broken: Clock = { now: () => time, monotonic: () => time };
    const second = storeWith({ clock: broken }).store;
    second.consume(POLICY, "a", 3);
    time = 0;
    expect(second.consume(POLICY, "a", 1)).toEqual({ allowed: false, used: 3, retryAfterMs: 1000, resetMs: 1000 });
    time = 5999;
    expect(second.consume(POLICY, "a", 1).retryAfterMs).toBe(1);
    time = 6000;
    expect(second.consume(POLICY, "a", 1).allowed).toBe(true);
  });

  it("distinguishes keys that differ only in characters that are easily mangled", () => {
    const { store } = storeWith();
    const keys = [
      "é".repeat(20),
      "e\u0301".repeat(20),
      "\ud800".repeat(20),
      "\ufffd".repeat(20),
      "\ud801".repeat(20),
      "x".repeat(300),
      `${"x".repeat(299)}y`,
      "",
    ];
    for (const key of keys) expect(store.consume(POLICY, key, 3).allowed).toBe(true);
    for (const key of keys) expect(store.consume(POLICY, key, 1).allowed).toBe(false);
    expect(store.size).toBe(keys.length);
  });
});

describe("memory", () => {
  it("tracks at most maxClients, and keeps every count in a flood", () => {
    const { store } = storeWith({ maxClients: 1000 });
    for (let i = 0; i < 3; i += 1) store.consume(POLICY, "attacker", 1);
    for (let i = 0; i < 20_000; i += 1) store.consume(POLICY, `flood-${i}`, 1);
    expect(store.size).toBe(1000);
    expect(store.consume(POLICY, "attacker", 1)).toEqual({
      allowed: false,
      used: 3,
      retryAfterMs: 1000,
      resetMs: 1000,
    });
  });

  it("counts all policies together", () => {
    const { store } = storeWith({ maxClients: 10 });
    for (let i = 0; i < 30; i += 1) store.consume({ ...POLICY, name: `p${i % 3}` }, `k${i}`, 1);
    expect(store.size).toBe(10);
  });

  it("accepts no more from a flood than the overflow windows hold", () => {
    const { store } = storeWith({ maxClients: 160 });
    let accepted = 0;
    for (let i = 0; i < 20_000; i += 1) if (store.consume(POLICY, `flood-${i}`, 1).allowed) accepted += 1;
    // 160 with a window of their own, and 10 windows shared by all the others.
    expect(accepted).toBe(160 + 10 * POLICY.limit);
  });

  it("gives newcomers a window of their own again as soon as a flood is over, however busy they are", () => {
    const { clock, store } = storeWith({ maxClients: 16 });
    for (let i = 0; i < 100; i += 1) store.consume(POLICY, `flood-${i}`, 1);
    clock.advance(500);
    // The one overflow window is full; these clients are held back by it.
    expect(store.consume(POLICY, "c0", 1).allowed).toBe(false);
    clock.advance(500);
    for (let round = 0; round < 20; round += 1) {
      for (let i = 0; i < 8; i += 1) expect(store.consume(POLICY, `c${i}`, 1).allowed).toBe(true);
      clock.advance(334);
    }
  });

  it("is cleaned up while requests come", () => {
    const { clock, store } = storeWith();
    for (let i = 0; i < 1000; i += 1) store.consume(POLICY, `k${i}`, 1);
    expect(store.size).toBe(1000);
    clock.advance(1000);
    for (let i = 0; i < 600; i += 1) store.consume(POLICY, "busy", 0);
    expect(store.size).toBe(0);
  });

  it("is cleaned up while no request comes, and then no timer remains", async () => {
    const { clock, store } = storeWith();
    for (let i = 0; i < 1000; i += 1) store.consume({ ...POLICY, name: `p${i % 7}` }, `k${i}`, 1);
    clock.advance(1000);
    await sleep(600);
    expect(store.size).toBe(0);
    expect(store.consume(POLICY, "k1", 3)).toMatchObject({ allowed: true, used: 3 });
  });

  it("keeps exact counts through growth, clean-up and re-use of its memory", () => {
    const { clock, store } = storeWith({ maxClients: 5000 });
    for (let round = 0; round < 6; round += 1) {
      for (let i = 0; i < 4000; i += 1)
        expect(store.consume(POLICY, `r${round % 2}-${i}`, 1 + (i % 3)).used).toBe(1 + (i % 3));
      for (let i = 0; i < 4000; i += 17) expect(store.peek(POLICY, `r${round % 2}-${i}`, 1).used).toBe(1 + (i % 3));
      clock.advance(1000);
    }
  });

  it("keeps a log within its bound when hits are taken back", () => {
    const { clock, store } = storeWith({ limit: 3, windowMs: 1_000_000 });
    const policy = { name: "express-rate-limit", limit: 3, windowMs: 1_000_000 };
    for (let i = 0; i < 5000; i += 1) {
      expect(store.consume(policy, "k", 1).allowed).toBe(true);
      clock.advance(1);
      if (i > 1) store.decrement("k");
    }
    expect(store.peek(policy, "k", 1).used).toBe(2);
  });
});

describe("the constructor", () => {
  it("refuses unknown options", () => {
    expect(() => new SlidingWindowStore({ maxClients: 0 })).toThrow(SettingsError);
    expect(() => new SlidingWindowStore({ maxclients: 5 } as object)).toThrow(/Did you mean "maxClients"/);
    expect(() => new SlidingWindowStore({ clock: {} as Clock })).toThrow(SettingsError);
  });

  it("makes stores that share nothing", () => {
    const first = storeWith().store;
    const second = storeWith().store;
    first.consume(POLICY, "a", 3);
    expect(second.consume(POLICY, "a", 3).allowed).toBe(true);
  });
});
