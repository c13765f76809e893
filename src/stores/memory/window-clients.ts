import type { Clock } from "../../core/clock.js";
import type { WindowOutcome, WindowPolicy } from "../contracts.js";
import { NONE } from "./window-blocks.js";
import { WindowHolders } from "./window-holders.js";
import { WindowIndex } from "./window-index.js";
import { boundedKey, spread } from "./window-key.js";
import { WindowLogs } from "./window-logs.js";
import { WindowSlots } from "./window-slots.js";
import { type OverflowWindow, type WindowTable, WindowTables } from "./window-tables.js";
import { WindowTime } from "./window-time.js";

/** At most this many windows, for each policy, are shared by the keys that come while the store is full. */
const MAX_OVERFLOW = 1024;
/** Slots looked at by every call, and by a call that finds the store full. */
const SWEEP_STEP = 2;
const SWEEP_WHEN_FULL = 64;

/** What a decision is made on: the client's own log, and the log it shares or used to share with others. */
interface Place {
  table: WindowTable | undefined;
  key: string;
  hash: number;
  /** The log to record in; -1 when it has yet to be opened. */
  slot: number;
  /** The overflow window whose records count as well. */
  shared: OverflowWindow | undefined;
  /** Whether a log to be opened is one of the client's own. */
  own: boolean;
}

/**
 * The exact sliding-window log of many clients in bounded memory.
 *
 * A client is tracked from its first accepted request until its last one has left the window. When `maxClients` are
 * tracked, no one is pushed out: whoever comes then shares one of a fixed number of overflow windows, chosen by a hash
 * that is seeded anew in every process. So a flood of addresses neither grows memory nor resets anybody's count. When
 * there is room again a key of an overflow window gets a log of its own, and the overflow window's records count along
 * until they have all gone: nothing that the key was allowed in the overflow window is forgotten too early.
 */
export class WindowClients {
  readonly #maxClients: number;
  readonly #overflowWindows: number;
  readonly #time: WindowTime;
  readonly #slots = new WindowSlots();
  readonly #logs = new WindowLogs(this.#slots);
  readonly #tables = new WindowTables();
  readonly #index = new WindowIndex((slot, key, table) => this.#holders.isClient(slot, key) && this.#logs.owner(slot) === table);
  /** For each slot the client's key, or the overflow window whose log it is. */
  readonly #holders = new WindowHolders(this.#slots);
  /** Clients that have left an overflow window which is not empty yet. */
  readonly #promoted = new Map<number, OverflowWindow>();
  /** One for all decisions, so that a decision allocates nothing but its answer. */
  readonly #place: Place = { table: undefined, key: "", hash: 0, slot: NONE, shared: undefined, own: true };
  #clients = 0;
  #hand = 0;

