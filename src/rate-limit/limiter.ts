import type { NextFunction, Request, Response } from "express";
import type { Mode } from "../core/layer.js";
import { refuse } from "../core/response/refuse.js";
import type { RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { LimitCount, LimitRefusal } from "../core/pending-limits.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window/store.js";
import { applyLimits, guardFor } from "./consume.js";
import { undoCount, remainingUnits } from "./counted-once.js";
import { decide, type LimitHeaders } from "./decide.js";
import { writeLimitHeaders } from "./write-headers.js";

/** One configured limit, with everything about it decided at start. */
export interface Limit {
  /** Layer id, or the name of a route's limit in events. */
  readonly source: string;
  readonly policy: WindowPolicy;
  readonly text: LimitHeaders;
  readonly mode: Mode;
  /** The key to count by; `undefined` lets the request pass uncounted. */
  readonly key: (req: Request, state: RequestState) => string | undefined;
  readonly cost: (req: Request) => number;
  readonly store: RateLimitStore;
  readonly onStoreError: "local" | "allow" | "deny";
  readonly storeTimeoutMs: number;
  readonly maxClients: number;
}

export interface Limiter {
  /** Counts the request in this limit alone, and answers it or passes it on. */
  apply(req: Request, res: Response, next: NextFunction, state: RequestState): void;
  /** What to count for this request here, for consuming several limits together; `undefined`: nothing. */
  countOf(req: Request, res: Response, state: RequestState): LimitCount | undefined;
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
  const { policy, text, mode, store } = limit;
  const local = store instanceof SlidingWindowStore ? store : undefined;
  // Created when first needed: most stores never fail.
  let fallbackStore: SlidingWindowStore | undefined;

  /** The refusal to send; in report mode it is only announced, and there is none. */
  function refusedBy(req: Request, res: Response, refusal: Refusal): LimitRefusal | undefined {
    if (mode === "enforce") return { source: limit.source, refusal };
    refuse(req, res, limit.source, refusal, mode);
    return undefined;
  }

  function applyOutcome(
    outcome: WindowOutcome,
    req: Request,
    res: Response,
    state: RequestState,
    key: string,
    cost: number,
  ): LimitRefusal | undefined {
    const verdict = decide(outcome, policy.limit);
    // Report mode sends no rate limit headers: clients would obey a limit that is not enforced.
    if (mode === "enforce" && !res.headersSent) writeLimitHeaders(state.headersOf(res), text, verdict, runtime.clock);
    if (verdict.allowed) return undefined;
    if (mode === "report") undoCount(state, store, policy, key, cost);
    const headers = { "Retry-After": String(verdict.retryAfterSeconds) };
    return refusedBy(req, res, { code: "rate-limited", reason: policy.name, headers });
  }

  function decideWithoutStore(
    req: Request,
    res: Response,
    state: RequestState,
    key: string,
    cost: number,
  ): LimitRefusal | undefined {
    if (limit.onStoreError === "allow") return undefined;
    if (limit.onStoreError === "deny") return refusedBy(req, res, STORE_DOWN);
    fallbackStore ??= new SlidingWindowStore({ maxClients: limit.maxClients, clock: runtime.clock });
    return applyOutcome(fallbackStore.consume(policy, key, cost), req, res, state, key, cost);
  }

  /** The units to count for this request here; `undefined` when the request is free or already counted. */
  function costOf(req: Request, state: RequestState, key: string): number | undefined {
    const cost = limit.cost(req);
    return cost === 0 ? undefined : remainingUnits(state, store, policy, key, cost);
  }

  function countOf(req: Request, res: Response, state: RequestState): LimitCount | undefined {
    const key = limit.key(req, state);
    const cost = key === undefined ? undefined : costOf(req, state, key);
    if (key === undefined || cost === undefined) return undefined;
    return {
      policy,
      key,
      cost,
      applyOutcome: (outcome) => applyOutcome(outcome, req, res, state, key, cost),
      onStoreFailure: () => decideWithoutStore(req, res, state, key, cost),
    };
  }

  return {
    countOf,
    apply(req, res, next, state) {
      if (local === undefined) {
        const count = countOf(req, res, state);
        if (count === undefined) next();
        else applyLimits(store, guardFor(store, runtime, limit.storeTimeoutMs), [count], req, res, next, state);
        return;
      }
      const key = limit.key(req, state);
      const cost = key === undefined ? undefined : costOf(req, state, key);
      const refused =
        key === undefined || cost === undefined
          ? undefined
          : applyOutcome(local.consume(policy, key, cost), req, res, state, key, cost);
      if (refused === undefined) next();
      else refuse(req, res, refused.source, refused.refusal);
    },
    close() {
      fallbackStore?.close();
    },
  };
}
