import type { Request } from "express";
import type { RequestSession } from "./request-session.js";

/** Where a request has its session. No WeakMap: see `src/core/request-state.ts`. */
const BOUND = Symbol("portcullis.session");

interface Carrier {
  [BOUND]?: RequestSession;
}

/** `req.session`. One accessor serves every request, so binding makes no closure. */
const SESSION: PropertyDescriptor = {
  // `delete req.session` would end nothing; so it throws instead of looking like a log-out.
  configurable: false,
  // Not enumerable, so that a logger which copies a request does not begin a session.
  enumerable: false,
  get(this: Carrier) {
    return this[BOUND]?.read();
  },
  set(this: Carrier, value: unknown) {
    this[BOUND]?.assign(value);
  },
};

/** What express-session puts beside it. Only there once there is a session: most requests never get so far. */
const COMPANIONS: PropertyDescriptorMap = {
  sessionID: {
    configurable: true,
    enumerable: false,
    get(this: Carrier) {
      return this[BOUND]?.open().sessionID;
    },
  },
  sessionStore: {
    configurable: true,
    enumerable: false,
    get(this: Carrier) {
      return this[BOUND]?.context.engine;
    },
  },
};

/** Puts `req.session` in place. */
export function bindSession(req: Request, requestSession: RequestSession): void {
  (req as Request & Carrier)[BOUND] = requestSession;
  Object.defineProperty(req, "session", SESSION);
}

/** Puts `req.sessionID` and `req.sessionStore` in place. */
export function bindCompanions(req: Request): void {
  Object.defineProperties(req, COMPANIONS);
}

/** The session bound to a request, when a layer ran. */
export function boundSession(req: Request): RequestSession | undefined {
  return (req as Request & Carrier)[BOUND];
}
