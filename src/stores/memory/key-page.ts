import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { AllKeysPage, KeyPosition, StoredApiKey } from "../contracts.js";
import { pageSize } from "../records.js";

/** Keys looked at in one turn: about a millisecond of work. */
const SEEN_PER_TURN = 2000;

type Order = (a: KeyPosition, b: KeyPosition) => number;

/** The page of `ApiKeyStore.listAll` among all keys. Looks at each key once, in turns, and keeps the first of the page. */
export async function pageOfAll(keys: Iterable<StoredApiKey>, page: AllKeysPage): Promise<StoredApiKey[]> {
  const { after, expires, unusedSince } = page;
  const limit = pageSize(page.limit);
  const order: Order =
    expires === undefined ? (unusedSince === undefined ? newestFirst : longestUnusedFirst) : firstToExpireFirst;
  const isChosen = (key: StoredApiKey): boolean =>
    (after === undefined || order(after, key) < 0) &&
    ((expires === undefined && unusedSince === undefined) || (key.revokedAt === null && key.rotatedTo === null)) &&
    (expires === undefined ||
      (key.expiresAt !== null && key.expiresAt >= expires.from && key.expiresAt < expires.before)) &&
    (unusedSince === undefined || usedAt(key) < unusedSince);
  const first: StoredApiKey[] = [];
  let seen = 0;
  for (const key of keys) {
    seen += 1;
    if (seen % SEEN_PER_TURN === 0) await yieldToOthers();
    if (!isChosen(key)) continue;
    const last = first.at(-1);
    if (first.length >= limit && (last === undefined || order(last, key) < 0)) continue;
    first.splice(placeOf(key, first, order), 0, key);
    if (first.length > limit) first.pop();
  }
  return first;
}

function placeOf(key: StoredApiKey, sorted: readonly StoredApiKey[], order: Order): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = sorted[middle];
    if (other !== undefined && order(other, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
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
