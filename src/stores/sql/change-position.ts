/**
 * How far one process has read the change log.
 *
 * Row numbers are assigned in order but become visible when their transaction commits, so a lower number may appear
 * after a higher one has been read. The highest number at some time is final for any reading that begins `OVERLAP_MS`
 * later. Until then each reading repeats everything above the last final number and omits the changes that were
 * returned before. Times are the reader's own monotonic clock; the database's clock is not used, because it may be set
 * or differ after a failover.
 */
export interface ReadPosition {
  /** When the last reading began. */
  readonly readAt: number;
  /** The same time on the wall clock, which continues while a suspended machine's monotonic clock stops. */
  readonly wallAt: number;
  /** [time, highest number visible at that time], oldest first. */
  readonly marks: readonly (readonly [number, number])[];
  /**
   * Changes above the first mark that were returned already: [number, print of the row]. After a failover that lost the
   * last rows, the database assigns their numbers to other rows.
   */
  readonly returned: readonly ReturnedRow[];
}

export type ReturnedRow = readonly [number, string];

/**
 * Longer than any of our transactions stays open after its number was assigned: the numbered insert is its last
 * statement, and a server ends a transaction whose client is idle for five seconds.
 */
export const OVERLAP_MS = 30_000;
/** At most one mark a second is kept. */
const MARK_MS = 1000;
/** Number of transactions that may be open, with numbers below the highest, when a process begins to read. */
const OPEN_AT_START = 1000;

/** The position right after loading: `top` was the highest number visible at `now`. */
export function begin(top: number, now: number, wallAt: number): ReadPosition {
  return {
    readAt: now,
    wallAt,
    marks: [
      [now - OVERLAP_MS, Math.max(0, top - OPEN_AT_START)],
      [now, top],
    ],
    returned: [],
  };
}

/** The number above which to read. */
export function startOf(position: ReadPosition): number {
  let start = position.marks[0]?.[1] ?? 0;
  for (const [time, top] of position.marks) if (position.readAt - time >= OVERLAP_MS) start = top;
  return start;
}

/**
 * The position after reading everything above `startOf(position)`.
 *
 * @param read the rows that were read, in order
 */
export function advance(
  position: ReadPosition,
  read: readonly ReturnedRow[],
  began: number,
  ended: number,
  wallAt: number,
): ReadPosition {
  const last = position.marks[position.marks.length - 1];
  const top = Math.max(last?.[1] ?? 0, read[read.length - 1]?.[0] ?? 0);
  const isFinal = ([time]: readonly [number, number]) => began - time >= OVERLAP_MS;
  const final = position.marks.filter(isFinal).slice(-1);
  const open = position.marks.filter((mark) => !isFinal(mark));
  const isDue = last === undefined || ended - last[0] >= MARK_MS;
  const next = { readAt: began, wallAt, marks: [...final, ...open, ...(isDue ? [[ended, top] as const] : [])] };
  const start = startOf({ ...next, returned: [] });
  return { ...next, returned: read.filter(([seq]) => seq > start) };
}

export function writePosition({ readAt, marks, returned, wallAt }: ReadPosition): string {
  return JSON.stringify([readAt, marks, returned, wallAt]);
}

/** `undefined` for the empty position, or one of another source. */
export function readPosition(text: string): ReadPosition | undefined {
  try {
    const parts: unknown = JSON.parse(text);
    if (
      !Array.isArray(parts) ||
      typeof parts[0] !== "number" ||
      !Array.isArray(parts[1]) ||
      !Array.isArray(parts[2]) ||
      typeof parts[3] !== "number"
    )
      return undefined;
    return {
      readAt: parts[0],
      marks: parts[1] as ReadPosition["marks"],
      returned: parts[2] as ReturnedRow[],
      wallAt: parts[3],
    };
  } catch {
    return undefined;
  }
}
