import type { Request } from "express";
import { InvalidInputError } from "../core/portcullis-error.js";
import { requestContext } from "../core/request-events.js";
import type { Runtime } from "../core/runtime.js";

/** A failed log-in. */
export interface LoginFailure {
  /** The user's id, where the app knows it. Text over 255 characters is left out of the event. */
  readonly id?: string | number;
  /** Why it failed, for the event only: 1 to 64 letters, digits, `-` or `_`, such as `wrong-password`. */
  readonly reason: string;
}

const MAX_ID_LENGTH = 255;

/** Announces a failed log-in. @throws InvalidInputError when the reason is malformed */
export function loginFailed(req: Request, { id, reason }: LoginFailure, runtime: Runtime): void {
  // A reason is a label of a metric. Text that a client chose would have no bound.
  if (typeof reason !== "string" || !/^[A-Za-z0-9_-]{1,64}$/.test(reason))
    throw new InvalidInputError("loginFailed: reason must be 1 to 64 letters, digits, '-' or '_'.");
  const subject = id === undefined ? "" : String(id);
  runtime.events.emit("authn_login_fail", () => ({
    source: "login",
    reason,
    ...requestContext(req),
    ...(subject === "" || subject.length > MAX_ID_LENGTH ? {} : { subject }),
  }));
}
