import type { Request, Response } from "express";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import { requestContext } from "../core/request-events.js";
import { beginState, stateOf } from "../core/request-state.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import type { BeforeSend } from "../core/response/held-response.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import { expiryOf } from "./decide.js";
import { cookieFor, type SessionContext, type SessionHost } from "./express-session.js";
import type { AdoptedSession } from "./former-sessions.js";

/** The session of a request, as the commit needs it. */
export interface CommittedSession {
  readonly context: SessionContext;
  readonly req: Request;
  readonly res: Response;
  /** A new session would replace the one of a log-in whose response the client had not received yet. */
  readonly isBehindLogIn: boolean;
  /** The adopted session of express-session, whose old cookie the response must clear. */
  readonly adopted: AdoptedSession | undefined;
  open(): SessionHost;
}

const UNAVAILABLE: Refusal & { readonly isImmediate: true } = {
  code: "store-unavailable",
  reason: "session-not-saved",
  headers: RETRY_SOON,
  event: false,
  isImmediate: true,
};

/** Saves the session of a request before its response is sent, and puts the cookie on the response. */
export class SessionCommit implements BeforeSend {
  readonly #session: CommittedSession;
  /** A log-in in progress; the response waits for it. */
  #underWay: Promise<void> | undefined;
  #unserialisable = false;
  #unset = false;
  /** What the response makes the browser clear: the value of Clear-Site-Data. */
  #clearsSite: string | undefined;

  constructor(session: CommittedSession) {
    this.#session = session;
  }

  /** Delays the response until `work` settles, whether or not it succeeds. */
  waitFor(work: Promise<void>): void {
    const done = (): void => {
      if (this.#underWay === settled) this.#underWay = undefined;
    };
    const settled: Promise<void> = work.then(done, done);
    this.#underWay = settled;
  }

  /**
   * After a log-out: the response clears the cookie and makes the browser clear this site's data.
   *
   * @param siteData the value of Clear-Site-Data; `undefined` sends none
   */
  clear(siteData: string | undefined): void {
    if (this.#session.res.headersSent) {
      // A response that the app has ended waits for the log-out, and gets these headers when it is sent.
      this.#unset = true;
      this.#clearsSite = siteData;
    } else this.#clearBrowser(stateOf(this.#session.req).headersOf(this.#session.res), siteData);
  }

  /**
   * Whether the response must wait.
   *
   * @throws TypeError once, when JSON cannot represent the app's data; the error response is then sent
   */
  isPending(): boolean {
    if (this.#underWay !== undefined) return true;
    const host = this.#session.open();
    if (host.session == null) return host.storedId !== undefined;
    if (this.#unserialisable) return false;
    try {
      return host.isDirty(host.session) || host.saved;
    } catch (error) {
      this.#unserialisable = true;
      throw error;
    }
  }

  run(): MaybePromise<boolean> {
    if (this.#underWay !== undefined) return this.#underWay.then(() => this.run());
    const host = this.#session.open();
    const live = host.session;
    try {
      if (live == null) return this.#orRefused(mapMaybe(this.#endUnset(host), () => true));
      if (!host.isDirty(live)) return true;
      // A new session whose id can no longer be sent would be unreachable.
      if (host.storedId === undefined && this.#session.res.headersSent) return true;
      const fresh = host.storedId === undefined;
      if (fresh && this.#session.isBehindLogIn) return true;
      return this.#orRefused(
        mapMaybe(this.#session.context.adapter.save(host, live), (outcome) => {
          if (fresh && outcome === "written") announceCreated(this.#session, "anonymous");
          return outcome !== "full" || this.#mayPassUnsaved;
        }),
      );
    } catch {
      return this.#mayPassUnsaved;
    }
  }

  /**
   * Sets the cookie on the response, as late as possible, so that it never belongs to a session that has ended
   * meanwhile.
   */
  onCommitted(): void {
    const { stored } = this.#session.context;
    const cookie = cookieFor(this.#session.context, this.#session.req);
    const host = this.#session.open();
    if (this.#session.res.headersSent) return;
    const headers = stateOf(this.#session.req).headersOf(this.#session.res);
    const { adopted } = this.#session;
    if (adopted !== undefined) this.#session.context.former?.clearCookie(headers, adopted);
    const sid = host.storedId;
    if (this.#unset) this.#clearBrowser(headers, this.#clearsSite);
    else if (host.saved && sid !== undefined && !host.ended && !stored.hasEnded(sid))
      cookie.set(headers, sid, this.#lifeSeconds(host));
    this.#unset = false;
    host.saved = false;
  }

  onRefused(): void {
    beginState(this.#session.req, this.#session.context.runtime);
    refuse(this.#session.req, this.#session.res, "session", UNAVAILABLE);
  }

  #clearBrowser(headers: HeaderBuffer, siteData: string | undefined): void {
    cookieFor(this.#session.context, this.#session.req).clear(headers);
    if (siteData === undefined) return;
    // Browsers honour it over https only.
    this.#session.res.setHeader("Clear-Site-Data", siteData);
    this.#session.res.setHeader("Cache-Control", "no-store");
  }

  #endUnset(host: SessionHost): MaybePromise<void> {
    const { stored } = this.#session.context;
    const sid = host.storedId;
    if (sid === undefined) return undefined;
    return mapMaybe(stored.hasEnded(sid) ? undefined : stored.end(sid), () => {
      host.reset();
      this.#unset = true;
    });
  }

  /** How long the browser keeps the cookie; `undefined` until it ends. */
  #lifeSeconds({ metadata }: SessionHost): number | undefined {
    const { stored, options } = this.#session.context;
    if (options.cookieLifetime === "browser" && metadata?.maxAgeMs === undefined) return undefined;
    if (metadata === undefined) return options.maxAge;
    return Math.max(1, Math.ceil((expiryOf(metadata, stored.policy) - stored.now()) / 1000));
  }

  #orRefused(answer: MaybePromise<boolean>): MaybePromise<boolean> {
    return answer instanceof Promise ? answer.catch(() => this.#mayPassUnsaved) : answer;
  }

  get #mayPassUnsaved(): boolean {
    return this.#session.context.options.mode === "report";
  }
}

/** Announces a new session: one without a log-in, or one of express-session that was adopted. */
export function announceCreated({ context, req }: CommittedSession, reason: "anonymous" | "adopted"): void {
  context.runtime.events.emit("session_created", () => ({
    source: "session",
    reason,
    ...requestContext(req),
  }));
}
