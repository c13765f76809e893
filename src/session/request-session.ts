import { InvalidInputError } from "../core/portcullis-error.js";
import type { Request, Response } from "express";
import session from "express-session";
import { refuse } from "../core/response/refuse.js";
import { requestContext } from "../core/request-events.js";
import { beginState, stateOf } from "../core/request-state.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import { defineSessionProperties } from "./companions.js";
import { expiryOf } from "./decide.js";
import { SessionHost, serialise, type LiveSession, type SessionContext } from "./express-session.js";
import { findSession, type FoundSession } from "./find-session.js";
import type { AdoptedSession } from "./former-sessions.js";
import { holdResponse, type BeforeSend } from "../core/response/held-response.js";
import { mapMaybe, resolveMaybe, type MaybePromise } from "../core/maybe-promise.js";
import { principalOf } from "./metadata.js";
import type { LoadedSession } from "./session-repository.js";

const UNAVAILABLE = { code: "store-unavailable", event: false } as const;

/**
 * The session of one request: loaded when the request has a cookie, created when first read, saved before the response
 * is sent.
 */
export class RequestSession implements BeforeSend {
  readonly context: SessionContext;
  readonly req: Request;
  readonly res: Response;
  #host: SessionHost | undefined;
  /** The session that the cookie identifies; its object is created when it is first read. */
  #loaded: LoadedSession | undefined;
  #hasCompanions = false;
  #watched = false;
  /** A log-in in progress; the response waits for it. */
  #underWay: Promise<void> | undefined;
  #unserialisable = false;
  #unset = false;
  /** The response makes the browser clear this site's data. */
  #clearsSite = false;
  /**
   * The request was sent before the response to a log-in arrived: a new session created here would replace the
   * logged-in one.
   */
  #isBehindLogIn = false;
  /** The adopted session of express-session, whose old cookie the response must clear. */
  #adopted: AdoptedSession | undefined;

  constructor(context: SessionContext, req: Request, res: Response) {
    this.context = context;
    this.req = req;
    this.res = res;
  }

  /**
   * Returns the host with its session. A request without a valid cookie gets a new session, which is not stored until
   * it is saved.
   */
  open(): SessionHost {
    if (this.#host === undefined) {
      const host = new SessionHost();
      host.caller = stateOf(this.req);
      host.onIdentityLost = () => this.#dropPrincipal();
      if (this.#loaded === undefined) this.context.adapter.create(host);
      else this.context.adapter.restore(host, this.#loaded);
      this.#host = host;
      this.#bindCompanions();
    }
    return this.#host;
  }

  /** The request's existing session, loaded or new; this getter creates none. */
  get opened(): SessionHost | undefined {
    return this.#loaded === undefined ? this.#host : this.open();
  }

  /** `req.session` */
  read(): LiveSession | null | undefined {
    this.watch();
    return this.open().session;
  }

  /**
   * `req.session = value`: assigning null or undefined ends the session, as with express-session's `unset: "destroy"`.
   *
   * @throws InvalidInputError for anything but null, undefined or the session itself
   */
  assign(value: unknown): void {
    const host = this.open();
    this.watch();
    if (value == null) {
      host.session = null;
      this.#dropPrincipal();
      return;
    }
    if (value === host.session) return;
    if (!(value instanceof session.Session) || value.id !== host.sessionID) {
      throw new InvalidInputError(
        "req.session cannot be replaced. Set its properties instead, or set it to null to end the session.",
      );
    }
    host.session = value;
  }

  /**
   * Loads the session that the request's cookies identify; see `findSession`.
   *
   * @param done called once, with an error when the store did not respond
   */
  load(value: string | undefined, oldSid: string | undefined, done: (error?: unknown) => void): void {
    resolveMaybe(
      () => findSession(this.context, value, oldSid, stateOf(this.req)),
      (found) => {
        try {
          this.#bindCompanions();
          if (typeof found === "string") this.#isBehindLogIn = found === "behind-log-in";
          else this.#take(found);
        } catch (error) {
          done(error);
          return;
        }
        done();
      },
      done,
    );
  }

  /** Accepts the loaded session. @throws TypeError when the store returned data that JSON cannot represent */
  #take({ loaded, handle, renewed, adopted }: FoundSession): void {
    this.#loaded = loaded;
    this.#adopted = adopted;
    this.#host = undefined;
    const who = principalOf(handle, loaded.stamp);
    if (who !== undefined) this.req.principal = who;
    if (adopted?.isNew === true) this.#announceCreated("adopted");
    if (renewed === undefined) return;
    // The expiry was extended: this response sets the cookie again.
    const host = this.open();
    host.stamp = renewed;
    host.saved = true;
    this.watch();
  }

  /** After a log-out: the response clears the cookie and makes the browser clear this site's data. */
  takeBack(): void {
    if (this.res.headersSent) {
      // A response that the app has ended waits for the log-out, and gets these headers when it is sent.
      this.#unset = true;
      this.#clearsSite = true;
    } else this.#clearBrowser(stateOf(this.req).headersOf(this.res), true);
  }

  #clearBrowser(headers: HeaderBuffer, site: boolean): void {
    this.context.cookie.clear(headers);
    if (!site) return;
    // Browsers honour it over https only.
    this.res.setHeader("Clear-Site-Data", '"cache", "cookies", "storage"');
    this.res.setHeader("Cache-Control", "no-store");
  }

