import type { NextFunction, Request, RequestHandler, Response } from "express";
import { errorOf } from "./error-of.js";
import type { Layer, RunLayer } from "./layer.js";
import type { LayerId } from "./layer-id.js";
import type { Middleware } from "./middleware.js";
import type { MaybePromise } from "./maybe-promise.js";
import { beginState, type RequestState } from "./request-state.js";
import { finishHeadOf } from "./response/finish-head.js";
import { checkLimits } from "./response/refuse.js";
import type { Runtime } from "./runtime.js";

/**
 * Wraps a handler so that an error or a rejection goes to the app's error handling. Express 5 does that itself; on
 * Express 4 an unhandled rejection ends the process.
 */
export function passingErrors(handle: (req: Request, res: Response, next: NextFunction) => unknown): RequestHandler {
  return function passingErrorsHandler(req, res, next) {
    const fail = (failure: unknown): void => next(errorOf(failure));
    try {
      const answer: unknown = handle(req, res, next);
      if (answer instanceof Promise) answer.catch(fail);
    } catch (failure) {
      fail(failure);
    }
  };
}

/** Hooks that run around the layers. */
export interface PipelineHooks {
  /** Run after all the layers. */
  readonly last?: readonly RunLayer[];
  /** Runs before the first layer; it must not throw. */
  readonly enter?: () => void;
  /** Runs before the request goes on to the app; `error` is set when a layer failed. */
  readonly leave?: (req: Request, error?: object) => void;
}

type Step = Pick<Layer, "run" | "isCostly"> & { readonly id?: LayerId };

/**
 * One handler, `portcullis`, that runs layers in their order. An error, thrown or passed to `next`, skips the
 * remaining layers and goes to the app's error handling: a layer that fails never allows the request. The headers of
 * the layers are put on the response when the request goes on to the app.
 *
 * Pending rate limits are checked before a layer does costly work, and before the request goes on to the app or to its
 * error handling.
 *
 * When a layer calls `next` before it returns, a loop runs the following layer, not a nested call. The app behind ten
 * layers therefore does not run ten layers deep in the stack.
 */
export function compose(
  layers: readonly Step[],
  runtime: Runtime,
  { last = [], enter, leave }: PipelineHooks = {},
): RequestHandler {
  const steps = [...layers, ...last.map((run) => ({ run, isCostly: always }))];
  const { length } = steps;

  return function portcullis(req: Request, res: Response, next: NextFunction): void {
    enter?.();
    const state = beginState(req, runtime);
    let index = 0;
    let running = false;
    let passed = true;
    let failed = false;

    const out = (error?: object): void => {
      index = length + 1;
      let failure = error;
      try {
        finishHeadOf(res, state);
        state.headersOf(res).release(res);
        leave?.(req, error);
      } catch (thrown) {
        failure ??= errorOf(thrown);
      }
      failed = failure !== undefined;
      if (failure === undefined) next();
      else next(failure);
    };
    /** A request that makes a layer fail counts as well; a client over its limit gets only the 429. */
    const fail = (error: object): void => {
      passed = false;
      if (state.pendingLimits === undefined) return out(error);
      index = length + 1;
      failed = true;
      const end = (allowed: boolean): void => {
        if (allowed) out(error);
      };
      let allowed: MaybePromise<boolean>;
      try {
        allowed = checkLimits(req, res, state);
      } catch {
        allowed = true;
      }
      if (allowed instanceof Promise) allowed.then(end, () => out(error)).catch(next);
      else end(allowed);
    };
    const run = (): void => {
      running = true;
      try {
        while (passed && index < length) {
          passed = false;
          const { run: runLayer, isCostly, id } = steps[index] as Step;
          if (state.pendingLimits !== undefined && isCostly?.(req, state) === true) {
            passed = limitsAllow(req, res, state, step);
            continue;
          }
          index += 1;
          if (id !== undefined) state.markRan(id);
          const answer: unknown = runLayer(req, res, step, state);
          if (answer instanceof Promise) answer.catch((thrown: unknown) => step(errorOf(thrown))).catch(next);
        }
        if (passed && index === length && state.pendingLimits !== undefined) {
          passed = limitsAllow(req, res, state, step);
        }
      } catch (thrown) {
        running = false;
        if (!failed) fail(errorOf(thrown));
        return;
      }
      running = false;
      if (passed && index === length) out();
    };
    const step = (error?: unknown): void => {
      if (index > length) {
        // The app threw inside `next`, and the promise of the layer rejects with that error. One error per request is
        // enough.
        if (error !== undefined && error !== null && !failed) next(errorOf(error));
        return;
      }
      if (error !== undefined && error !== null) {
        fail(errorOf(error));
        return;
      }
      passed = true;
      if (!running) run();
    };
    run();
  };
}

/**
 * Checks the pending limits of a request.
 *
 * @returns whether it goes on now. Otherwise a limit has refused it, or `step` resumes it when the store has answered.
 */
function limitsAllow(req: Request, res: Response, state: RequestState, step: (error?: unknown) => void): boolean {
  const allowed = checkLimits(req, res, state);
  if (!(allowed instanceof Promise)) return allowed;
  allowed
    .then((isAllowed) => {
      if (isAllowed) step();
    })
    .catch((thrown: unknown) => step(errorOf(thrown)));
  return false;
}

/** What the app runs is costly, whatever it is. */
function always(): boolean {
  return true;
}

/**
 * Turns layers into Express middleware. Their headers are put on the response at once, beside those of other
 * middleware. A layer alone needs no pipeline: it leaves no limits pending.
 *
 * @param layers run in the given order
 */
export function standalone(layers: readonly Layer[], runtime: Runtime): Middleware {
  const [first, ...others] = layers;
  if (first === undefined) return (_req, _res, next) => next();
  const { id, run } = first;
  const pipeline = others.length === 0 ? undefined : compose(layers, runtime);
  const handler: RequestHandler = (req, res, next) => {
    const state = beginState(req, runtime);
    finishHeadOf(res, state);
    if (pipeline !== undefined) return pipeline(req, res, next);
    state.markRan(id);
    return run(req, res, next, state);
  };
  return Object.defineProperty(handler, "name", { value: run.name }) as Middleware;
}
