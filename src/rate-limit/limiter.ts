import type { Request, Response } from "express";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import { refuse } from "../core/response/refuse.js";
import type { CountedIn, RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { LimitCount, LimitRefusal } from "../core/pending-limits.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import type { RateLimitStore, WindowOutcome, WindowRequest } from "../stores/contracts.js";
import type { StoreGuard } from "../stores/health/store-guard.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { applyLimits, guardFor } from "./consume.js";
import { noteCount, undoCount } from "./counted-once.js";
import type { Count } from "./counts.js";
import { decide, tightest, type Verdict } from "./decide.js";
import type { Limit, Limiter } from "./limit.js";
import { whenAnswered } from "./outcome-of-request.js";
import { type Taken, takeBack, takeBackSoon } from "./take-back.js";
import { isUsedUp, policiesOf, undecided } from "./undecided.js";
import { writeLimitHeaders } from "./write-headers.js";

const STORE_DOWN: Refusal = Object.freeze({
  code: "store-unavailable",
  reason: "rate-limit-store",
  headers: RETRY_SOON,
  event: false,
});

/**
 * Applies one limit to requests. With the in-process store everything happens before the call returns. With another
 * store the request goes on when the store has answered, has failed, or has timed out.
 */
export function createLimiter(limit: Limit, runtime: Runtime): Limiter {
  const { counts, mode, skips, store } = limit;
  const local = store instanceof SlidingWindowStore ? store : undefined;
  /** Most limits have one window, and its number is fixed. */
  const only =
    counts.fixed?.length === 1 && limit.isFailure === undefined && limit.block === undefined
      ? counts.fixed[0]
      : undefined;
  // Created when first needed: most stores never fail.
  let fallbackStore: SlidingWindowStore | undefined;

  const guardOf = (): StoreGuard => guardFor(store, runtime, limit.storeTimeoutMs);

  /** The refusal to send; in report mode it is only announced, and there is none. */
  function refusedBy(req: Request, res: Response, refusal: Refusal): LimitRefusal | undefined {
    if (mode === "enforce") return { source: limit.source, refusal };
    refuse(req, res, limit.source, refusal, mode);
    return undefined;
  }

  function note(entry: CountedIn, outcome: WindowOutcome, counter: RateLimitStore): void {
    entry.outcome = outcome;
    entry.decidedAt = runtime.clock.now();
    entry.counter = counter;
    entry.recordedAt = outcome.recordedAt;
    if (!outcome.allowed && mode === "report") undoCount(entry);
  }

  function conclude(
    { text, policy }: Count,
    verdict: Verdict,
    req: Request,
    res: Response,
    state: RequestState,
  ): LimitRefusal | undefined {
    // Report mode sends no rate limit headers: clients would obey a limit that is not enforced.
    if (mode === "enforce" && !res.headersSent) writeLimitHeaders(state.headersOf(res), text, verdict, runtime.clock);
    if (verdict.allowed) return undefined;
    const headers = { "Retry-After": String(verdict.retryAfterSeconds) };
    return refusedBy(req, res, { code: "rate-limited", reason: policy.name, headers });
  }

  /** Counts a request in one window of the in-process store. */
  function countLocally(
    memory: SlidingWindowStore,
    count: Count,
    key: string,
    cost: number,
    req: Request,
    res: Response,
    state: RequestState,
  ): LimitRefusal | undefined {
    const entry = noteCount(state, store, count.policy, key, cost, limiter);
    if (entry === undefined) return undefined;
    const outcome = memory.consume(count.policy, key, entry.units);
    note(entry, outcome, memory);
    if (outcome.allowed) entry.recordedAt = memory.lastRecordedAt;
    return conclude(count, decide(outcome, count.policy.limit), req, res, state);
  }

  /** The counts that do not include the request yet. */
  function toCount(
    all: readonly Count[],
    key: string,
    cost: number,
    req: Request,
    res: Response,
    state: RequestState,
  ): LimitCount | undefined {
    const open: { count: Count; entry: CountedIn }[] = [];
    for (const count of all) {
      const entry = noteCount(state, store, count.policy, key, cost, limiter);
      if (entry !== undefined) open.push({ count, entry });
    }
    if (open.length === 0) return undefined;
    const { block, isFailure } = limit;
    const requests = open.map(({ count, entry }): WindowRequest => ({ policy: count.policy, key, cost: entry.units }));
    // Units of requests that are not answered yet are counted a second time, so that a block does not rest on them.
    if (block !== undefined && isFailure !== undefined)
      for (const { policy, cost: units } of [...requests])
        requests.push({ policy: undecided(policy), key, cost: units });
    if (block !== undefined) requests.push(block.check(key));
    const applyOutcomes = (
      outcomes: readonly WindowOutcome[],
      counter: RateLimitStore,
    ): MaybePromise<LimitRefusal | undefined> => {
      const isRecorded = outcomes.every(({ allowed }) => allowed);
      const judged = open.map(({ count, entry }, index) => {
        const outcome = outcomes[index]!;
        note(entry, isRecorded ? outcome : { ...outcome, recordedAt: undefined }, counter);
        return { count, verdict: decide(outcome, count.policy.limit) };
      });
      const { count, verdict } = tightest(judged);
      const end = (blockedMs: number): LimitRefusal | undefined => {
        const isBlocked = blockedMs > 0 && block !== undefined;
        const blocked = isBlocked ? { ...count, policy: block.policy } : count;
        return conclude(blocked, isBlocked ? longer(verdict, blockedMs) : verdict, req, res, state);
      };
      if (isRecorded) {
        if (isFailure !== undefined) settleWhenAnswered(req, res, requests, outcomes, open, counter);
        return end(0);
      }
      const blockedFor = block === undefined ? 0 : outcomes.at(-1)!.retryAfterMs;
      if (block === undefined || blockedFor > 0 || !isUsedUp(open, outcomes, isFailure !== undefined))
        return end(blockedFor);
      const guard = counter === store && local === undefined ? guardOf() : undefined;
      return mapMaybe(block.begin(counter, guard, key), end);
    };
    return {
      requests,
      applyOutcomes: (outcomes) => applyOutcomes(outcomes, store),
      onStoreFailure: () => {
        if (limit.onStoreError === "allow") return undefined;
        if (limit.onStoreError === "deny") return refusedBy(req, res, STORE_DOWN);
        fallbackStore ??= new SlidingWindowStore({ maxClients: limit.maxClients, clock: runtime.clock });
        return applyOutcomes(fallbackStore.consumeAll(requests, true), fallbackStore);
      },
    };
  }

  /** Takes the units of a success back, and notes that those of a failure are decided. */
  function settleWhenAnswered(
    req: Request,
    res: Response,
    requests: readonly WindowRequest[],
    outcomes: readonly WindowOutcome[],
    open: readonly { readonly entry: CountedIn }[],
    counter: RateLimitStore,
  ): void {
    const undecidedUnits = requests.slice(open.length, limit.block === undefined ? undefined : -1);
    const pending = undecidedUnits.map(({ policy, key, cost }, index): Taken => {
      return { policy, key, units: cost, counter, recordedAt: outcomes[open.length + index]?.recordedAt };
    });
    whenAnswered(req, res, limit.isFailure!, (failed) => {
      const success = failed ? [] : open.map(({ entry }) => entry);
      takeBackSoon([...success, ...pending], runtime, limit.storeTimeoutMs);
    });
  }

  /** The key and the cost of a request; `undefined` when it is free. */
  function measure(req: Request, state: RequestState): { key: string; cost: number } | undefined {
    if (skips?.(req) === true) return undefined;
    const key = limit.key(req, state);
    if (key === undefined) return undefined;
    const cost = limit.cost(req);
    return cost === 0 ? undefined : { key, cost };
  }

  function countOf(req: Request, res: Response, state: RequestState): MaybePromise<LimitCount | undefined> {
    const measured = measure(req, state);
    if (measured === undefined) return undefined;
    const { key, cost } = measured;
    return mapMaybe(counts.fixed ?? counts.of(req), (all) => toCount(all, key, cost, req, res, state));
  }

  const limiter: Limiter = {
    limit,
    countOf,
    apply(req, res, next, state) {
      if (local !== undefined && only !== undefined) {
        const key = skips?.(req) === true ? undefined : limit.key(req, state);
        const cost = key === undefined ? 0 : limit.cost(req);
        const refused = cost === 0 ? undefined : countLocally(local, only, key!, cost, req, res, state);
        if (refused === undefined) next();
        else refuse(req, res, refused.source, refused.refusal);
        return;
      }
      const go = (count: LimitCount | undefined): void => {
        if (count === undefined) next();
        else applyLimits(store, guardOf(), [count], req, res, next, state);
      };
      const count = countOf(req, res, state);
      if (count instanceof Promise) count.then(go).catch(next);
      else go(count);
    },
    giveBack: (entry) => takeBack(entry, runtime, limit.storeTimeoutMs),
    forgetLocally(key) {
      for (const policy of policiesOf(limit)) fallbackStore?.reset(policy, key);
    },
    close() {
      fallbackStore?.close();
    },
  };
  return limiter;
}

/** A refusal that lasts at least that long. */
function longer(verdict: Verdict, ms: number): Verdict {
  const seconds = Math.max(verdict.retryAfterSeconds, Math.ceil(ms / 1000));
  return { allowed: false, remaining: 0, resetSeconds: seconds, retryAfterSeconds: seconds };
}
