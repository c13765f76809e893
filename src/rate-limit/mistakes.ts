import type { Runtime } from "../core/runtime.js";

/**
 * Announces a mistake in a function of the app.
 *
 * @param error what the function threw
 * @returns whether the mistake is new
 */
export type Announce = (reason: keyof typeof MISTAKES, error?: unknown) => boolean;

const MISTAKES = {
  "key-function-threw": "The key function of a rate limit threw, so the request was counted by its address",
  "key-function-gave-no-key":
    "The key function of a rate limit returned no text of 1 to 256 characters, so the request was counted by its address",
  "key-function-gave-a-port":
    "The key function of a rate limit returned req.ip with a port, which changes with every connection. Use clientAddress(req) instead of req.ip",
  "cost-function-threw": "The cost function of a rate limit threw, so the request cost 1",
  "cost-function-gave-no-cost":
    "The cost function of a rate limit returned no whole number from 0, so the request cost 1",
  "limit-function-threw": "The limit function of a rate limit threw, so the limit was 100",
  "limit-function-rejected": "The limit function of a rate limit rejected, so the limit was 100",
  "limit-function-late": "The limit function of a rate limit took longer than storeTimeoutMs, so the limit was 100",
  "limit-function-gave-no-limit":
    "The limit function of a rate limit gave no whole number from 0, so the limit was 100",
  "failure-function-threw": "The isFailure function of a rate limit threw, so the response counted as a failure",
  "failure-function-gave-no-boolean":
    "The isFailure function of a rate limit returned no boolean, so the response counted as a failure",
  "account-function-threw":
    "The account function of security.loginGuard threw, so the attempt was counted for an account without a name",
  "account-function-gave-no-text":
    "The account function of security.loginGuard returned a promise, so the attempt was counted for an account without a name",
  "skip-function-threw": "The skip function of a rate limit threw, so the request was limited",
  "skip-function-gave-no-boolean": "The skip function of a rate limit returned no boolean, so the request was limited",
} as const;

/** Announces each mistake once, by an event and a warning, because every request would repeat it. */
export function warnOnce(runtime: Runtime, source: string): Announce {
  const announced = new Set<string>();
  return (reason, error) => {
    if (announced.has(reason)) return false;
    announced.add(reason);
    const mistake = MISTAKES[reason];
    process.emitWarning(error instanceof Error ? `${mistake}: ${error.message}` : `${mistake}.`, {
      code: "PORTCULLIS_RATE_LIMIT",
    });
    runtime.events.emit("portcullis_misconfigured", () => ({ source, reason }));
    return true;
  };
}
