import type { NextFunction, Request, RequestHandler, Response } from "express";

/**
 * One handler that runs others in their order. An error, passed on or thrown, skips the rest and goes to the app's error
 * handling: a layer that fails is never a layer that allowed.
 *
 * @param leave runs before the request goes on to the app, with an error or without
 */
export function compose(handlers: readonly RequestHandler[], leave: (req: Request, res: Response) => void = () => undefined): RequestHandler {
  return function portcullis(req: Request, res: Response, next: NextFunction): void {
    let index = 0;
    let left = false;
    const step = (error?: unknown): void => {
      const handler = error === undefined || error === null ? handlers[index] : undefined;
      index += 1;
      if (handler === undefined) {
        left = true;
        leave(req, res);
        if (error === undefined || error === null) next();
        else next(error);
        return;
      }
      try {
        void handler(req, res, step);
      } catch (thrown) {
        // What is thrown after the last layer is the app's, not ours.
        if (left) throw thrown;
        left = true;
        leave(req, res);
        next(thrown);
      }
    };
    step();
  };
}
