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
