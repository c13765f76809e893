import { EventEmitter } from "node:events";
import { nearest } from "./nearest.js";

/**
 * Event names of the OWASP Logging Vocabulary, and our own names under `portcullis_` where it has none. Levels are
 * those of the vocabulary; an event whose reason is ordinary traffic has a lower one.
 * https://cheatsheetseries.owasp.org/cheatsheets/Logging_Vocabulary_Cheat_Sheet.html
 */
export const EVENT_LEVELS = {
  authn_login_success: "INFO",
  authn_login_fail: "WARN",
  authn_login_fail_max: "WARN",
  authn_login_lock: "WARN",
  authn_login_successafterfail: "INFO",
  authn_password_change: "INFO",
  authn_password_change_fail: "WARN",
  authn_token_created: "INFO",
  authn_token_revoked: "INFO",
  authn_token_reuse: "CRITICAL",
  authz_change: "WARN",
  authz_fail: "CRITICAL",
  excess_rate_limit_exceeded: "WARN",
  input_validation_fail: "WARN",
  malicious_cors: "CRITICAL",
  malicious_csrf: "WARN",
  session_created: "INFO",
  session_renewed: "INFO",
  session_expired: "INFO",
  session_logout: "INFO",
  session_use_after_expire: "CRITICAL",
  sys_startup: "WARN",
  sys_shutdown: "WARN",
  user_created: "WARN",
  user_updated: "WARN",
  portcullis_untrusted_host: "WARN",
  portcullis_untrusted_proxy: "WARN",
  portcullis_store_unavailable: "WARN",
  portcullis_store_recovered: "INFO",
  portcullis_store_late: "WARN",
  portcullis_overload: "WARN",
  portcullis_misconfigured: "CRITICAL",
  portcullis_layer_failed: "CRITICAL",
  portcullis_notice_failed: "WARN",
  portcullis_credential_accepted: "INFO",
} as const;

/** Name of an event; src/core/README.md lists them. */
export type SecurityEventName = keyof typeof EVENT_LEVELS;

/** Occurs with every authenticated request, so only listeners for this name receive it, not those for `"*"`. */
const BY_NAME_ALONE: SecurityEventName = "portcullis_credential_accepted";

/**
 * One security event. Every string in it is one line. It never contains a credential, a cookie, a body or a query
 * string.
 */
export interface SecurityEvent {
  /** Name of the event. */
  readonly event: SecurityEventName;
  /** How serious it is. */
  readonly level: "INFO" | "WARN" | "CRITICAL";
  /** ISO 8601 in UTC. */
  readonly datetime: string;
  /** The layer or service that emitted it: "cors", "api-key", … */
  readonly source: string;
  /** Low-cardinality reason, fit for a metric label. */
  readonly reason?: string;
  /**
   * For outages: the environment variable that names the server ("REDIS_URL", "DATABASE_URL"), when `settingsFromEnv`
   * read it.
   */
  readonly variable?: string;
  /** For outages of the keys of another issuer: the issuer. */
  readonly issuer?: string;
  /** "report" when the layer only reports and let the request pass. */
  readonly mode?: "enforce" | "report";
  /** Refusal code and HTTP status, for refusals. */
  readonly code?: string;
  /** Status of the response, if the request was refused. */
  readonly status?: number;
  /** `Principal.id` of the caller, when known. */
  readonly subject?: string;
  /** `Principal.actor.id`: who acts as the caller, in a session of an impersonation. */
  readonly actor?: string;
  /** `Principal.credentialId`, key id, token id or family id. Never the credential. */
  readonly credentialId?: string;
  /** The client's address, from trusted data only. */
  readonly sourceIp?: string;
  /** Method of the request. */
  readonly method?: string;
  /** The path without its query string, control bytes escaped, credentials masked, at most 256 characters. */
  readonly path?: string;
}

/** The details of an event that its emitter provides; `level` only where it differs from that of the name. */
export type SecurityEventDetails = Omit<SecurityEvent, "event" | "level" | "datetime"> &
  Partial<Pick<SecurityEvent, "level">>;
/** Called with each event after the decision: it cannot change what happens to the request. */
export type SecurityEventListener = (event: SecurityEvent) => void;

