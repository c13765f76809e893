/** One owner or subject holds a hundredth of the places at most, though never fewer than ten: none can fill a store for all. */
const SHARE = 0.01;
const LEAST_SHARE = 10;

/** How many of `places` one owner may hold. */
export function shareOf(places: number): number {
  return Math.max(LEAST_SHARE, Math.floor(places * SHARE));
}
