import type { NextFunction, Request, Response } from "express";
import type { Mode } from "../core/layer.js";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import { refuse } from "../core/response/refuse.js";
import type { CountedIn, RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { LimitCount, LimitRefusal } from "../core/pending-limits.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import type { RateLimitStore, WindowOutcome, WindowRequest } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { applyLimits, guardFor } from "./consume.js";
import { noteCount, undoCount } from "./counted-once.js";
import type { Count, Counts } from "./counts.js";
import { decide, tightest, type Verdict } from "./decide.js";
import { writeLimitHeaders } from "./write-headers.js";

/** One configured limit, with everything about it decided at start. */
export interface Limit {
  /** Layer id, or the name of a route's limit in events. */
  readonly source: string;
  /** Its name in headers. */
  readonly name: string;
  readonly counts: Counts;
  readonly mode: Mode;
  /** Whether a request is not limited; `undefined`: each one is. */
  readonly skips: ((req: Request) => boolean) | undefined;
  /** The key to count by; `undefined` lets the request pass uncounted. */
  readonly key: (req: Request, state: RequestState) => string | undefined;
  /** The key of the client that the app names: an address, the id of a principal, or the text of its own function. */
  readonly keyNamed: (client: string) => string;
  readonly cost: (req: Request) => number;
  readonly store: RateLimitStore;
  readonly onStoreError: "local" | "allow" | "deny";
  readonly storeTimeoutMs: number;
  readonly maxClients: number;
}

export interface Limiter {
  readonly limit: Limit;
  /** Counts the request in this limit alone, and answers it or passes it on. */
  apply(req: Request, res: Response, next: NextFunction, state: RequestState): void;
  /** What to count for this request here, for consuming several limits together; `undefined`: nothing. */
  countOf(req: Request, res: Response, state: RequestState): MaybePromise<LimitCount | undefined>;
  /** Takes back what an entry has recorded, once. Resolves with whether anything was taken back. */
  giveBack(entry: CountedIn): MaybePromise<boolean>;
  /** Forgets a client that this process counts while the store fails. */
  forgetLocally(key: string): void;
  close(): void;
}

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
  const only = counts.fixed?.length === 1 ? counts.fixed[0] : undefined;
  // Created when first needed: most stores never fail.
  let fallbackStore: SlidingWindowStore | undefined;

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
    const requests = open.map(({ count, entry }): WindowRequest => ({ policy: count.policy, key, cost: entry.units }));
    const applyOutcomes = (outcomes: readonly WindowOutcome[], counter = store): LimitRefusal | undefined => {
      const isRecorded = outcomes.every(({ allowed }) => allowed);
      const verdicts = open.map(({ count, entry }, index) => {
        const outcome = outcomes[index]!;
        note(entry, isRecorded ? outcome : { ...outcome, recordedAt: undefined }, counter);
        return { count, verdict: decide(outcome, count.policy.limit) };
      });
      const { count, verdict } = tightest(verdicts);
      return conclude(count, verdict, req, res, state);
    };
    return {
      requests,
      applyOutcomes: (outcomes) => applyOutcomes(outcomes),
      onStoreFailure: () => {
        if (limit.onStoreError === "allow") return undefined;
        if (limit.onStoreError === "deny") return refusedBy(req, res, STORE_DOWN);
        fallbackStore ??= new SlidingWindowStore({ maxClients: limit.maxClients, clock: runtime.clock });
        return applyOutcomes(fallbackStore.consumeAll(requests, true), fallbackStore);
      },
    };
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
        else applyLimits(store, guardFor(store, runtime, limit.storeTimeoutMs), [count], req, res, next, state);
      };
      const count = countOf(req, res, state);
      if (count instanceof Promise) count.then(go).catch(next);
      else go(count);
    },
    giveBack(entry) {
      const { recordedAt, counter, policy, key, units } = entry;
      if (recordedAt === undefined) return false;
      entry.recordedAt = undefined;
      if (counter instanceof SlidingWindowStore) return counter.refund(policy, key, units, recordedAt) > 0;
      if (store.refund === undefined) return false;
      const guard = guardFor(store, runtime, limit.storeTimeoutMs);
      const answer = guard.run(() => store.refund?.(policy, key, units, recordedAt) ?? 0);
      return mapMaybe(answer, (back) => back > 0);
    },
    forgetLocally(key) {
      for (const policy of counts.policies) fallbackStore?.reset(policy, key);
    },
    close() {
      fallbackStore?.close();
    },
  };
  return limiter;
}
