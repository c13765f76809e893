import type { NextFunction, Request, RequestHandler, Response } from "express";

/**
 * A handler whose error, thrown or rejected with, goes to the app's error handling. Express 5 does that itself; on Express 4 a
 * rejection that nobody handles ends the process.
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


/** An error that Express takes for one: a falsy value and the words "route" and "router" mean "go on" to its `next`. */
function errorOf(failure: unknown): object {
  return typeof failure === "object" && failure !== null ? failure : new Error("A handler failed with a value that is not an Error.", { cause: failure });
}

/**
 * One handler that runs others in their order. An error, passed on or thrown, skips the rest and goes to the app's error
 * handling: a layer that fails is never a layer that allowed.
 *
 * A layer that passes the request on before it returns is followed by the next one in a loop, not by a call from within: what
 * comes after ten layers, the whole app, does not run ten layers deep in the stack.
 *
 * @param leave runs before the request goes on to the app, with the error of a layer or without
 * @param enter runs before the first handler, must not throw
 */
export function compose(
  handlers: readonly RequestHandler[],
  leave: (req: Request, res: Response, error?: object) => void = () => undefined,
  enter: () => void = () => undefined,
): RequestHandler {
  const { length } = handlers;

  return function portcullis(req: Request, res: Response, next: NextFunction): void {
    enter();
    let index = 0;
    let running = false;
    let passed = true;
    let failed = false;

    const out = (error?: object): void => {
      index = length + 1;
      failed = error !== undefined;
      leave(req, res, error);
      if (error === undefined) next();
      else next(error);
    };
    const run = (): void => {
      running = true;
      while (passed && index < length) {
        passed = false;
        const handler = handlers[index] as RequestHandler;
        index += 1;
        try {
          const answer: unknown = handler(req, res, step);
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
        // What an app threw while a layer let it go on: it comes back by that layer's promise. One error for a request is enough.
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
