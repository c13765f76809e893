import { detachString } from "../../../core/detach-string.js";
import type { WindowPolicy } from "../../contracts.js";
import { NONE } from "./blocks.js";
import { ADDRESS, HASHED, NARROW } from "./capacity.js";
import type { Logs } from "./log.js";
import { type Networks, networksOf } from "./networks.js";
import type { Place } from "./place.js";
import type { Before, OverflowWindow, WideNetwork, WindowTable, WindowTables } from "./policies.js";

/** For each policy, at most this many windows are shared by hash among addresses, and as many among other keys. */
const MAX_HASHED = 1024;
/** One wide network may open this part of the address and narrow windows that the others leave free: a half. */
const NETWORK_PART = 2;

/**
 * The windows that clients share when there is no room for logs of their own.
 *
 * A key that is an address or a prefix, or begins with one and a space, uses a window of its own, of its network (/24
 * or /48), or of the wider one (/16 or /32): the finest that it may open or that is open already. All other keys use
 * one of a fixed number, chosen by a hash with a new seed in every process, and so do addresses when those windows are
 * full. Addresses and other keys never share these, so invented names cannot cause an address to be refused. A wide
 * network may open half as many windows as are still free, so a flood uses up its own share and windows remain for
 * others.
 */
export class OverflowWindows {
  readonly #logs: Logs;
  readonly #tables: WindowTables;
  readonly #maxHashed: number;
  readonly #release: (slot: number) => void;

  /** @param release frees the slot of an empty window; it calls `close` */
  constructor(logs: Logs, tables: WindowTables, maxClients: number, release: (slot: number) => void) {
    this.#logs = logs;
    this.#tables = tables;
    this.#maxHashed = Math.min(MAX_HASHED, Math.ceil(maxClients / 16));
    this.#release = release;
  }

  /**
   * Finds, from the finest to the coarsest, the windows that a key without a log of its own may use and those it may
   * have used.
   *
   * @param hasRoom whether the key gets a log of its own; shared windows then count in addition
   */
  find(policy: WindowPolicy, place: Place, now: number, window: number, hasRoom: boolean): void {
    const { key, table } = place;
    const networks = networksOf(key);
    place.networks = networks;
    let isChosen = hasRoom;
    for (let kind = networks === undefined ? HASHED : ADDRESS; kind <= HASHED; kind += 1) {
      const shared = table?.overflow.get(this.#idOf(kind, key, place.hash, networks));
      if (shared !== undefined && this.#isLive(shared, now, window)) {
        place.stay = Math.max(window, shared.window);
        if (isChosen) {
          place.before = { shared, until: now + shared.window };
          place.others.push(shared.slot);
        } else {
          place.kind = kind;
          place.slot = shared.slot;
        }
        return this.countBefore(place, shared.before, now);
      }
      if (isChosen || !this.#mayOpen(kind, policy, table, networks?.wide)) continue;
      isChosen = true;
      place.kind = kind;
    }
  }

  /** Adds the windows that the key may have used earlier, as long as they still count. */
  countBefore(place: Place, first: Before | undefined, now: number): void {
    for (let before = first; before !== undefined; before = before.shared.before) {
      const { shared, until } = before;
      if (until <= now || !this.#isLive(shared, now, 0)) continue;
      place.others.push(shared.slot);
      place.stay = Math.max(place.stay, shared.window);
    }
  }

  /** Opens the window that `find` chose, with the log in `place.slot`. */
  open(table: WindowTable, { key, hash, kind, networks, slot, before }: Place, window: number): OverflowWindow {
    const id = this.#idOf(kind, key, hash, networks);
    const shared: OverflowWindow = {
      id: kind === ADDRESS ? detachString(key) : id,
      kind,
      network: networks === undefined || kind === HASHED ? undefined : enter(table, networks.wide, kind),
      before,
      slot,
      window,
    };
    table.overflow.set(shared.id, shared);
    return shared;
  }

  /** Closes a window that is empty. It is never used again. */
  close(table: WindowTable, shared: OverflowWindow): void {
    table.overflow.delete(shared.id);
    shared.slot = NONE;
    leave(table, shared);
  }

  #idOf(kind: number, key: string, hash: number, networks: Networks | undefined): string | number {
    const hashed = (hash >>> 0) % this.#maxHashed;
    if (networks === undefined) return hashed + this.#maxHashed;
    if (kind === HASHED) return hashed;
    if (kind === ADDRESS) return key;
    return kind === NARROW ? networks.narrow : networks.wide;
  }

  #mayOpen(kind: number, policy: WindowPolicy, table: WindowTable | undefined, wide: string | undefined): boolean {
    const free = this.#tables.free(kind, policy, table);
    if (kind > NARROW || wide === undefined) return free > 0;
    return NETWORK_PART * (table?.networks.get(wide)?.open[kind] ?? 0) < free;
  }

  /** Removes the expired records of a window and returns whether any are left. */
  #isLive(shared: OverflowWindow, now: number, window: number): boolean {
    if (shared.slot === NONE) return false;
    shared.window = Math.max(shared.window, window);
    this.#logs.expire(shared.slot, now - shared.window);
    if (this.#logs.used(shared.slot) > 0) return true;
    this.#release(shared.slot);
    return false;
  }
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
