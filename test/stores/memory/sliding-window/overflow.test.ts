import { afterEach, describe, expect, it, vi } from "vitest";
import { networksOf } from "../../../../src/stores/memory/sliding-window/networks.js";
import { SlidingWindowStore } from "../../../../src/stores/memory/sliding-window/store.js";
import { Slots } from "../../../../src/stores/memory/sliding-window/slots.js";
import { ManualClock } from "../../../support/manual-clock.js";

const MAIN = { name: "default", limit: 100, windowMs: 60_000, isMain: true };
const open: SlidingWindowStore[] = [];

function storeWith(settings: ConstructorParameters<typeof SlidingWindowStore>[0] = {}) {
  const clock = new ManualClock();
  const store = new SlidingWindowStore({ clock, ...settings });
  open.push(store);
  return { clock, store };
}

afterEach(() => {
  vi.restoreAllMocks();
  while (open.length > 0) open.pop()?.close();
});

/** A /56 of one of the two /32s of 2a00:db8::/31, as the limiter writes its key. */
function ofOneSlash31(number: number): string {
  const network = number % 2 === 0 ? "2a00:db8" : "2a00:db9";
  const subnet = number >>> 1;
  return `${network}:${(subnet >>> 8).toString(16)}:${((subnet & 0xff) << 8).toString(16)}::/56`;
}

/** Every /48 of 2a00:db8::/31 in turn, so that no two of 131,072 addresses share one. */
function ofEverySlash48(number: number): string {
  return `2a00:${number % 2 === 0 ? "db8" : "db9"}:${((number >>> 1) & 0xffff).toString(16)}:${((number >>> 17) << 8).toString(16)}::/56`;
}

/** An address in one of 20,000 consecutive /24s. */
function of20000Slash24s(number: number): string {
  const network = number % 20_000;
  return `${11 + (network >>> 16)}.${(network >>> 8) & 0xff}.${network & 0xff}.${1 + Math.floor(number / 20_000)}`;
}

/** Addresses of 2,000 newcomers: of eight /24s of one /16, each of a /48 of one /32, or each of a /16 of its own. */
const crowd = (number: number): string => `198.51.${number >> 8}.${number & 255}`;
const ofOneSlash32 = (number: number): string => `2a01:db8:${number.toString(16)}::/56`;
const spreadOut = (number: number): string => `${100 + (number >> 8)}.${number & 255}.7.9`;

function refusedOf(store: SlidingWindowStore, newcomer: (number: number) => string): number {
  let refused = 0;
  for (let i = 0; i < 2000; i += 1) if (!store.consume(MAIN, newcomer(i), 1).allowed) refused += 1;
  return refused;
}

function flooded(address: (number: number) => string): SlidingWindowStore {
  const { store } = storeWith();
  for (let i = 0; i < 250_000; i += 1) store.consume(MAIN, address(i), 1);
  return store;
}