/**
 * Announces every refusal, credential change and session change. `on(name, listener)` listens for one kind,
 * `on("*", listener)` for all but `portcullis_credential_accepted`. If a listener throws, or is asynchronous and
 * rejects, `process.emitWarning` reports the error; it affects neither the request nor later listeners.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { rateLimiter, SecurityEvents } from "portcullis";
 *
 * const events = new SecurityEvents();
 * events.on("*", (event) => console.log(JSON.stringify(event)));
 * express().use(rateLimiter({ limit: 10 }, { events }));
 * ```
 */
export class SecurityEvents {
  readonly #emitter = new EventEmitter({ captureRejections: false }).setMaxListeners(0);
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /**
   * Calls `listener` for each event of this name, or for all with `"*"`.
   *
   * @throws TypeError when no event has this name, or the listener is not a function
   */
  on(name: SecurityEventName | "*", listener: SecurityEventListener): this {
    checkListening(name, listener);
    this.#emitter.on(name, listener);
    return this;
  }

  /**
   * Calls `listener` for the next event of this name.
   *
   * @throws TypeError when no event has this name, or the listener is not a function
   */
  once(name: SecurityEventName | "*", listener: SecurityEventListener): this {
    checkListening(name, listener);
    this.#emitter.once(name, listener);
    return this;
  }

  /** Removes a listener that `on` or `once` added. */
  off(name: SecurityEventName | "*", listener: SecurityEventListener): this {
    this.#emitter.off(name, listener);
    return this;
  }

  /** Number of listeners of this name. */
  listenerCount(name: SecurityEventName | "*"): number {
    return this.#emitter.listenerCount(name);
  }

  /**
   * Announces an event. `details` is called only when there is a listener, so that an event costs nothing otherwise.
   */
  emit(name: SecurityEventName, details: () => SecurityEventDetails): void {
    const direct = this.#emitter.listenerCount(name) > 0;
    const all = name !== BY_NAME_ALONE && this.#emitter.listenerCount("*") > 0;
    if (!direct && !all) return;
    const event: SecurityEvent = Object.freeze({
      event: name,
      level: EVENT_LEVELS[name],
      datetime: new Date(this.#now()).toISOString(),
      ...oneLine(details()),
    });
    if (direct) this.#deliver(name, event);
    if (all) this.#deliver("*", event);
  }

  #deliver(channel: string, event: SecurityEvent): void {
    const warn = (error: unknown): void => warnOfListener(event.event, error);
    // One by one: `EventEmitter.emit` stops at the first listener that throws, and lets a rejection end the process.
    for (const listener of this.#emitter.rawListeners(channel)) {
      try {
        const answer: unknown = Reflect.apply(listener, this.#emitter, [event]);
        if (answer instanceof Promise) answer.catch(warn);
      } catch (error) {
        warn(error);
      }
    }
  }
}

/** In JavaScript, a listener for a misspelt name would never be called. */
function checkListening(name: string, listener: unknown): void {
  if (typeof listener !== "function")
    throw new TypeError("A listener must be a function: events.on(name, (event) => …).");
  if (name === "*" || Object.hasOwn(EVENT_LEVELS, name)) return;
  const known = Object.keys(EVENT_LEVELS);
  const near = nearest(String(name), known);
  throw new TypeError(
    `There is no event with this name. ${near === undefined ? `Use "*" or one of: ${known.join(", ")}.` : `Did you mean "${near}"?`}`,
  );
}

/**
 * Characters that end a line for some log reader, or control a terminal: C0 and C1 controls (U+0085 among them),
 * U+2028 and U+2029. `JSON.stringify` escapes only the C0 controls.
 */
const BREAKS_LINES = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const ALL_BREAKS = new RegExp(BREAKS_LINES, "g");

/** Escapes those characters, as in `\\u2028`. */
function oneLine(details: SecurityEventDetails): SecurityEventDetails {
  const entries = Object.entries(details);
  if (!entries.some(([, value]) => typeof value === "string" && BREAKS_LINES.test(value))) return details;
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === "string" ? value.replace(ALL_BREAKS, escapeUnit) : value]),
  ) as unknown as SecurityEventDetails;
}

function escapeUnit(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function warnOfListener(name: SecurityEventName, error: unknown): void {
  process.emitWarning(`A listener of ${name} threw: ${error instanceof Error ? error.message : "not an Error"}`, {
    code: "PORTCULLIS_LISTENER",
  });
}