  /**
   * Makes the response wait for the session.
   *
   * @throws TypeError when the store returned data that JSON cannot represent
   */
  watch(): void {
    if (this.#watched) return;
    const host = this.open();
    if (host.session != null) {
      if (host.storedId !== undefined) host.storedJson ??= serialise(host.session);
      if (host.stamp?.principal != null) this.#followDestroy(host.session);
    }
    this.#watched = true;
    if (!this.res.writableEnded) holdResponse(this.res, stateOf(this.req), this);
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
   * Whether the response must wait.
   *
   * @throws TypeError once, when JSON cannot represent the app's data; the error response is then sent
   */
  isPending(): boolean {
    if (this.#underWay !== undefined) return true;
    const host = this.open();
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
    const host = this.open();
    const live = host.session;
    try {
      if (live == null) return this.#orRefused(mapMaybe(this.#endUnset(host), () => true));
      if (!host.isDirty(live)) return true;
      // A new session whose id can no longer be sent would be unreachable.
      if (host.storedId === undefined && this.res.headersSent) return true;
      const fresh = host.storedId === undefined;
      if (fresh && this.#isBehindLogIn) return true;
      return this.#orRefused(
        mapMaybe(this.context.adapter.save(host, live), (outcome) => {
          if (fresh && outcome === "written") this.#announceCreated("anonymous");
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
    const { cookie, stored } = this.context;
    const host = this.open();
    if (this.res.headersSent) return;
    const headers = stateOf(this.req).headersOf(this.res);
    if (this.#adopted !== undefined) this.context.former?.takeBack(headers, this.#adopted);
    const sid = host.storedId;
    if (this.#unset) this.#clearBrowser(headers, this.#clearsSite);
    else if (host.saved && sid !== undefined && !host.ended && !stored.hasEnded(sid))
      cookie.set(headers, sid, this.#lifeSeconds(host));
    this.#unset = false;
    host.saved = false;
  }

  onRefused(): void {
    beginState(this.req, this.context.runtime);
    refuse(this.req, this.res, "session", { ...UNAVAILABLE, reason: "session-not-saved" });
  }

  /** `destroy` of express-session does not clear `req.principal`; this does. */
  #followDestroy(live: session.Session): void {
    const drop = (): void => this.#dropPrincipal();
    const destroy = function destroy(this: session.Session, callback: (error: unknown) => void): session.Session {
      drop();
      return session.Session.prototype.destroy.call(this, callback);
    };
    Object.defineProperty(live, "destroy", { configurable: true, enumerable: false, writable: true, value: destroy });
  }

  #dropPrincipal(): void {
    if (this.req.principal?.kind === "session") this.req.principal = undefined;
  }

  #bindCompanions(): void {
    if (this.#hasCompanions) return;
    this.#hasCompanions = true;
    defineSessionProperties(this.req);
  }

  #endUnset(host: SessionHost): MaybePromise<void> {
    const { stored } = this.context;
    const sid = host.storedId;
    if (sid === undefined) return undefined;
    return mapMaybe(stored.hasEnded(sid) ? undefined : stored.end(sid), () => {
      host.reset();
      this.#unset = true;
    });
  }

  #lifeSeconds({ stamp }: SessionHost): number {
    const { stored, options } = this.context;
    if (stamp === undefined) return options.maxAge;
    return Math.max(1, Math.ceil((expiryOf(stamp, stored.policy) - stored.now()) / 1000));
  }

  #orRefused(answer: MaybePromise<boolean>): MaybePromise<boolean> {
    return answer instanceof Promise ? answer.catch(() => this.#mayPassUnsaved) : answer;
  }

  get #mayPassUnsaved(): boolean {
    return this.context.options.mode === "report";
  }

  #announceCreated(reason: "anonymous" | "adopted"): void {
    this.context.runtime.events.emit("session_created", () => ({
      source: "session",
      reason,
      ...requestContext(this.req),
    }));
  }
}
