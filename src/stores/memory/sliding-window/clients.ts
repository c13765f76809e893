import type { Clock } from "../../../core/clock.js";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import { NONE } from "./blocks.js";
import { SlotKeys } from "./slot-keys.js";
import { HashIndex } from "./hash-index.js";
import { boundedKey, hashKey } from "./key-hash.js";
import { Logs } from "./log.js";
import { OWN } from "./capacity.js";
import { OverflowWindows } from "./overflow.js";
import { emptyPlace, type Place } from "./place.js";
import { Slots } from "./slots.js";
import { type Before, WindowTables } from "./policies.js";
import { Resets } from "./resets.js";
import { noteShared } from "./shared-outcomes.js";
import { roundedUp, waitUntil, WindowTime } from "./store-clock.js";

/** Slots checked for expiry by every call, and by a call that finds no room. */
const SWEEP_STEP = 2;
const SWEEP_WHEN_FULL = 64;
/**
 * Once a log has this many records, the times of further ones are rounded up to this many per window, so that a
 * decision reads few more.
 */
const MOST_TIMES = 4096;

/**
 * The exact sliding-window log of many clients in bounded memory.
 *
 * A client is tracked from its first accepted request until its last one has left the window. When there is no room for
 * another client, none is evicted: the new client shares a window with others (see `OverflowWindows`). So a flood of
 * addresses neither grows memory nor resets a client's count.
 *
 * When there is room again, a key gets a finer window or a log of its own. The records of the coarser window still
 * count until the last one that may be the key's has expired, so no accepted request is forgotten too early.
 */