describe("a flood of 250,000 addresses", () => {
  it.each([
    ["one IPv6 /31", ofOneSlash31],
    ["every /48 of one IPv6 /31", ofEverySlash48],
    ["20,000 IPv4 /24s", of20000Slash24s],
  ])("from %s refuses none of 2,000 newcomers, each of another /16", (_name, address) => {
    const store = flooded(address);
    expect(store.size).toBe(100_000);
    expect(refusedOf(store, spreadOut)).toBe(0);
  });

  it.each([
    ["one IPv6 /31", ofOneSlash31],
    ["every /48 of one IPv6 /31", ofEverySlash48],
  ])("from %s refuses none of 2,000 newcomers of one /16 or one /32 either", (_name, address) => {
    const store = flooded(address);
    expect(refusedOf(store, crowd)).toBe(0);
    expect(refusedOf(store, ofOneSlash32)).toBe(0);
  });

  it("from 20,000 IPv4 /24s makes 250 newcomers of each of eight /24s share its window: 1,200 of 2,000 are refused", () => {
    const store = flooded(of20000Slash24s);
    expect(refusedOf(store, crowd)).toBe(2000 - 8 * MAIN.limit);
    // Nobody else is affected by them.
    expect(refusedOf(store, spreadOut)).toBe(0);
  });

  it("from 20,000 IPv4 /24s leaves one /32 1,667 windows for its /48s: 233 of 2,000 newcomers are refused", () => {
    const store = flooded(of20000Slash24s);
    // A third of the 5,000 that are free, and the window of the whole /32 for the others.
    expect(refusedOf(store, ofOneSlash32)).toBe(2000 - 1667 - MAIN.limit);
    expect(refusedOf(store, spreadOut)).toBe(0);
  });

  it("from every /48 of one IPv6 /31 refuses newcomers of that /31", () => {
    const newcomer = (number: number): string => `2a00:db8:${number.toString(16)}:ff00::/56`;
    expect(refusedOf(flooded(ofEverySlash48), newcomer)).toBeGreaterThan(1000);
  });

  it("leaves clients that were counted before it their own count", () => {
    const { store } = storeWith({ maxClients: 1000 });
    for (let i = 0; i < 100; i += 1) store.consume(MAIN, "203.0.113.9", 1);
    store.consume(MAIN, "203.0.113.10", 1);
    for (let i = 0; i < 20_000; i += 1) store.consume(MAIN, ofOneSlash31(i), 1);
    expect(store.consume(MAIN, "203.0.113.9", 1)).toMatchObject({ allowed: false, used: 100 });
    expect(store.consume(MAIN, "203.0.113.10", 1)).toMatchObject({ allowed: true, used: 2 });
  });

  it("limits the flooding network by the windows of its own networks", () => {
    const { store } = storeWith({ maxClients: 160 });
    let accepted = 0;
    for (let i = 0; i < 20_000; i += 1) if (store.consume(MAIN, `203.0.113.${i % 250}`, 1).allowed) accepted += 1;
    // 160 addresses have a window of their own, 7 have one of the 20 for single addresses, and the others share their /24's.
    expect(accepted).toBe((160 + 7) * (20_000 / 250) + MAIN.limit);
  });
});

describe("clients beyond maxClients without an attack", () => {
  it("are served while each is in a /24 of its own", () => {
    const { store } = storeWith();
    for (let i = 0; i < 100_000; i += 1) store.consume(MAIN, ofOneSlash31(i), 1);
    let refused = 0;
    for (let client = 0; client < 20_000; client += 1)
      for (let turn = 0; turn < 5; turn += 1)
        if (!store.consume(MAIN, `10.${client >> 8}.${client & 255}.1`, 1).allowed) refused += 1;
    expect(refused).toBe(0);
  });

  it("are limited by their wider network only as long as they may have records there", () => {
    const { clock, store } = storeWith({ maxClients: 40 });
    const policy = { ...MAIN, limit: 2, windowMs: 1000 };
    for (let i = 0; i < 40; i += 1) store.consume(policy, `192.0.${i}.1`, 1);
    // A flood of one /16 uses up what that may open, and then its window for the whole.
    for (let i = 0; i < 200; i += 1) store.consume(policy, `10.1.${i}.1`, 1);
    expect(store.consume(policy, "10.1.250.1", 1).allowed).toBe(false);
    clock.advance(1000);
    expect(store.consume(policy, "10.1.250.1", 2).allowed).toBe(true);
  });
});

describe("a flood of names invented at one address", () => {
  const pairs = { name: "route:login-pair", limit: 10, windowMs: 3_600_000 };
  const flood = (key: (name: number) => string): SlidingWindowStore => {
    const { store } = storeWith({ maxClients: 10_000 });
    for (let i = 0; i < 40_000; i += 1) store.consume(pairs, key(i), 1);
    return store;
  };
  const refused = (store: SlidingWindowStore, key = (address: string) => `${address} ada`): number =>
    Array.from({ length: 2000 }, (_, i) => store.consume(pairs, key(spreadOut(i)), 1)).filter(({ allowed }) => !allowed)
      .length;

  it("refuses no client of another network where the key begins with the address; with the name first it refuses every client", () => {
    expect(refused(flood((name) => `203.0.113.7 u${name}`))).toBe(0);
    expect(
      refused(
        flood((name) => `u${name} 203.0.113.7`),
        (address) => `ada ${address}`,
      ),
    ).toBe(2000);
  });

  it("refuses no address of the same limit where the keys of the flood are no addresses", () => {
    const store = flood((name) => `u${name}`);
    expect(refused(store, (address) => address)).toBe(0);
    expect(refused(store)).toBe(0);
  });

  it("keeps the limit for addresses that share a hashed window, which names never share", () => {
    // One window for addresses and one for other keys.
    const { store, clock } = storeWith({ maxClients: 16 });
    const policy = { ...pairs, limit: 5, windowMs: 1000 };
    for (let i = 0; i < 40; i += 1) store.consume(policy, `u${i}`, 1);
    expect(store.consume(policy, "u41", 1).allowed).toBe(false);
    let accepted = 0;
    for (let i = 0; i < 200; i += 1) if (store.consume(policy, `10.${i}.0.1`, 1).allowed) accepted += 1;
    // A few have windows of their own or of their networks; the rest share one.
    const late = store.consume(policy, "11.0.0.1", 1);
    expect([late.allowed, late.used]).toEqual([false, 5]);
    expect(accepted).toBeGreaterThanOrEqual(5);
    // With room for windows of its own again, an address still counts what it may have in the window by hash.
    clock.advance(999);
    expect(store.peek(policy, "11.0.0.1", 1).allowed).toBe(false);
    clock.advance(1);
    expect(store.consume(policy, "11.0.0.1", 5).allowed).toBe(true);
  });
});

