import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { AllKeysPage, KeyPosition, StoredApiKey } from "../contracts.js";
import { pageSize } from "../records.js";
import { SortedList } from "./sorted-list.js";

/** Keys passed over in one turn: about a millisecond of work. */
const SEEN_PER_TURN = 2000;

type Order = (a: KeyPosition, b: KeyPosition) => number;

/**
 * All keys in the orders of `ApiKeyStore.listAll`. A change of a key costs O(log n), a page O(log n) and its length;
 * a page passes over keys that a mark has ended and, when two conditions are given, over those that the second excludes.
 */
export class KeyOrders {
  readonly #newest = new SortedList<KeyPosition>(newestFirst);
  readonly #expiring = new SortedList<KeyPosition>(firstToExpireFirst);
  readonly #unused = new SortedList<KeyPosition>(longestUnusedFirst);

  /** @param before the key as it was, if it is not new */
  put(key: StoredApiKey, before: StoredApiKey | undefined): void {
    if (before === undefined) this.#newest.add(positionOf(key));
    move(this.#expiring, firstToExpireFirst, before && expiring(before), expiring(key));
    move(this.#unused, longestUnusedFirst, before && inForce(before), inForce(key));
  }

  remove(key: StoredApiKey): void {
    this.#newest.remove(key);
    this.#expiring.remove(key);
    this.#unused.remove(key);
  }

  /** @param show the key of this id as it is shown */
  async page(page: AllKeysPage, show: (id: string) => StoredApiKey | undefined): Promise<StoredApiKey[]> {
    const { expires, unusedSince, after } = page;
    const limit = pageSize(page.limit);
    const isAny = expires === undefined && unusedSince === undefined;
    const list = isAny ? this.#newest : expires === undefined ? this.#unused : this.#expiring;
    const isBeyond = (key: KeyPosition): boolean =>
      expires === undefined
        ? unusedSince !== undefined && usedAt(key) >= unusedSince
        : (key.expiresAt ?? Infinity) >= expires.before;
    const isChosen = (key: StoredApiKey): boolean =>
      isAny || (inForce(key) !== undefined && (unusedSince === undefined || usedAt(key) < unusedSince));
    let cursor = expires === undefined ? after : laterToExpire(after, expires.from);
    const found: StoredApiKey[] = [];
    let seen = 0;
    while (found.length < limit) {
      const positions = list.page(cursor, limit);
      for (const position of positions) {
        if (isBeyond(position)) return found;
        const key = show(position.id);
        if (key !== undefined && isChosen(key) && found.push(key) === limit) return found;
      }
      if (positions.length < limit) return found;
      cursor = positions.at(-1);
      seen += limit;
      if (seen % SEEN_PER_TURN < limit) await yieldToOthers();
    }
    return found;
  }
}

function move(
  list: SortedList<KeyPosition>,
  order: Order,
  from: KeyPosition | undefined,
  to: KeyPosition | undefined,
): void {
  if (from !== undefined && to !== undefined && order(from, to) === 0) return;
  if (from !== undefined) list.remove(from);
  if (to !== undefined) list.add(to);
}

function positionOf({ id, createdAt, expiresAt, lastUsedAt }: KeyPosition): KeyPosition {
  return { id, createdAt, expiresAt, lastUsedAt };
}

/** Its place among keys in force. */
function inForce(key: StoredApiKey): KeyPosition | undefined {
  return key.revokedAt === null && key.rotatedTo === null ? positionOf(key) : undefined;
}

/** Its place among keys in force that expire. */
function expiring(key: StoredApiKey): KeyPosition | undefined {
  return key.expiresAt === null ? undefined : inForce(key);
}

/** The place from which to list keys that expire at `from` or later. No id comes before the empty one. */
function laterToExpire(after: KeyPosition | undefined, from: number): KeyPosition {
  const first = { id: "", createdAt: from, expiresAt: from, lastUsedAt: null };
  return after === undefined || firstToExpireFirst(after, first) < 0 ? first : after;
}

function newestFirst(a: KeyPosition, b: KeyPosition): number {
  return b.createdAt - a.createdAt || byId(b, a);
}

function firstToExpireFirst(a: KeyPosition, b: KeyPosition): number {
  return (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity) || byId(a, b);
}

function longestUnusedFirst(a: KeyPosition, b: KeyPosition): number {
  return usedAt(a) - usedAt(b) || byId(a, b);
}

function usedAt({ lastUsedAt, createdAt }: KeyPosition): number {
  return lastUsedAt ?? createdAt;
}

/** By code unit, as SQL's binary collation orders ASCII. */
function byId(a: KeyPosition, b: KeyPosition): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
