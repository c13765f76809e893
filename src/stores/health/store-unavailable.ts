import { PortcullisError } from "../../core/portcullis-error.js";
import { withTimeout } from "./timeout.js";

/** A store did not complete an operation: it failed, took too long, or is known to be down. */
export class StoreUnavailableError extends PortcullisError {
  readonly code = "PORTCULLIS_STORE_UNAVAILABLE";
  /** The status with which Express's own error handler responds when the app passes this on. */
  readonly status = 503;

  constructor(store: string, options?: { readonly cause?: unknown }) {
    super(`The ${store} store did not respond.`, options);
    this.name = "StoreUnavailableError";
  }
}

/** The error for the caller of a failed call. Another guard within the call may have made it already. */
export function storeUnavailable(store: string, cause: unknown): StoreUnavailableError {
  return cause instanceof StoreUnavailableError ? cause : new StoreUnavailableError(store, { cause });
}

/**
 * Calls several stores one after the other with one common time limit and without a circuit, because no single store
 * can be blamed.
 *
 * @throws StoreUnavailableError (rejects) when one fails, or they are late
 */
export async function callWithoutCircuit<T>(store: string, ms: number, operation: () => Promise<T>): Promise<T> {
  try {
    return await withTimeout(Promise.resolve().then(operation), ms);
  } catch (error) {
    throw storeUnavailable(store, error);
  }
}
