import type { NextFunction, Request, Response } from "express";
import type { Mode } from "../core/layer.js";
import { refuse } from "../core/refusal.js";
import type { RequestState } from "../core/request-state.js";
import type { Runtime } from "../core/runtime.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../stores/contracts.js";
import { SlidingWindowStore } from "../stores/memory/sliding-window-store.js";
import { decide, type LimitText } from "./decide.js";
import { guardFor } from "./store-guards.js";
import { writeLimitHeaders } from "./write-headers.js";

/** One limit at work, everything about it settled at start. */
export interface Limit {
  /** Layer id, or what names a limit of a route in events. */
  readonly source: string;
  readonly policy: WindowPolicy;
  readonly text: LimitText;
  readonly mode: Mode;
  /** The key to count under; `undefined` lets the request pass uncounted. */
  readonly key: (req: Request, state: RequestState) => string | undefined;
  readonly cost: (req: Request) => number;
  readonly store: RateLimitStore;
  readonly onStoreError: "local" | "allow" | "deny";
  readonly storeTimeoutMs: number;
  readonly maxClients: number;
}

export interface Limiter {
  apply(req: Request, res: Response, next: NextFunction, state: RequestState): void;
  close(): void;
}

const STORE_DOWN = Object.freeze({ code: "store-unavailable", reason: "rate-limit-store", event: false } as const);

/**
 * What one limit does to one request. With the in-process store everything happens before this returns; with another
 * one the request goes on when the store has answered, has failed, or has not answered in time.
 */
export function createLimiter(limit: Limit, runtime: Runtime): Limiter {
  const { policy, text, mode, store } = limit;
  const local = store instanceof SlidingWindowStore ? store : undefined;
  // Made when it is first needed: most stores never fail.
  let standIn: SlidingWindowStore | undefined;

  function settle(outcome: WindowOutcome, req: Request, res: Response, next: NextFunction): void {
    const verdict = decide(outcome, policy.limit);
    // A limit on trial leaves no trace in the response: a client would keep to a limit that does not hold.
    if (mode === "enforce") writeLimitHeaders(res, text, verdict, runtime.clock.now());
    if (verdict.allowed) {
      next();
      return;
    }
    const headers = { "Retry-After": String(verdict.retryAfterSeconds) };
    if (refuse(req, res, limit.source, { code: "rate-limited", reason: policy.name, headers }, mode)) return;
    next();
  }

  function withoutStore(req: Request, res: Response, next: NextFunction, key: string, cost: number): void {
    if (limit.onStoreError === "local") {
      standIn ??= new SlidingWindowStore({ maxClients: limit.maxClients, clock: runtime.clock });
      settle(standIn.consume(policy, key, cost), req, res, next);
    } else if (limit.onStoreError === "allow" || !refuse(req, res, limit.source, STORE_DOWN, mode)) next();
  }

  function askStore(req: Request, res: Response, next: NextFunction, key: string, cost: number): void {
    let answer: WindowOutcome | Promise<WindowOutcome>;
    try {
      answer = guardFor(store, runtime, limit.storeTimeoutMs).run(() => checked(store.consume(policy, key, cost)));
    } catch {
      withoutStore(req, res, next, key, cost);
      return;
    }
    if (!(answer instanceof Promise)) {
      settle(answer, req, res, next);
      return;
    }
    answer
      .then(
        (outcome) => settle(outcome, req, res, next),
        () => withoutStore(req, res, next, key, cost),
      )
      // What is thrown while the request goes on belongs to the app's error handling, not to nobody.
      .catch(next);
  }

  return {
    apply(req, res, next, state) {
      const key = limit.key(req, state);
      if (key === undefined) {
        next();
        return;
      }
      const cost = limit.cost(req);
      if (cost === 0) next();
      else if (local !== undefined) settle(local.consume(policy, key, cost), req, res, next);
      else askStore(req, res, next, key, cost);
    },
    close() {
      standIn?.close();
    },
  };
}

/** A store that answers something else than an outcome has failed. Thenables that are no promises become promises. */
function checked(answer: WindowOutcome | Promise<WindowOutcome>): WindowOutcome | Promise<WindowOutcome> {
  if (typeof (answer as Partial<Promise<unknown>> | undefined)?.then === "function") return Promise.resolve(answer).then(asOutcome);
  return asOutcome(answer as WindowOutcome);
}

function asOutcome(outcome: WindowOutcome): WindowOutcome {
  const { allowed, used, retryAfterMs, resetMs } = outcome;
  if (typeof allowed !== "boolean" || !isAmount(used) || !isAmount(retryAfterMs) || !isAmount(resetMs)) {
    throw new TypeError("The store's answer is not a WindowOutcome.");
  }
  return outcome;
}

function isAmount(value: unknown): boolean {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
