import type { Clock } from "../../../core/clock.js";
import { ownCopy } from "../../../core/detach-string.js";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import { NONE } from "./blocks.js";
import { WindowHolders } from "./slot-keys.js";
import { WindowIndex } from "./hash-index.js";
import { boundedKey, spread } from "./key-hash.js";
import { WindowLogs } from "./log.js";
import { networksOf } from "./networks.js";
import { ADDRESS, HASHED, NARROW, OWN } from "./capacity.js";
import { WindowSlots } from "./slots.js";
import { type Before, type OverflowWindow, type WideNetwork, type WindowTable, WindowTables } from "./policies.js";
import { WindowTime } from "./store-clock.js";

/** At most this many windows, for each policy, are shared by hash: by addresses, and as many by other keys. */
const MAX_HASHED = 1024;
/** One wide network may open this part of the address and narrow windows that are free beside its own: a half. */
const NETWORK_PART = 2;
/** Slots looked at by every call, and by a call that finds no room. */
const SWEEP_STEP = 2;
const SWEEP_WHEN_FULL = 64;
/** A log with as many records has further ones at so many times of a window, rounded up, so that a decision looks at few more. */
const MOST_TIMES = 4096;

/** What a decision is made on: the client's own log or the one it shares, and those it used to share with others. */
interface Place {
  table: WindowTable | undefined;
  key: string;
  hash: number;
  /** The log to record in; -1 when it has yet to be opened. */
  slot: number;
  /** What kind of log that is. */
  kind: number;
  /** The overflow windows that the key may have records in beside that log, the newest first. */
  before: Before | undefined;
  /** The logs of those that still count. */
  readonly others: number[];
  /** How long records stay, in microseconds. */
  stay: number;
}

/**
 * The exact sliding-window log of many clients in bounded memory.
 *
 * A client is tracked from its first accepted request until its last one has left the window. When there is no room for
 * another, no one is pushed out: a newcomer then uses the finest window that its key may open or that is open already. If
 * the key is an address or a prefix, or begins with one and a space, that is one of its own, of its network (/24 or /48), or of the wider one (/16 or /32);
 * for all other keys, and when there are too many of those, one of a fixed number, chosen by a hash that is seeded anew in
 * every process. Addresses and other keys share none of these, so that names which callers invent refuse no address. A wide network may open half as many as are still free, so a flood uses up its own share of them
 * and leaves others some. So a flood of addresses neither grows memory nor resets anybody's count.
 *
 * When there is room again a key gets a finer window or a log of its own, and the records of the coarser one count along
 * until the last that may be the key's has expired: nothing that the key was allowed there is forgotten too early.
 */
