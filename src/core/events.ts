import { EventEmitter } from "node:events";
import { nearest } from "../settings/nearest.js";

/**
 * Names of the OWASP Logging Vocabulary where it has one, and our own under `portcullis_` where it has none.
 * The level is the vocabulary's; where a reason is everyday traffic, its event has a lower one.
 * https://cheatsheetseries.owasp.org/cheatsheets/Logging_Vocabulary_Cheat_Sheet.html
 */
export const EVENT_LEVELS = {
  authn_login_success: "INFO",
  authn_login_fail: "WARN",
  authn_login_fail_max: "WARN",
  authn_token_created: "INFO",
  authn_token_revoked: "INFO",
  authn_token_reuse: "CRITICAL",
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
  portcullis_untrusted_host: "WARN",
  portcullis_untrusted_proxy: "WARN",
  portcullis_store_unavailable: "WARN",
  portcullis_store_recovered: "INFO",
  portcullis_store_late: "WARN",
  portcullis_overload: "WARN",
  portcullis_misconfigured: "CRITICAL",
  portcullis_layer_failed: "CRITICAL",
  portcullis_credential_accepted: "INFO",
} as const;

export type SecurityEventName = keyof typeof EVENT_LEVELS;

/** Comes with every request of somebody, so only to whoever asks for it by its name. */
const BY_NAME_ALONE: SecurityEventName = "portcullis_credential_accepted";

/** One security event; every text in it is one line. Never holds a credential, a cookie, a body or a query string. */
export interface SecurityEvent {
  readonly event: SecurityEventName;
  readonly level: "INFO" | "WARN" | "CRITICAL";
  /** ISO 8601 in UTC. */
  readonly datetime: string;
  /** The layer or service that saw it: "cors", "api-key", … */
  readonly source: string;
  /** Low-cardinality reason, fit for a metric label. */
  readonly reason?: string;
  /** The environment variable that names the server: "REDIS_URL", "DATABASE_URL"; for outages, when `settingsFromEnv` read it. */
  readonly variable?: string;
  /** "report" when the layer only reports and let the request pass. */
  readonly mode?: "enforce" | "report";
  /** Refusal code and HTTP status, for refusals. */
  readonly code?: string;
  readonly status?: number;
  /** Who: `Principal.id`, when known. */
  readonly subject?: string;
  /** `Principal.credentialId`, key id, token id or family id. Never the credential. */
  readonly credentialId?: string;
  /** The client's address, from trusted data only. */
  readonly sourceIp?: string;
  readonly method?: string;
  /** The path without its query string, control bytes escaped, credentials masked, at most 256 characters. */
  readonly path?: string;
}

/** What an emitter says of an event; `level` where it is not that of the name. */
export type SecurityEventDetails = Omit<SecurityEvent, "event" | "level" | "datetime"> &
  Partial<Pick<SecurityEvent, "level">>;
export type SecurityEventListener = (event: SecurityEvent) => void;

/**
 * Where every refusal, credential change and session change is announced. `on(name, listener)` for one kind,
 * `on("*", listener)` for all but `portcullis_credential_accepted`. A listener that throws, or is asynchronous and rejects, is reported by
 * `process.emitWarning`; it touches neither the request nor the listeners after it.
 */
export class SecurityEvents {
  readonly #emitter = new EventEmitter({ captureRejections: false }).setMaxListeners(0);
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** @throws TypeError when there is no event of this name, or the listener is no function */
  on(name: SecurityEventName | "*", listener: SecurityEventListener): this {
    checkListening(name, listener);
    this.#emitter.on(name, listener);
    return this;
  }

  /** @throws TypeError when there is no event of this name, or the listener is no function */
  once(name: SecurityEventName | "*", listener: SecurityEventListener): this {
    checkListening(name, listener);
    this.#emitter.once(name, listener);
    return this;
  }

  off(name: SecurityEventName | "*", listener: SecurityEventListener): this {
    this.#emitter.off(name, listener);
    return this;
  }

  listenerCount(name: SecurityEventName | "*"): number {
    return this.#emitter.listenerCount(name);
  }

  /** Announces an event. `details` is only called when somebody listens, so that an event costs nothing otherwise. */
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
    // One by one: `EventEmitter.emit` stops at the first that throws, and leaves rejections to end the process.
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

/** From JavaScript a misspelt name would be a listener that never hears anything. */
function checkListening(name: string, listener: unknown): void {
  if (typeof listener !== "function")
    throw new TypeError("A listener must be a function: events.on(name, (event) => …).");
  if (name === "*" || Object.hasOwn(EVENT_LEVELS, name)) return;
  const known = Object.keys(EVENT_LEVELS);
  const near = nearest(String(name), known);
  throw new TypeError(
    `There is no event of this name. ${near === undefined ? `Write "*" or one of: ${known.join(", ")}.` : `Did you mean "${near}"?`}`,
  );
}

/**
 * What ends a line for some reader of logs, or moves a terminal: controls of C0 and C1 (U+0085 among them), U+2028 and U+2029.
 * `JSON.stringify` escapes only the first of these.
 */
const BREAKS_LINES = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const ALL_BREAKS = new RegExp(BREAKS_LINES, "g");

/** The same with those characters written as `\\u2028`. */
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
