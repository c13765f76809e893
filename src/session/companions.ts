import type { Request } from "express";
import { stateIn } from "../core/request-state.js";

/** What a session knows of express-session. An interface, because the session itself puts these properties in place. */
interface OpenSession {
  open(): { readonly sessionID: string };
  readonly context: { readonly adapter: unknown };
}

/** What express-session puts beside it. Only there once there is a session: most requests never get so far. */
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

/** Puts `req.sessionID` and `req.sessionStore` in place. */
export function defineSessionProperties(req: Request): void {
  Object.defineProperties(req, COMPANIONS);
}

function sessionOf(req: object): OpenSession | undefined {
  return stateIn(req)?.session as OpenSession | undefined;
}
