import type { NextFunction, Request, RequestHandler, Response } from "express";
import type { Layer, RunLayer } from "./layer.js";
import type { LayerId } from "./layer-id.js";
import { beginState } from "./request-state.js";
import { finishHeadOf } from "./response/finish-head.js";
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

/**
 * Returns a value that Express treats as an error: for its `next`, a falsy value and the words "route" and "router"
 * mean "go on".
 */
function errorOf(failure: unknown): object {
  return typeof failure === "object" && failure !== null
    ? failure
    : new Error("A handler failed with a value that is not an Error.", { cause: failure });
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

type Step = Pick<Layer, "run" | "runLast"> & { readonly id?: LayerId };

/**
 * One handler, `portcullis`, that runs layers in their order. An error, thrown or passed to `next`, skips the
 * remaining layers and goes to the app's error handling: a layer that fails never allows the request. The headers of
 * the layers are put on the response when the request goes on to the app.
 *
 * When a layer calls `next` before it returns, a loop runs the following layer, not a nested call. The app behind ten
 * layers therefore does not run ten layers deep in the stack.
 */
export function compose(
  layers: readonly Step[],
  runtime: Runtime,
  { last = [], enter, leave }: PipelineHooks = {},
): RequestHandler {
  const steps = stepsOf(layers, last);
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
      failed = error !== undefined;
      finishHeadOf(res, state);
      state.headersOf(res).release(res);
      leave?.(req, error);
      if (error === undefined) next();
      else next(error);
    };
    const run = (): void => {
      running = true;
      while (passed && index < length) {
        passed = false;
        const { run: runLayer, id } = steps[index] as Step;
        index += 1;
        if (id !== undefined) state.markRan(id);
        try {
          const answer: unknown = runLayer(req, res, step, state);
          if (answer instanceof Promise) answer.catch((thrown: unknown) => step(errorOf(thrown))).catch(next);
        } catch (thrown) {
          running = false;
          if (!failed) out(errorOf(thrown));
          return;
        }
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
        passed = false;
        out(errorOf(error));
        return;
      }
      passed = true;
      if (!running) run();
    };
    run();
  };
}

/**
 * Turns layers into Express middleware. Their headers are put on the response at once, beside those of other
 * middleware.
 *
 * @param layers run in the given order
 */
export function standalone(layers: readonly Layer[], runtime: Runtime): RequestHandler {
  const [first, ...rest] = layers;
  if (first === undefined) return (_req, _res, next) => next();
  const { id, run } = first;
  const others = rest.length === 0 ? undefined : standalone(rest, runtime);
  const handler: RequestHandler = (req, res, next) => {
    const state = beginState(req, runtime);
    finishHeadOf(res, state);
    state.markRan(id);
    return run(
      req,
      res,
      others === undefined ? next : (error?: unknown) => (error === undefined ? others(req, res, next) : next(error)),
      state,
    );
  };
  return Object.defineProperty(handler, "name", { value: run.name });
}

function stepsOf(layers: readonly Step[], last: readonly RunLayer[]): Step[] {
  const lasts = [...layers.flatMap(({ runLast }) => (runLast === undefined ? [] : [runLast])), ...last];
  return [...layers, ...lasts.map((run) => ({ run }))];
}
