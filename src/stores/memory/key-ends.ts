import type { StoredApiKey } from "../contracts.js";
import { SortedList } from "./sorted-list.js";

/** The position of a key among its owner's keys. */
type Position = Pick<StoredApiKey, "createdAt" | "id">;

/** When a key ends by time. */
interface End {
  readonly at: number;
  readonly id: string;
}

/** The keys of one owner. */
export interface Owner {
  readonly positions: SortedList<Position>;
  /** Sorted by end, the earliest first. */
  readonly ends: SortedList<End>;
  readonly ended: Set<string>;
  count: number;
  sweptTo: Position | undefined;
  /** When all keys of the owner were last ended. */
  endedAt: number | undefined;
}

/** An owner without keys. */
export function newOwner(): Owner {
  return {
    positions: new SortedList(newestFirst),
    ends: new SortedList(firstEndFirst),
    ended: new Set(),
    count: 0,
    sweptTo: undefined,
    endedAt: undefined,
  };
}

/** Whether a key can never be accepted again, unless its expiry is moved. */
export function keyHasEnded(key: StoredApiKey, now: number): boolean {
  const isOver = (end: number | null): boolean => end !== null && end <= now;
  return (
    key.revokedAt !== null ||
    isOver(key.expiresAt) ||
    (key.rotatedTo !== null && (key.graceUntil === null || isOver(key.graceUntil)))
  );
}

/** Undefined for a key without an end in time. */
export function endByTime({ id, expiresAt, rotatedTo, graceUntil }: StoredApiKey): End | undefined {
  const at = Math.min(expiresAt ?? Infinity, rotatedTo === null ? Infinity : (graceUntil ?? 0));
  return at === Infinity ? undefined : { at, id };
}

function firstEndFirst(a: End, b: End): number {
  return a.at - b.at || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** By `createdAt`, then `id`, both descending; ids by code unit, as SQL's binary collation orders ASCII. */
function newestFirst(a: Position, b: Position): number {
  if (a.createdAt !== b.createdAt) return b.createdAt - a.createdAt;
  return a.id < b.id ? 1 : a.id > b.id ? -1 : 0;
}
