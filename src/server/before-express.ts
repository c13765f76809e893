import type { RequestListener } from "node:http";
import type { Express, NextFunction, Request, RequestHandler, Response } from "express";
import { stateOf } from "../core/request-state.js";

/** Handles requests before Express does, and the middleware that takes over inside the app. */
export interface BeforeExpress {
  readonly listener: RequestListener;
  readonly middleware: RequestHandler;
}

/**
 * Runs the layers of an app before Express handles a request, so that a refusal costs no more than the layers
 * themselves. A request that they pass, or an error, goes to the app.
 *
 * Where something else has come before the layers since (another `app.handle`, `app.request` or first middleware), Express
 * handles the request from the start.
 *
 * @param handler the layers, which are the first middleware of the app
 * @param first returns what is now the first middleware of the app
 */
export function beforeExpress(app: Express, handler: RequestHandler, first: () => unknown): BeforeExpress {
  const { handle } = app as unknown as { readonly handle: unknown };
  function isFirst(req: Request): boolean {
    return (
      (app as unknown as { readonly handle: unknown }).handle === handle &&
      Object.getPrototypeOf(req) === app.request &&
      first() === portcullis
    );
  }
  function listener(req: Request, res: Response): void {
    if (!isFirst(req)) return void app(req, res);
    // What Express 5 sets on a request before the first middleware runs.
    req.res = res;
    req.baseUrl ||= "";
    req.originalUrl ||= req.url;
    req.params = {};
    res.locals ??= Object.create(null) as Response["locals"];
    handler(req, res, (error?: unknown) => {
      stateOf(req).outcome = { app, error };
      app(req, res);
    });
  }
  function portcullis(req: Request, res: Response, next: NextFunction): unknown {
    const state = stateOf(req);
    const { outcome } = state;
    if (outcome?.app !== app) return handler(req, res, next);
    // A request that enters the app a second time passes the layers again.
    state.outcome = undefined;
    return next(outcome.error);
  }
  // The classes of the server make the requests those of Express.
  return { listener: listener as unknown as RequestListener, middleware: portcullis };
}
