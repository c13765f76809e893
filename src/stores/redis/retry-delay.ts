/**
 * Delay before the next attempt to connect, in milliseconds. Attempts go on for as long as it takes, in the end half a
 * second apart.
 */
export function retryDelay(retries: number): number {
  // Jitter, so that a hundred processes do not all reconnect in the same millisecond.
  return Math.min(50 * 2 ** Math.min(retries, 4), 500) + Math.floor(Math.random() * 100);
}
