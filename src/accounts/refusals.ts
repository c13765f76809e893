import { challenge } from "../core/http/authorization.js";
import type { Refusal } from "../core/response/problem.js";

/** RFC 9110 section 11.6.1: a 401 says how to authenticate. */
const HEADERS = Object.freeze({ "WWW-Authenticate": challenge("Session") });

/**
 * The one answer to a log-in that failed, whatever the reason: a wrong password, an unknown name, a disabled person. The
 * reason goes into the event alone.
 */
export function invalidCredentials(reason: string, subject?: string): Refusal {
  return {
    code: "invalid-credentials",
    reason,
    detail: "The name or the proof is not right.",
    headers: HEADERS,
    ...(subject === undefined ? {} : { subject }),
  };
}

/** There is no log-in to go on with: it ended, or another browser began it. */
export const NO_PENDING: Refusal = Object.freeze({
  code: "invalid-credentials",
  reason: "no-log-in",
  detail: "There is no log-in to go on with. Log in again.",
  headers: HEADERS,
});

/** A request without a session or a token of a person. */
export const NOT_LOGGED_IN: Refusal = Object.freeze({ code: "missing-credentials", reason: "none", headers: HEADERS });

/** A request whose session or token was ended after it had begun. */
export const SESSION_ENDED: Refusal = Object.freeze({ ...NOT_LOGGED_IN, reason: "session-ended" });

/** A credential of a program, or of someone who acts for another, changes nothing in an account. */
export const NOT_IN_PERSON: Refusal = Object.freeze({
  code: "insufficient-scope",
  reason: "not-in-person",
  detail: "Only the person themselves can do this, logged in with their own session or token.",
});

/** A link that was used, was replaced, has ended, or never was. */
export function linkEnded(reason: string, event?: Refusal["event"]): Refusal {
  return {
    code: "invalid-credentials",
    reason,
    detail: "This link has ended or was used, or is not complete. Ask for a new one.",
    headers: HEADERS,
    ...(event === undefined ? {} : { event }),
  };
}

/** A new password that another request was faster than. */
export const CHANGED_MEANWHILE: Refusal = Object.freeze({
  code: "conflict",
  reason: "password-changed-meanwhile",
  detail: "Another request has changed the password or the second factor. Try again.",
  event: "authn_password_change_fail",
});

/** A new password against the rules. @param reasons words for programs and pages */
export function passwordRefused(reasons: readonly string[], subject?: string): Refusal {
  return {
    code: "password-refused",
    reason: reasons[0] ?? "refused",
    members: { reasons },
    ...(subject === undefined ? {} : { subject }),
  };
}

/** The app has no sessions, or issues no tokens. */
export const NO_TOKENS: Refusal = {
  code: "invalid-request",
  reason: "tokens-off",
  detail: "This service delivers no tokens: leave deliver out.",
};
export const NO_SESSIONS: Refusal = {
  code: "invalid-request",
  reason: "sessions-off",
  detail: 'This service has no sessions: send "deliver": "tokens".',
};