  constructor(maxClients: number, clock: Clock) {
    this.#maxClients = maxClients;
    this.#overflowWindows = Math.min(MAX_OVERFLOW, Math.ceil(maxClients / 16));
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

  /** Decides, and when `record` is true and the cost fits, records it. */
  decide(policy: WindowPolicy, key: string, cost: number, record: boolean): WindowOutcome {
    if (!Number.isInteger(cost) || cost < 0) throw new RangeError("A cost is a whole number of units, 0 or more.");
    const now = this.#time.read();
    this.#sweep(now, SWEEP_STEP);
    const window = Math.ceil(policy.windowMs * 1000);
    const place = this.#find(policy, key, now, window);
    const other = place.shared === undefined || place.shared.slot === place.slot ? NONE : place.shared.slot;
    let used = (place.slot === NONE ? 0 : this.#logs.used(place.slot)) + (other === NONE ? 0 : this.#logs.used(other));
    const allowed = used + cost <= policy.limit;
    if (allowed && record && cost > 0) {
      this.#record(policy.name, place, cost, window);
      used += cost;
    }
    // In an overflow window records stay as long as the longest window they were made for.
    const stay = place.shared === undefined ? window : Math.max(window, place.shared.window);
    return {
      allowed,
      used,
      retryAfterMs: allowed ? 0 : cost > policy.limit ? Math.ceil(stay / 1000) : this.#wait(this.#timeFreeing(used + cost - policy.limit, place.slot, other), stay, now),
      resetMs: used === 0 ? 0 : this.#wait(this.#timeFreeing(1, place.slot, other), stay, now),
    };
  }

  /** The time stamp of the newest decision's record; for `uncount`. */
  get lastTime(): number {
    return this.#time.stamp;
  }

  /** Takes back one unit recorded at exactly `time`, or, without a time, the oldest one. */
  uncount(policy: WindowPolicy, rawKey: string, time?: number): void {
    const now = this.#time.read();
    const place = this.#find(policy, rawKey, now, Math.ceil(policy.windowMs * 1000));
    if (time !== undefined) {
      if (place.slot !== NONE && this.#logs.uncount(place.slot, time)) return;
      if (place.shared !== undefined) this.#logs.uncount(place.shared.slot, time);
      return;
    }
    if (place.slot === NONE) return;
    // Of all choices the oldest leaves the later records in place: the count is never lower than the truth.
    const oldest = this.#logs.oldest(place.slot);
    if (!Number.isNaN(oldest)) this.#logs.uncount(place.slot, oldest);
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
    place.own = true;
    place.shared = undefined;
    place.slot = place.table === undefined ? NONE : this.#index.find(place.hash, place.key, place.table.id);
    if (place.slot !== NONE) {
      this.#logs.expire(place.slot, now - window);
      if (this.#promoted.size > 0) place.shared = this.#stillShared(place.slot, now);
      return place;
    }
    if (this.#clients >= this.#maxClients) {
      this.#sweep(now, SWEEP_WHEN_FULL);
      // A sweep may have closed the table.
      place.table = this.#tables.find(policy.name);
      place.own = this.#clients < this.#maxClients;
    }
    if (place.table !== undefined && place.table.overflow.size > 0) {
      place.shared = this.#live(place.table.overflow.get(this.#overflowIndex(place.hash)), now, window);
      if (!place.own && place.shared !== undefined) place.slot = place.shared.slot;
    }
    return place;
  }

  #stillShared(slot: number, now: number): OverflowWindow | undefined {
    const shared = this.#live(this.#promoted.get(slot), now, 0);
    if (shared === undefined) this.#promoted.delete(slot);
    return shared;
  }

  /** The overflow window without its expired records, or `undefined` when nothing is left of it. */
  #live(shared: OverflowWindow | undefined, now: number, window: number): OverflowWindow | undefined {
    if (shared === undefined || shared.slot === NONE) return undefined;
    shared.window = Math.max(shared.window, window);
    this.#logs.expire(shared.slot, now - shared.window);
    if (this.#logs.used(shared.slot) > 0) return shared;
    this.#release(shared.slot);
    return undefined;
  }

  #record(name: string, place: Place, cost: number, window: number): void {
    if (place.slot === NONE) {
      const table = this.#tables.open(name);
      place.slot = this.#logs.open(table.id);
      if (place.own) this.#track(table, place);
      else this.#share(table, place, window);
    }
    this.#logs.add(place.slot, this.#time.stamp, cost, window);
  }

  #track(table: WindowTable, place: Place): void {
    this.#index.add(place.hash, place.slot);
    this.#holders.setClient(place.slot, place.key);
    table.clients += 1;
    this.#clients += 1;
    if (place.shared !== undefined) this.#promoted.set(place.slot, place.shared);
  }

  #share(table: WindowTable, place: Place, window: number): void {
    const shared: OverflowWindow = { index: this.#overflowIndex(place.hash), slot: place.slot, window };
    table.overflow.set(shared.index, shared);
    this.#holders.setShared(place.slot, shared);
    place.shared = shared;
  }

  #overflowIndex(hash: number): number {
    return (hash >>> 0) % this.#overflowWindows;
  }

  #timeFreeing(units: number, slot: number, other: number): number {
    return slot === NONE ? this.#logs.timeFreeing(units, other, NONE) : this.#logs.timeFreeing(units, slot, other);
  }

  /** Milliseconds, rounded up, until what was recorded at `time` has been there for `stay`; never more than that. */
  #wait(time: number, stay: number, now: number): number {
    return Math.ceil(Math.min(time + stay - now, stay) / 1000);
  }

  #sweep(now: number, steps: number): void {
    const slots = this.#logs.slots;
    for (let step = Math.min(steps, slots); step > 0; step -= 1) {
      if (this.#hand >= this.#logs.slots) this.#hand = 0;
      const slot = this.#hand;
      this.#hand += 1;
      if (this.#logs.slots > 0 && this.#logs.owner(slot) !== NONE && this.#logs.expiresAt(slot) <= now) this.#release(slot);
    }
  }

  #release(slot: number): void {
    const table = this.#tables.byId(this.#logs.owner(slot));
    const shared = this.#holders.shared(slot);
    if (shared === undefined) {
      this.#index.remove(this.#holders.hash(slot), slot);
      table.clients -= 1;
      this.#promoted.delete(slot);
      this.#clients -= 1;
    } else {
      table.overflow.delete(shared.index);
      shared.slot = NONE;
    }
    this.#holders.remove(slot);
    this.#logs.close(slot);
    this.#tables.closeIfEmpty(table);
  }
}
