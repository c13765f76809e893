import type { NextFunction, Request, Response } from "express";
import { StoreError } from "../core/portcullis-error.js";
import { refuse } from "../core/response/refuse.js";
import type { RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { StoreCaller } from "../core/store-caller.js";
import { StoreGuard } from "../stores/health/store-guard.js";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { LimitCount, LimitRefusal } from "../core/pending-limits.js";
import type { RateLimitStore, WindowOutcome } from "../stores/contracts.js";

const guards = new WeakMap<Runtime, WeakMap<RateLimitStore, StoreGuard>>();

/**
 * The guard of a store. All limits that count in the store share it, so that an outage is announced once and probed
 * once.
 *
 * @param timeoutMs of the first caller; all limits of one application have the same
 */
export function guardFor(store: RateLimitStore, runtime: Runtime, timeoutMs: number): StoreGuard {
  let byStore = guards.get(runtime);
  if (byStore === undefined) guards.set(runtime, (byStore = new WeakMap()));
  let guard = byStore.get(store);
  if (guard === undefined) byStore.set(store, (guard = new StoreGuard("rate-limit", runtime, timeoutMs, store)));
  return guard;
}

/**
 * Counts a request in one limit or in several. Several limits are counted in one call of the store: all of them or
 * none.
 *
 * @param store has `consumeAll` when there are several counts
 * @returns the refusal of the first limit that is exhausted; a limit in report mode has none
 */
export function consumeLimits(
  store: RateLimitStore,
  guard: StoreGuard,
  counts: readonly LimitCount[],
  caller: StoreCaller,
): MaybePromise<LimitRefusal | undefined> {
  let answer: MaybePromise<Outcomes>;
  try {
    answer = guard.run(() => consume(store, counts), undefined, caller);
  } catch {
    return decideWithoutStore(counts);
  }
  if (!(answer instanceof Promise)) return applyOutcomes(counts, withReceipts(answer));
  return answer.then(
    (outcomes) => applyOutcomes(counts, withReceipts(outcomes)),
    () => decideWithoutStore(counts),
  );
}

/** Counts a request in these limits now, and answers it or passes it on. */
export function applyLimits(
  store: RateLimitStore,
  guard: StoreGuard,
  counts: readonly LimitCount[],
  req: Request,
  res: Response,
  next: NextFunction,
  state: RequestState,
): void {
  const goOn = (refused: LimitRefusal | undefined): void => {
    if (refused === undefined) next();
    else refuse(req, res, refused.source, refused.refusal);
  };
  const answer = consumeLimits(store, guard, counts, state);
  if (answer instanceof Promise) answer.then(goOn).catch(next);
  else goOn(answer);
}

type Outcomes = readonly WindowOutcome[];

/**
 * When one limit refuses, none has recorded anything, whatever the store says: units that were recorded at the time it
 * names would be those of another request.
 */
function withReceipts(outcomes: Outcomes): Outcomes {
  if (outcomes.every(({ allowed }) => allowed)) return outcomes;
  return outcomes.map((outcome) =>
    outcome.recordedAt === undefined ? outcome : { ...outcome, recordedAt: undefined },
  );
}

/** Applies the outcomes to the limits one after the other, until one refuses. */
function applyOutcomes(
  [count, ...others]: readonly LimitCount[],
  outcomes: Outcomes,
): MaybePromise<LimitRefusal | undefined> {
  if (count === undefined) return undefined;
  const own = count.requests.length;
  return mapMaybe(
    count.applyOutcomes(outcomes.slice(0, own)),
    (refused) => refused ?? applyOutcomes(others, outcomes.slice(own)),
  );
}

function decideWithoutStore([count, ...others]: readonly LimitCount[]): MaybePromise<LimitRefusal | undefined> {
  if (count === undefined) return undefined;
  return mapMaybe(count.onStoreFailure(), (refused) => refused ?? decideWithoutStore(others));
}

/** Asks for `recordedAt` too, because the app may give units back. */
function consume(store: RateLimitStore, counts: readonly LimitCount[]): MaybePromise<Outcomes> {
  const requests = counts.flatMap((count) => count.requests);
  const [first] = requests;
  if (requests.length === 1 && first !== undefined) {
    return whenAnswered(store.consume(first.policy, first.key, first.cost, true), (outcome) => [asOutcome(outcome)]);
  }
  if (store.consumeAll === undefined) throw new StoreError("This store cannot count several limits at once.");
  return whenAnswered(store.consumeAll(requests, true), (outcomes) => asOutcomes(outcomes, requests.length));
}

/** Converts thenables that are not promises to promises. */
function whenAnswered<Answer, Checked>(
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
