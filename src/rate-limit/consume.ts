import { StoreError } from "../core/portcullis-error.js";
import type { StoreCaller } from "../core/store-caller.js";
import type { StoreGuard } from "../stores/health/store-guard.js";
import type { LimitCount } from "../core/pending-limits.js";
import type { RateLimitStore, WindowOutcome } from "../stores/contracts.js";

/**
 * Counts a request in one limit or in several. Several limits are counted in one call of the store: all of them or
 * none.
 *
 * @param store has `consumeAll` when there are several counts
 * @param done runs when every limit allows the request; a limit in report mode always does
 * @param failed gets what was thrown while the request went on, for the app's error handling
 */
export function consumeLimits(
  store: RateLimitStore,
  guard: StoreGuard,
  counts: readonly LimitCount[],
  caller: StoreCaller,
  done: () => void,
  failed: (error: unknown) => void,
): void {
  let answer: Outcomes | Promise<Outcomes>;
  try {
    answer = guard.run(() => consume(store, counts), undefined, caller);
  } catch {
    settleWithout(counts, done);
    return;
  }
  if (answer instanceof Promise) {
    answer
      .then(
        (outcomes) => settle(counts, outcomes, done),
        () => settleWithout(counts, done),
      )
      .catch(failed);
  } else settle(counts, answer, done);
}

type Outcomes = readonly WindowOutcome[];

function settle(counts: readonly LimitCount[], outcomes: Outcomes, done: () => void): void {
  for (const [index, count] of counts.entries()) {
    if (count.applyOutcome(outcomes[index]!)) return;
  }
  done();
}

function settleWithout(counts: readonly LimitCount[], done: () => void): void {
  for (const count of counts) {
    if (count.onStoreFailure()) return;
  }
  done();
}

function consume(store: RateLimitStore, counts: readonly LimitCount[]): Outcomes | Promise<Outcomes> {
  const [first] = counts;
  if (counts.length === 1 && first !== undefined) {
    return whenThere(store.consume(first.policy, first.key, first.cost), (outcome) => [asOutcome(outcome)]);
  }
  if (store.consumeAll === undefined) throw new StoreError("This store cannot count several limits at once.");
  return whenThere(store.consumeAll(counts), (outcomes) => asOutcomes(outcomes, counts.length));
}

/** Converts thenables that are not promises to promises. */
function whenThere<Answer, Checked>(
  answer: Answer | Promise<Answer>,
  check: (answer: Answer) => Checked,
): Checked | Promise<Checked> {
  if (typeof (answer as Partial<Promise<unknown>> | undefined)?.then === "function")
    return Promise.resolve(answer).then(check);
  return check(answer as Answer);
}

/** A store that returns anything but outcomes has failed. @throws StoreError */
function asOutcomes(outcomes: Outcomes, count: number): Outcomes {
  if (!Array.isArray(outcomes) || outcomes.length !== count)
    throw new StoreError("The store did not return an outcome for each limit.");
  return outcomes.map(asOutcome);
}

function asOutcome(outcome: WindowOutcome): WindowOutcome {
  const { allowed, used, retryAfterMs, resetMs } = outcome;
  if (typeof allowed !== "boolean" || !isAmount(used) || !isAmount(retryAfterMs) || !isAmount(resetMs)) {
    throw new StoreError("The store did not return a WindowOutcome.");
  }
  return outcome;
}

function isAmount(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
