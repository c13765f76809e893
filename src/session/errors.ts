/** What `logIn` was given is not of the form it takes. */
export class InvalidLogInError extends TypeError {
  readonly code = "invalid-input";
  /** As of the errors of keys and tokens with this code. */
  readonly status = 400;

  constructor(problem: string) {
    super(`logIn: ${problem}`);
    this.name = "InvalidLogInError";
  }
}

/** A log-in was to renew a session that has ended meanwhile: by a log-out, by `sessions.end`, or by its time. Nobody is logged in. */
export class SessionEndedError extends Error {
  readonly code = "session-ended";
  /** Express's own error handler answers with it when the app passes the error on. */
  readonly status = 401;

  constructor() {
    super("logIn: the session has ended meanwhile, so it cannot be renewed. The user has to log in again.");
    this.name = "SessionEndedError";
  }
}
