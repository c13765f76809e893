import { PortcullisError } from "../../core/portcullis-error.js";

/**
 * A store has no room for what one caller wants to add. All stored records still work and can be revoked, so this is an
 * error of that call, not an outage.
 */
export class StoreFullError extends PortcullisError {
  /**
   * `PORTCULLIS_STORE_FULL`: all places are taken. `PORTCULLIS_SHARE_FULL`: this owner's places are taken; other owners
   * can go on.
   */
  readonly code: "PORTCULLIS_STORE_FULL" | "PORTCULLIS_SHARE_FULL";

  constructor(full: "store" | "share", message: string) {
    super(message);
    this.name = "StoreFullError";
    this.code = full === "store" ? "PORTCULLIS_STORE_FULL" : "PORTCULLIS_SHARE_FULL";
  }
}

/** The session store has reached its maximum number of sessions, and none of them may be evicted for this one. */
export class SessionStoreFullError extends PortcullisError {
  readonly code = "PORTCULLIS_SESSION_STORE_FULL";
  /** The status with which Express's own error handler responds when the app passes the error on. */
  readonly status = 503;

  constructor() {
    super("The session store is full.");
    this.name = "SessionStoreFullError";
  }
}
