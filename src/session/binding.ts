import type { Request } from "express";
import type { RequestSession } from "./request-session.js";

/**
 * The session of each request. A WeakMap and not a property: Express changes a request's prototype, after which V8 takes
 * about a microsecond for every property added to it, ten times what this takes.
 */
const bound = new WeakMap<object, RequestSession>();

/** `req.session`. One accessor serves every request, so binding makes no closure. */
const SESSION: PropertyDescriptor = {
  // `delete req.session` would end nothing; so it throws instead of looking like a log-out.
  configurable: false,
  // Not enumerable, so that a logger which copies a request does not begin a session.
  enumerable: false,
  get(this: object) {
    return bound.get(this)?.read();
  },
  set(this: object, value: unknown) {
    bound.get(this)?.assign(value);
  },
};

/** What express-session puts beside it. Only there once there is a session: most requests never get so far. */
const COMPANIONS: PropertyDescriptorMap = {
  sessionID: {
    configurable: true,
    enumerable: false,
    get(this: object) {
      return bound.get(this)?.open().sessionID;
    },
  },
  sessionStore: {
    configurable: true,
    enumerable: false,
    get(this: object) {
      return bound.get(this)?.context.engine;
    },
  },
};

/** Puts `req.session` in place. */
export function bindSession(req: Request, requestSession: RequestSession): void {
  bound.set(req, requestSession);
  Object.defineProperty(req, "session", SESSION);
}

/** Puts `req.sessionID` and `req.sessionStore` in place. */
export function bindCompanions(req: Request): void {
  Object.defineProperties(req, COMPANIONS);
}

/** The session bound to a request, when a layer ran. */
export function boundSession(req: Request): RequestSession | undefined {
  return bound.get(req);
}
