import type { Request } from "express";
import { stateIn, stateOf } from "../core/request-state.js";
import type { RequestSession } from "./request-session.js";

/** `req.session`. All requests share one accessor, so that binding creates no closure. */
const SESSION: PropertyDescriptor = {
  // `delete req.session` would not end the session; so it throws instead of looking like a log-out.
  configurable: false,
  // Not enumerable, so that a logger that copies a request does not create a session.
  enumerable: false,
  get(this: object) {
    return stateIn(this)?.session?.read();
  },
  set(this: object, value: unknown) {
    stateIn(this)?.session?.assign(value);
  },
};

/** Defines `req.session`. */
export function bindSession(req: Request, requestSession: RequestSession): void {
  stateOf(req).session = requestSession;
  Object.defineProperty(req, "session", SESSION);
}

/** The session bound to a request, when a layer ran. */
export function boundSession(req: object): RequestSession | undefined {
  return stateIn(req)?.session as RequestSession | undefined;
}
