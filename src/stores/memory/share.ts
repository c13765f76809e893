/**
 * One owner, subject or principal has at most a hundredth of the places, though never fewer than ten, so that none can
 * fill a store.
 */
const SHARE = 0.01;
const LEAST_SHARE = 10;

/** How many of `places` one owner may use. */
export function shareOf(places: number): number {
  return Math.max(LEAST_SHARE, Math.floor(places * SHARE));
}