export class WindowClients {
  readonly #hashedWindows: number;
  readonly #time: WindowTime;
  readonly #slots = new WindowSlots();
  readonly #logs = new WindowLogs(this.#slots);
  readonly #tables: WindowTables;
  readonly #index = new WindowIndex(
    (slot, key, table) => this.#holders.isClient(slot, key) && this.#logs.owner(slot) === table,
  );
  /** For each slot the client's key, or the overflow window whose log it is. */
  readonly #holders = new WindowHolders(this.#slots);
  /** What clients with a log of their own have left behind in overflow windows. */
  readonly #promoted = new Map<number, Before>();
  /** One for all decisions, so that a decision allocates nothing but its answer. */
  readonly #place: Place = {
    table: undefined,
    key: "",
    hash: 0,
    slot: NONE,
    kind: OWN,
    before: undefined,
    others: [],
    stay: 0,
  };
  #clients = 0;
  #hand = 0;
  #lastTime = 0;

  constructor(maxClients: number, clock: Clock) {
    this.#tables = new WindowTables(maxClients);
    this.#hashedWindows = Math.min(MAX_HASHED, Math.ceil(maxClients / 16));
    this.#time = new WindowTime(clock);
  }

  /** Clients with a log of their own. */
  get clients(): number {
    return this.#clients;
  }

  /** True when nothing at all is recorded. */
  get isEmpty(): boolean {
    return this.#logs.slots === 0;
  }

  /**
   * Decides, and when `record` is true and the cost fits, records it. The steps this takes are bounded: they do not grow with
   * the cost, and with what is recorded only up to `MOST_TIMES` times a small number.
   */
  decide(policy: WindowPolicy, key: string, cost: number, record: boolean): WindowOutcome {
    if (!Number.isInteger(cost) || cost < 0) throw new RangeError("A cost is a whole number of units, 0 or more.");
    const now = this.#time.read();
    this.#sweep(now, SWEEP_STEP);
    const window = Math.ceil(policy.windowMs * 1000);
    const place = this.#find(policy, key, now, window);
    let used = place.slot === NONE ? 0 : this.#logs.used(place.slot);
    if (place.others.length > 0) for (const slot of place.others) used += this.#logs.used(slot);
    const allowed = used + cost <= policy.limit;
    if (allowed && record && cost > 0) {
      this.#record(policy, place, cost, window);
      used += cost;
    }
    // In an overflow window records stay as long as the longest window they were made for.
    const { stay } = place;
    return {
      allowed,
      used,
      retryAfterMs: allowed
        ? 0
        : cost > policy.limit
          ? Math.ceil(stay / 1000)
          : this.#wait(this.#timeFreeing(used + cost - policy.limit, place), stay, now),
      resetMs: used === 0 ? 0 : this.#wait(this.#timeFreeing(1, place), stay, now),
    };
  }

  /**
   * Decides about several requests of which no two have the same policy and key, and records all of them or none. New keys of
   * one policy that may come to share an overflow window have to fit together.
   */
  decideAll(requests: readonly WindowRequest[]): WindowOutcome[] {
    const newcomers = new Map<string, number>();
    const outcomes = requests.map(({ policy, key, cost }) => {
      const outcome = this.decide(policy, key, cost, false);
      const { slot, kind, table } = this.#place;
      if ((slot !== NONE && kind === OWN) || this.#tables.free(OWN, policy, table) >= requests.length) return outcome;
      const before = newcomers.get(policy.name) ?? 0;
      newcomers.set(policy.name, before + cost);
      if (before === 0 || !outcome.allowed) return outcome;
      const together = this.decide(policy, key, before + cost, false);
      return together.allowed ? outcome : together;
    });
    return outcomes.every(({ allowed }) => allowed)
      ? requests.map(({ policy, key, cost }) => this.decide(policy, key, cost, true))
      : outcomes;
  }

  /** The time stamp of the newest record; for `uncount`. */
  get lastTime(): number {
    return this.#lastTime;
  }

  /** Takes back one unit recorded at exactly `time`, or, without a time, the oldest one. */
  uncount(policy: WindowPolicy, rawKey: string, time?: number): void {
    const now = this.#time.read();
    const { slot, others } = this.#find(policy, rawKey, now, Math.ceil(policy.windowMs * 1000));
    if (time !== undefined) {
      if (slot !== NONE && this.#logs.uncount(slot, time)) return;
      for (const other of others) if (this.#logs.uncount(other, time)) return;
      return;
    }
    if (slot === NONE) return;
    // Of all choices the oldest leaves the later records in place: the count is never lower than the truth.
    const oldest = this.#logs.oldest(slot);
    if (!Number.isNaN(oldest)) this.#logs.uncount(slot, oldest);
  }

  /** Forgets one client. What it has in an overflow window stays: that count is not its own. */
  forget(name: string, rawKey: string): void {
    const table = this.#tables.find(name);
    const key = boundedKey(rawKey);
    const slot = table === undefined ? NONE : this.#index.find(spread(key), key, table.id);
    if (slot !== NONE) this.#release(slot);
  }

  clear(): void {
    this.#logs.clear();
    this.#tables.clear();
    this.#index.clear();
    this.#promoted.clear();
    this.#holders.clear();
    this.#clients = 0;
    this.#hand = 0;
  }

  /** Looks at `slots` slots, in turn, and releases those that have expired. */
  sweep(slots: number): void {
    this.#sweep(this.#time.read(), slots);
  }

  #find(policy: WindowPolicy, rawKey: string, now: number, window: number): Place {
    const place = this.#place;
    place.key = boundedKey(rawKey);
    place.hash = spread(place.key);
    place.table = this.#tables.find(policy.name);
    place.kind = OWN;
    place.before = undefined;
    if (place.others.length > 0) place.others.length = 0;
    place.stay = window;
    place.slot = place.table === undefined ? NONE : this.#index.find(place.hash, place.key, place.table.id);
    if (place.slot !== NONE) {
      this.#logs.expire(place.slot, now - window);
      if (this.#promoted.size > 0) this.#countPromoted(place, now);
      return place;
    }
    let hasRoom = this.#tables.free(OWN, policy, place.table) > 0;
    if (!hasRoom) {
      this.#sweep(now, SWEEP_WHEN_FULL);
      // A sweep may have closed the table.
      place.table = this.#tables.find(policy.name);
      hasRoom = this.#tables.free(OWN, policy, place.table) > 0;
    }
    if (!hasRoom || (place.table !== undefined && place.table.overflow.size > 0))
      this.#findShared(policy, place, now, window, hasRoom);
    return place;
  }

  #countPromoted(place: Place, now: number): void {
    this.#countBefore(place, this.#promoted.get(place.slot), now);
    if (place.others.length === 0) this.#promoted.delete(place.slot);
  }

  /** The windows that a key without a log of its own may use, from the finest to the coarsest, and those it may have used. */
  #findShared(policy: WindowPolicy, place: Place, now: number, window: number, hasRoom: boolean): void {
    const { key, table } = place;
    const networks = networksOf(key);
    let isChosen = hasRoom;
    for (let kind = networks === undefined ? HASHED : ADDRESS; kind <= HASHED; kind += 1) {
      const shared = table?.overflow.get(
        networks === undefined || kind === HASHED
          ? this.#hashedId(place.hash, networks !== undefined)
          : kind === ADDRESS
            ? key
            : kind === NARROW
              ? networks.narrow
              : networks.wide,
      );
      if (shared !== undefined && this.#isLive(shared, now, window)) {
        place.stay = Math.max(window, shared.window);
        if (isChosen) {
          place.before = { shared, until: now + shared.window };
          place.others.push(shared.slot);
        } else {
          place.kind = kind;
          place.slot = shared.slot;
        }
        return this.#countBefore(place, shared.before, now);
      }
      if (isChosen || !this.#mayOpen(kind, policy, table, networks?.wide)) continue;
      isChosen = true;
      place.kind = kind;
    }
  }

  #mayOpen(kind: number, policy: WindowPolicy, table: WindowTable | undefined, wide: string | undefined): boolean {
    const free = this.#tables.free(kind, policy, table);
    if (kind > NARROW || wide === undefined) return free > 0;
    return NETWORK_PART * (table?.networks.get(wide)?.open[kind] ?? 0) < free;
  }

  #countBefore(place: Place, first: Before | undefined, now: number): void {
    for (let before = first; before !== undefined; before = before.shared.before) {
      const { shared, until } = before;
      if (until <= now || !this.#isLive(shared, now, 0)) continue;
      place.others.push(shared.slot);
      place.stay = Math.max(place.stay, shared.window);
    }
  }

  /** Whether anything is left in an overflow window without its expired records. */
  #isLive(shared: OverflowWindow, now: number, window: number): boolean {
    if (shared.slot === NONE) return false;
    shared.window = Math.max(shared.window, window);
    this.#logs.expire(shared.slot, now - shared.window);
    if (this.#logs.used(shared.slot) > 0) return true;
    this.#release(shared.slot);
    return false;
  }

  #record(policy: WindowPolicy, place: Place, cost: number, window: number): void {
    if (place.slot === NONE) {
      const table = this.#tables.open(policy);
      place.slot = this.#logs.open(table.id);
      if (place.kind === OWN) this.#track(table, place);
      else this.#share(table, place, window);
    }
    const { stamp } = this.#time;
    const time =
      policy.limit > MOST_TIMES && this.#logs.records(place.slot) >= MOST_TIMES
        ? roundedUp(stamp, Math.ceil(window / MOST_TIMES))
        : stamp;
    this.#lastTime = this.#logs.add(place.slot, time, cost, window);
  }

  #track(table: WindowTable, place: Place): void {
    this.#index.add(place.hash, place.slot);
    this.#holders.setClient(place.slot, place.key);
    this.#tables.count(table, OWN, 1);
    this.#clients += 1;
    if (place.before !== undefined) this.#promoted.set(place.slot, place.before);
  }

  #share(table: WindowTable, { key, hash, kind, slot, before }: Place, window: number): void {
    const networks = networksOf(key);
    const id =
      networks === undefined || kind === HASHED
        ? this.#hashedId(hash, networks !== undefined)
        : kind === ADDRESS
          ? ownCopy(key)
          : kind === NARROW
            ? networks.narrow
            : networks.wide;
    const shared: OverflowWindow = {
      id,
      kind,
      network: networks === undefined || kind === HASHED ? undefined : enter(table, networks.wide, kind),
      before,
      slot,
      window,
    };
    table.overflow.set(id, shared);
    this.#holders.setShared(slot, shared);
    this.#tables.count(table, kind, 1);
  }

  #hashedId(hash: number, isAddress: boolean): number {
    const id = (hash >>> 0) % this.#hashedWindows;
    return isAddress ? id : id + this.#hashedWindows;
  }

  #timeFreeing(units: number, { slot, others }: Place): number {
    return this.#logs.timeFreeing(units, slot, others);
  }

  /** Milliseconds, rounded up, until what was recorded at `time` has been there for `stay`. */
  #wait(time: number, stay: number, now: number): number {
    // A microsecond ahead is the same moment, which records have rounded up and decisions down.
    const ahead = time - now;
    return Math.ceil((ahead === 1 ? stay : stay + ahead) / 1000);
  }

  #sweep(now: number, steps: number): void {
    const slots = this.#logs.slots;
    for (let step = Math.min(steps, slots); step > 0; step -= 1) {
      if (this.#hand >= this.#logs.slots) this.#hand = 0;
      const slot = this.#hand;
      this.#hand += 1;
      if (this.#logs.slots > 0 && this.#logs.owner(slot) !== NONE && this.#logs.expiresAt(slot) <= now)
        this.#release(slot);
    }
  }

  #release(slot: number): void {
    const table = this.#tables.byId(this.#logs.owner(slot));
    const shared = this.#holders.shared(slot);
    if (shared === undefined) {
      this.#index.remove(this.#holders.hash(slot), slot);
      this.#promoted.delete(slot);
      this.#clients -= 1;
    } else {
      table.overflow.delete(shared.id);
      shared.slot = NONE;
      leave(table, shared);
    }
    this.#holders.remove(slot);
    this.#logs.close(slot);
    this.#tables.count(table, shared?.kind ?? OWN, -1);
  }
}

function roundedUp(time: number, tick: number): number {
  return Math.ceil(time / tick) * tick;
}

function enter(table: WindowTable, id: string, kind: number): WideNetwork {
  let network = table.networks.get(id);
  if (network === undefined) table.networks.set(id, (network = { id, open: [0, 0, 0, 0, 0] }));
  network.open[kind]! += 1;
  return network;
}

function leave(table: WindowTable, { network, kind }: OverflowWindow): void {
  if (network === undefined) return;
  network.open[kind]! -= 1;
  if (network.open.every((count) => count === 0)) table.networks.delete(network.id);
}
