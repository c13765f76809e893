/**
 * A record is one number, `time × 16 + units`: whole microseconds up to 2^49 (17 years) and up to 15 units. When a
 * request costs more, a second, negative number right after it has the rest, so a limit of ten million bytes needs no
 * more memory than one of ten requests. A second number is never the first of its block.
 */
const UNITS_RADIX = 16;

/** The units that fit into a record. */
export const MAX_UNITS = UNITS_RADIX - 1;

/** @param units at most `MAX_UNITS` */
export function recordOf(time: number, units: number): number {
  return time * UNITS_RADIX + units;
}

/** The time of a record; meaningless for a second number. */
export function timeOf(record: number): number {
  return Math.floor(record / UNITS_RADIX);
}

/** The units of a record or of a second number. */
export function unitsOf(record: number): number {
  return record < 0 ? -record : record % UNITS_RADIX;
}
