/** How long to wait before connecting again, in milliseconds: for as long as it takes, half a second apart in the end. */
export function retryDelay(retries: number): number {
  // Spread, so that a hundred processes do not all come back in the same millisecond.
  return Math.min(50 * 2 ** Math.min(retries, 4), 500) + Math.floor(Math.random() * 100);
}