describe("room for each limit", () => {
  const named = (name: string) => ({ name, limit: 100, windowMs: 3_600_000 });

  it("is kept for the main limit when callers invent keys of another", () => {
    const { store } = storeWith({ maxClients: 1000 });
    for (let i = 0; i < 20_000; i += 1) store.consume(named("route:login-account"), `account u${i}`, 1);
    expect(store.size).toBe(1000);
    for (let client = 0; client < 1000; client += 1) expect(store.consume(MAIN, crowd(client), 100).allowed).toBe(true);
    expect(store.size).toBe(2000);
  });

  it("is a tenth for each named limit, and what others do not use", () => {
    const { store } = storeWith({ maxClients: 1000 });
    const tracked = (name: string, keys: number): number => {
      const before = store.size;
      for (let i = 0; i < keys; i += 1) store.consume(named(name), `key ${i}`, 1);
      return store.size - before;
    };
    expect([tracked("a", 600), tracked("b", 600), tracked("c", 600)]).toEqual([600, 400, 100]);
    expect(tracked("a", 700)).toBe(0);
  });
});

describe("the networks of a key", () => {
  it.each([
    ["203.0.113.9", "203.0.113", "203.0"],
    ["203.0.113.0/24", "203.0.113", "203.0"],
    ["2001:db8:1:200::/56", "2001:db8:1", "2001:db8"],
    ["2001:DB8::1", "2001:db8:0", "2001:db8"],
    ["::1", "0:0:0", "0:0"],
    ["::2:3:4:5:6:7:8", "0:2:3", "0:2"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1", "2001:db8"],
    ["2001:db8::/32", "2001:db8:0", "2001:db8"],
    ["203.0.113.9 ada", "203.0.113", "203.0"],
    ["2001:db8:1:200::/56 10.0.0.1", "2001:db8:1", "2001:db8"],
  ])("%s", (key, narrow, wide) => {
    expect(networksOf(key)).toEqual({ narrow, wide });
  });

  it.each([
    "",
    "account ada",
    "session:ada",
    "jwt:10.0.0.1",
    "ada 203.0.113.9",
    " 203.0.113.9",
    "1.2.3",
    "203.0.113.9:4001",
    "unknown",
  ])("do not exist for %j", (key) => {
    expect(networksOf(key)).toBeUndefined();
  });
});

describe("the steps of one decision", () => {
  /** Cells read and written while `work` runs. */
  function stepsOf(work: () => void): number {
    const spies = [
      vi.spyOn(Slots.prototype, "read"),
      vi.spyOn(Slots.prototype, "write"),
      vi.spyOn(Slots.prototype, "leave"),
    ];
    work();
    const steps = spies.reduce((sum, spy) => sum + spy.mock.calls.length, 0);
    for (const spy of spies) spy.mockRestore();
    return steps;
  }
  const MOST = 40_000;
  /** Cells of one client: 4096 with exact times, and two for each of the 4097 rounded times that fit in a window. */
  const MOST_RECORDS = 4096 + 2 * 4097;
  const huge = { name: "huge", limit: 1_000_000, windowMs: 60_000 };

  function filled(hits: number) {
    const made = storeWith();
    for (let i = 0; i < hits; i += 1) {
      made.store.consume(huge, "k", 1);
      made.clock.advance(0.05);
    }
    expect(made.store.peek(huge, "k", 1).used).toBe(hits);
    return made;
  }

  it("are as many for a cost of one as for a cost of a billion", () => {
    const { store } = storeWith();
    const bytes = { name: "bytes", limit: 2 ** 31 - 1, windowMs: 1000 };
    for (const cost of [1, 1_000_000_000]) {
      expect(stepsOf(() => expect(store.consume(bytes, `k${cost}`, cost).allowed).toBe(true))).toBeLessThan(8);
      expect(stepsOf(() => expect(store.consume(bytes, `k${cost}`, 2 ** 31 - 1).allowed).toBe(false))).toBeLessThan(12);
    }
  });

  it("are bounded, whatever a client has stored: refusal of a large cost, all leaving at once, and a hit taken back", () => {
    const steps = [300_000, 900_000].map((hits) => {
      const { clock, store } = filled(hits);
      const refused = stepsOf(() => expect(store.consume(huge, "k", 1_000_000).allowed).toBe(false));
      clock.advance(59_000);
      const left = stepsOf(() => store.peek(huge, "k", 1));
      clock.advance(120_000);
      const gone = stepsOf(() => expect(store.peek(huge, "k", 1).used).toBe(0));
      return Math.max(refused, left, gone);
    });
    for (const most of steps) expect(most).toBeLessThan(MOST);
    // The newest hit is the last record that is found. Taking it back reads what the client has, up to the fixed bound.
    const takenBack = [10, 1000, 100_000, 900_000].map((hits) => {
      const { clock, store } = storeWith();
      store.init({ windowMs: huge.windowMs, limit: huge.limit, skipFailedRequests: true });
      for (let i = 0; i < hits; i += 1) {
        store.increment("k");
        clock.advance(0.05);
      }
      const steps = stepsOf(() => store.decrement("k"));
      expect(store.get("k")?.totalHits).toBe(hits - 1);
      return steps;
    });
    expect(takenBack[0]).toBeLessThan(10 + 8);
    expect(takenBack[1]).toBeLessThan(1000 + 8);
    for (const most of takenBack) expect(most).toBeLessThan(MOST_RECORDS + 8);
  });

  it("are bounded for requests at one moment too", () => {
    const { store } = storeWith();
    for (let i = 0; i < 100_000; i += 1) store.consume(huge, "k", 1);
    expect(stepsOf(() => expect(store.consume(huge, "k", 1_000_000).allowed).toBe(false))).toBeLessThan(20);
    expect(store.peek(huge, "k", 1).used).toBe(100_000);
  });

  it("do not grow with the cost when several limits are asked together and one refuses", () => {
    const { store } = storeWith();
    const small = { name: "small", limit: 5, windowMs: 1000 };
    const steps = [10, 1_000_000].map((cost) =>
      stepsOf(() => {
        const outcomes = store.consumeAll([
          { policy: huge, key: "a", cost },
          { policy: small, key: "a", cost: 6 },
        ]);
        expect(outcomes.map(({ allowed }) => allowed)).toEqual([true, false]);
      }),
    );
    expect(steps[1]).toBe(steps[0]);
    expect(store.size).toBe(0);
  });

  it("never accept more than a limit whose times are rounded, and say how long to wait", () => {
    const { clock, store } = storeWith();
    const policy = { name: "ticks", limit: 5000, windowMs: 10_000 };
    const times: number[] = [];
    for (let i = 0; i < 20_000; i += 1) {
      const { allowed, retryAfterMs } = store.consume(policy, "k", 1);
      if (allowed) times.push(clock.monotonic());
      else {
        clock.advance(retryAfterMs);
        expect(store.peek(policy, "k", 1).allowed).toBe(true);
      }
      clock.advance(i % 3);
    }
    for (let i = 5000; i < times.length; i += 1) expect(times[i]! - times[i - 5000]!).toBeGreaterThanOrEqual(10_000);
    // Rounding costs a client at most one part in 4096 of each window.
    expect((times.at(-1)! - times[0]!) / (times.length / 5000) / 10_000).toBeLessThan(1.01);
  });
});

describe("several new keys of one limit together, where there is room for one", () => {
  it("are all recorded or none", () => {
    const { store } = storeWith({ maxClients: 1 });
    const policy = { name: "p", limit: 3, windowMs: 1000 };
    store.consume(policy, "first", 1);
    const both = [
      { policy, key: "a", cost: 2 },
      { policy, key: "b", cost: 2 },
    ];
    expect(store.consumeAll(both).map(({ allowed }) => allowed)).toEqual([true, false]);
    expect(store.peek(policy, "a", 3).allowed).toBe(true);
    expect(store.consumeAll(both.map((one) => ({ ...one, cost: 1 }))).every(({ allowed }) => allowed)).toBe(true);
    expect(store.peek(policy, "a", 1).used).toBe(2);
  });
});
