const MINUTE = 60_000;
const HOUR = 3_600_000;
const DAY = 86_400_000;

/** Failures in a row that cost no wait. */
const FREE = 5;
/** The waits after the fifth failure in a row and the next ones, in milliseconds. */
const WAITS: readonly number[] = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR];
/**
 * Failures in a day and in thirty days, whatever succeeded between them: otherwise each log-in of the owner would give
 * someone who knows the password new guesses. Three of a million codes are right at a time, so a year of guessing
 * succeeds in two cases of a thousand.
 */
const WINDOWS: readonly { readonly most: number; readonly ms: number }[] = [
  { most: 10, ms: DAY },
  { most: 50, ms: 30 * DAY },
];
const MOST_KEPT = 50;

/** What is known of the failures of a factor. */
export interface Failures {
  /** In a row, since the last success. */
  readonly inARow: number;
  /** Times of the failures of the last thirty days, in milliseconds, oldest first. */
  readonly at: readonly number[];
}

/**
 * When the factor may be tried again, in milliseconds since the epoch: `now` or earlier when it may be tried at once.
 * Pure.
 */
export function opensAt({ inARow, at }: Failures, now: number): number {
  const last = at.at(-1) ?? 0;
  let opens = inARow < FREE ? now : last + (WAITS[Math.min(inARow - FREE, WAITS.length - 1)] ?? 0);
  for (const { most, ms } of WINDOWS) {
    const oldest = at.at(-most);
    if (oldest !== undefined) opens = Math.max(opens, oldest + ms);
  }
  return opens;
}

/** The failures with one more. A clock that went back changes nothing of their order. Pure. */
export function withFailure({ inARow, at }: Failures, now: number): Failures {
  return { inARow: inARow + 1, at: [...at, Math.max(now, at.at(-1) ?? 0)].slice(-MOST_KEPT) };
}

/** The failures without the one of a moment: that attempt succeeded. Pure. */
export function withoutFailure({ at }: Failures, moment: number): Failures {
  const index = at.lastIndexOf(moment);
  return { inARow: 0, at: index === -1 ? at : at.toSpliced(index, 1) };
}
