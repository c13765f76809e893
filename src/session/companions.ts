import type { Request } from "express";
import { stateIn } from "../core/request-state.js";

/**
 * The part of a request's session used here. It is an interface because the session itself defines these properties.
 */
interface OpenSession {
  open(): { readonly sessionID: string };
  readonly context: { readonly adapter: unknown };
}

/**
 * The properties that express-session defines next to `req.session`. They are defined only for a request that opens a
 * session; most requests do not.
 */
const COMPANIONS: PropertyDescriptorMap = {
  sessionID: {
    configurable: true,
    enumerable: false,
    get(this: object) {
      return sessionOf(this)?.open().sessionID;
    },
  },
  sessionStore: {
    configurable: true,
    enumerable: false,
    get(this: object) {
      return sessionOf(this)?.context.adapter;
    },
  },
};

/** Defines `req.sessionID` and `req.sessionStore`. */
export function defineSessionProperties(req: Request): void {
  Object.defineProperties(req, COMPANIONS);
}

function sessionOf(req: object): OpenSession | undefined {
  return stateIn(req)?.session as OpenSession | undefined;
}
