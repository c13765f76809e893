import { PortcullisError } from "./portcullis-error.js";

/**
 * The library is set up incorrectly: it is mounted after routes or twice, or the app uses a service that is not
 * configured.
 */
export class SetupError extends PortcullisError {
  readonly code = "PORTCULLIS_SETUP";

  constructor(message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "SetupError";
  }
}
