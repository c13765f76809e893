/**
 * A store has no room for what one caller wants to add. Everything it holds still works and can be revoked, so this is an
 * answer to that caller and no outage.
 */
export class StoreFullError extends Error {
  /** `PORTCULLIS_STORE_FULL`: all places are taken. `PORTCULLIS_SHARE_FULL`: this owner's are; others can go on. */
  readonly code: "PORTCULLIS_STORE_FULL" | "PORTCULLIS_SHARE_FULL";

  constructor(full: "store" | "share", message: string) {
    super(message);
    this.name = "StoreFullError";
    this.code = full === "store" ? "PORTCULLIS_STORE_FULL" : "PORTCULLIS_SHARE_FULL";
  }
}