export class Clients {
  readonly #time: WindowTime;
  readonly #slots = new Slots();
  readonly #logs = new Logs(this.#slots);
  readonly #tables: WindowTables;
  readonly #overflow: OverflowWindows;
  readonly #index = new HashIndex(
    (slot, key, table) => this.#holders.isClient(slot, key) && this.#logs.owner(slot) === table,
  );
  /** For each slot the client's key, or the overflow window that owns the log. */
  readonly #holders = new SlotKeys(this.#slots);
  /** For clients with a log of their own, the overflow windows where they may still have records. */
  readonly #promoted = new Map<number, Before>();
  /** Reused by all decisions, so that a decision allocates only its answer. */
  readonly #place: Place = emptyPlace();
  readonly #resets = new Resets();
  #clients = 0;
  #cursor = 0;
  #lastTime = 0;

  constructor(maxClients: number, clock: Clock) {
    this.#tables = new WindowTables(maxClients);
    this.#overflow = new OverflowWindows(this.#logs, this.#tables, maxClients, (slot) => this.#release(slot));
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
   * Decides, and records the cost when it fits and `record` is true. The number of steps is bounded: it does not grow
   * with the cost, and grows with the number of records only up to `MOST_TIMES` times a small number.
   */
  decide(policy: WindowPolicy, key: string, cost: number, record: boolean): WindowOutcome {
    if (!Number.isInteger(cost) || cost < 0) throw new RangeError("The cost must be a whole number of at least 0.");
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
    // In an overflow window, records stay for the longest window that any of them was made for.
    const { stay } = place;
    const outcome: WindowOutcome = {
      allowed,
      used,
      retryAfterMs: allowed
        ? 0
        : cost > policy.limit
          ? Math.ceil(stay / 1000)
          : waitUntil(this.#timeFreeing(used + cost - policy.limit, place), stay, now),
      resetMs: used === 0 ? 0 : waitUntil(this.#timeFreeing(1, place), stay, now),
    };
    if (!allowed && (place.kind !== OWN || place.others.length > 0)) noteShared(outcome);
    return outcome;
  }

  /**
   * Decides several requests, no two of which have the same policy and key, and records all of them or none. New keys
   * of one policy may end up in the same overflow window, so their costs have to fit together.
   */
  decideAll(requests: readonly WindowRequest[], isRefundable: boolean): WindowOutcome[] {
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
      ? requests.map(({ policy, key, cost }) => {
          const outcome = this.decide(policy, key, cost, true);
          return isRefundable && cost > 0 ? { ...outcome, recordedAt: this.lastReceipt } : outcome;
        })
      : outcomes;
  }

  /** What `refund` needs for the units recorded last. */
  get lastReceipt(): number {
    return this.#resets.receipt(this.#lastTime);
  }

  /** Takes back the units of a receipt. @returns how many */
  refund(policy: WindowPolicy, rawKey: string, units: number, receipt: number): number {
    if (this.#resets.isVoid(policy.name, boundedKey(rawKey), receipt)) return 0;
    const time = Math.floor(receipt);
    const now = this.#time.read();
    const { slot, others } = this.#find(policy, rawKey, now, Math.ceil(policy.windowMs * 1000));
    let left = units;
    if (slot !== NONE) left -= this.#logs.refund(slot, time, left);
    for (const other of others) if (left > 0) left -= this.#logs.refund(other, time, left);
    return units - left;
  }

  /** Takes back one unit, the oldest: the later records stay in place, so the count is never too low. */
  refundOldest(policy: WindowPolicy, rawKey: string): void {
    const now = this.#time.read();
    const { slot } = this.#find(policy, rawKey, now, Math.ceil(policy.windowMs * 1000));
    const oldest = slot === NONE ? NaN : this.#logs.oldest(slot);
    if (!Number.isNaN(oldest)) this.#logs.refund(slot, oldest, 1);
  }

  /** Forgets one client. Its records in an overflow window stay, because other clients count there too. */
  forget(name: string, rawKey: string): void {
    const table = this.#tables.find(name);
    const key = boundedKey(rawKey);
    const slot = table === undefined ? NONE : this.#index.find(hashKey(key), key, table.id);
    this.#resets.note(name, key, Math.max(this.#time.timestamp, slot === NONE ? 0 : this.#logs.newest(slot)));
    if (slot !== NONE) this.#release(slot);
  }

  clear(): void {
    this.#resets.noteAll(Math.max(this.#time.timestamp, this.#lastTime));
    this.#logs.clear();
    this.#tables.clear();
    this.#index.clear();
    this.#promoted.clear();
    this.#holders.clear();
    this.#clients = 0;
    this.#cursor = 0;
  }

  /** Checks `slots` slots in turn, and releases those that have expired. */
  sweep(slots: number): void {
    this.#sweep(this.#time.read(), slots);
  }

  #find(policy: WindowPolicy, rawKey: string, now: number, window: number): Place {
    const place = this.#place;
    place.key = boundedKey(rawKey);
    place.hash = hashKey(place.key);
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
    if (policy.isUnshared === true) {
      if (!hasRoom) place.kind = NONE;
      return place;
    }
    if (!hasRoom || (place.table !== undefined && place.table.overflow.size > 0))
      this.#overflow.find(policy, place, now, window, hasRoom);
    return place;
  }

  #countPromoted(place: Place, now: number): void {
    this.#overflow.countBefore(place, this.#promoted.get(place.slot), now);
    if (place.others.length === 0) this.#promoted.delete(place.slot);
  }

  #record(policy: WindowPolicy, place: Place, cost: number, window: number): void {
    if (place.slot === NONE) {
      if (place.kind === NONE) return;
      const table = this.#tables.open(policy);
      place.slot = this.#logs.open(table.id);
      this.#tables.count(table, place.kind, 1);
      if (place.kind === OWN) this.#track(place);
      else this.#holders.setShared(place.slot, this.#overflow.open(table, place, window));
    }
    const { timestamp } = this.#time;
    const time =
      policy.limit > MOST_TIMES && this.#logs.records(place.slot) >= MOST_TIMES
        ? roundedUp(timestamp, Math.ceil(window / MOST_TIMES))
        : timestamp;
    this.#lastTime = this.#logs.add(place.slot, time, cost, window);
  }

  #track(place: Place): void {
    this.#index.add(place.hash, place.slot);
    this.#holders.setClient(place.slot, place.key);
    this.#clients += 1;
    if (place.before !== undefined) this.#promoted.set(place.slot, place.before);
  }

  #timeFreeing(units: number, { slot, others }: Place): number {
    return this.#logs.timeFreeing(units, slot, others);
  }

  #sweep(now: number, steps: number): void {
    const slots = this.#logs.slots;
    for (let step = Math.min(steps, slots); step > 0; step -= 1) {
      if (this.#cursor >= this.#logs.slots) this.#cursor = 0;
      const slot = this.#cursor;
      this.#cursor += 1;
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
      this.#overflow.close(table, shared);
    }
    this.#holders.remove(slot);
    this.#logs.close(slot);
    this.#tables.count(table, shared?.kind ?? OWN, -1);
  }
}
