/** The library is wired wrongly: mounted after routes, twice, or a service used that is not configured. */
export class SetupError extends Error {
  readonly code = "PORTCULLIS_SETUP";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "SetupError";
  }
}
