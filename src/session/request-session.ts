import type { Request, Response } from "express";
import session from "express-session";
import { refuse, requestFacts } from "../core/response/refuse.js";
import { beginState, stateOf } from "../core/request-state.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import type { SessionStamp } from "../stores/session-record.js";
import { bindCompanions } from "./request-properties.js";
import { expiryOf, isTouchDue } from "./decide.js";
import { SessionCarrier, serialise, type LiveSession, type SessionContext } from "./express-session.js";
import type { AdoptedSession, FormerSessions } from "./former-sessions.js";
import { holdResponse, type Commit } from "../core/response/held-response.js";
import { andThen, settle, type Maybe } from "../core/maybe-promise.js";
import { sessionHandle } from "./session-cookie.js";
import { appData, principalOf } from "./metadata.js";
import type { LoadedSession } from "./session-repository.js";

const UNAVAILABLE = { code: "store-unavailable", event: false } as const;

/** The session of one request: nothing until it is read, loaded when a cookie came, committed before the answer leaves. */
export class RequestSession implements Commit {
  readonly context: SessionContext;
  readonly req: Request;
  readonly res: Response;
  #carrier: SessionCarrier | undefined;
  /** The session that the cookie names, of which nothing is made until somebody reads it. */
  #loaded: LoadedSession | undefined;
  #hasCompanions = false;
  #watched = false;
  /** A log-in under way: the answer waits for it. */
  #underWay: Promise<void> | undefined;
  #unserialisable = false;
  #unset = false;
  /** The answer tells the browser to forget this site. */
  #clearsSite = false;
  /** The request was sent before the answer to a log-in came: a session begun here would take the place of the one logged in. */
  #isBehindLogIn = false;
  /** The session of express-session that this one goes on with, whose cookie is to be taken back. */
  #adopted: AdoptedSession | undefined;

  constructor(context: SessionContext, req: Request, res: Response) {
    this.context = context;
    this.req = req;
    this.res = res;
  }

  /** The carrier, filled: a request without a valid cookie gets a new session that nobody knows until it is saved. */
  open(): SessionCarrier {
    if (this.#carrier === undefined) {
      const carrier = new SessionCarrier();
      carrier.onIdentityLost = () => this.#dropPrincipal();
      if (this.#loaded === undefined) this.context.engine.begin(carrier);
      else this.context.engine.resume(carrier, this.#loaded);
      this.#carrier = carrier;
      this.#bindCompanions();
    }
    return this.#carrier;
  }

  /** The session, when there is one; none is begun. */
  get opened(): SessionCarrier | undefined {
    return this.#loaded === undefined ? this.#carrier : this.open();
  }

  /** `req.session` */
  read(): LiveSession | null | undefined {
    this.watch();
    return this.open().session;
  }

  /**
   * `req.session = value`: nothing ends the session, as with express-session's `unset: "destroy"`.
   *
   * @throws TypeError for anything but null, undefined or the session itself
   */
  assign(value: unknown): void {
    const carrier = this.open();
    this.watch();
    if (value == null) {
      carrier.session = null;
      this.#dropPrincipal();
      return;
    }
    if (value === carrier.session) return;
    if (!(value instanceof session.Session) || value.id !== carrier.sessionID) {
      throw new TypeError(
        "req.session can be set to null, which ends it; set properties on it instead of replacing it.",
      );
    }
    carrier.session = value;
  }

  /**
   * Loads the session that the cookie names. Without such a session the caller is anonymous, and the id is not adopted.
   *
   * @param value of our cookie, of the spelling that `readSessionCookie` takes
   * @param oldSid from the cookie that `migrateFrom` names, for a caller without a session of ours
   * @param done called once, with an error when the store did not answer
   */
  load(value: string | undefined, oldSid: string | undefined, done: (error?: unknown) => void): void {
    const { cookie, stored, former } = this.context;
    const name = value === undefined ? undefined : cookie.read(value);
    settle(
      () => (name === undefined ? undefined : stored.load(name.sid)),
      (loaded) => {
        this.#bindCompanions();
        if (name === undefined || loaded === undefined) {
          this.#isBehindLogIn = name !== undefined && stored.wasReplaced(name.sid);
          if (former === undefined || oldSid === undefined) done();
          else this.#adopt(former, oldSid, done);
          return;
        }
        this.#loaded = loaded;
        this.#carrier = undefined;
        const who = principalOf(name.handle, loaded.stamp);
        if (who !== undefined) this.req.principal = who;
        if (isTouchDue(loaded.stamp, stored.policy, stored.now())) this.#touch(loaded, done);
        else done();
      },
      done,
    );
  }

  /** Goes on with a session that express-session began; the answer brings the new cookie and ends the old one. */
  #adopt(former: FormerSessions, oldSid: string, done: (error?: unknown) => void): void {
    settle(
      () => former.adopt(oldSid),
      (adopted) => {
        if (adopted === undefined) {
          this.#isBehindLogIn ||= former.wasReplaced(oldSid);
          done();
          return;
        }
        this.#loaded = adopted;
        this.#carrier = undefined;
        this.#adopted = adopted;
        const who = principalOf(sessionHandle(adopted.sid), adopted.stamp);
        if (who !== undefined) this.req.principal = who;
        if (adopted.isNew) this.#announceCreated("adopted");
        this.#renew(adopted.stamp, done);
      },
      done,
    );
  }

  /** After a log-out: the answer takes the cookie back and tells the browser to forget this site. */
  takeBack(): void {
    if (this.res.headersSent) {
      // An answer that the app has given waits for the log-out, and gets these when it goes.
      this.#unset = true;
      this.#clearsSite = true;
    } else this.#clearBrowser(stateOf(this.req).headersOf(this.res), true);
  }

  #clearBrowser(headers: HeaderBuffer, site: boolean): void {
    this.context.cookie.take(headers);
    if (!site) return;
    // Browsers heed it over https only.
    this.res.setHeader("Clear-Site-Data", '"cache", "cookies", "storage"');
    this.res.setHeader("Cache-Control", "no-store");
  }

  /** From now on the response waits for the session. @throws TypeError when the store gave what JSON cannot carry */
  watch(): void {
    if (this.#watched) return;
    const carrier = this.open();
    if (carrier.session != null) {
      if (carrier.storedId !== undefined) carrier.storedJson ??= serialise(carrier.session);
      if (carrier.stamp?.principal != null) this.#followDestroy(carrier.session);
    }
    this.#watched = true;
    if (!this.res.writableEnded) holdResponse(this.res, stateOf(this.req), this);
  }

  /** Holds the answer back until `work` is done, whatever becomes of it. */
  waitFor(work: Promise<void>): void {
    const done = (): void => {
      if (this.#underWay === settled) this.#underWay = undefined;
    };
    const settled: Promise<void> = work.then(done, done);
    this.#underWay = settled;
  }

  /** @throws TypeError once, when the app put something on its session that JSON cannot carry; the error answer then passes */
  isPending(): boolean {
    if (this.#underWay !== undefined) return true;
    const carrier = this.open();
    if (carrier.session == null) return carrier.storedId !== undefined;
    if (this.#unserialisable) return false;
    try {
      return this.#isDirty(carrier, carrier.session) || carrier.saved;
    } catch (error) {
      this.#unserialisable = true;
      throw error;
    }
  }

  run(): Maybe<boolean> {
    if (this.#underWay !== undefined) return this.#underWay.then(() => this.run());
    const carrier = this.open();
    const live = carrier.session;
    try {
      if (live == null) return this.#orRefused(andThen(this.#endUnset(carrier), () => true));
      if (!this.#isDirty(carrier, live)) return true;
      // An id that the answer can no longer carry would be a session nobody has.
      if (carrier.storedId === undefined && this.res.headersSent) return true;
      const fresh = carrier.storedId === undefined;
      if (fresh && this.#isBehindLogIn) return true;
      return this.#orRefused(
        andThen(this.context.engine.save(carrier, live), (outcome) => {
          if (fresh && outcome === "written") this.#announceCreated("anonymous");
          return outcome !== "full" || this.#mayPassUnsaved;
        }),
      );
    } catch {
      return this.#mayPassUnsaved;
    }
  }

  /** Puts the cookie on the answer: as late as possible, so that it is not one of a session that has ended meanwhile. */
  onGranted(): void {
    const { cookie, stored } = this.context;
    const carrier = this.open();
    if (this.res.headersSent) return;
    const headers = stateOf(this.req).headersOf(this.res);
    if (this.#adopted !== undefined) this.context.former?.takeBack(headers, this.#adopted);
    const sid = carrier.storedId;
    if (this.#unset) this.#clearBrowser(headers, this.#clearsSite);
    else if (carrier.saved && sid !== undefined && !carrier.ended && !stored.hasEnded(sid))
      cookie.give(headers, sid, this.#lifeSeconds(carrier));
    this.#unset = false;
    carrier.saved = false;
  }

  onRefused(): void {
    beginState(this.req, this.context.runtime);
    refuse(this.req, this.res, "session", { ...UNAVAILABLE, reason: "session-not-saved" });
  }

  /** `destroy` of express-session knows nothing of `req.principal`. */
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
    bindCompanions(this.req);
  }

  #touch({ sid, record, stamp }: LoadedSession, done: (error?: unknown) => void): void {
    const { stored } = this.context;
    const touched = { ...stamp, seenAt: stored.now() };
    settle(
      () => stored.touch(sid, appData(record), touched),
      (outcome) => (outcome === "written" ? this.#renew(touched, done) : done()),
      // Who the caller is was proved a moment ago; the session merely ends earlier. The guard has announced the outage.
      () => done(),
    );
  }

  /** The session's end has moved: the browser is told with this answer. */
  #renew(touched: SessionStamp, done: (error?: unknown) => void): void {
    try {
      const carrier = this.open();
      carrier.stamp = touched;
      carrier.saved = true;
      this.watch();
    } catch (error) {
      done(error);
      return;
    }
    done();
  }

  #isDirty(carrier: SessionCarrier, live: LiveSession): boolean {
    if (carrier.ended) return false;
    const json = serialise(live);
    if (carrier.storedId === carrier.sessionID) return json !== carrier.storedJson;
    return json !== "{}" || carrier.sessionID !== carrier.firstId;
  }

  #endUnset(carrier: SessionCarrier): Maybe<void> {
    const { stored } = this.context;
    const sid = carrier.storedId;
    if (sid === undefined) return undefined;
    return andThen(stored.hasEnded(sid) ? undefined : stored.end(sid), () => {
      carrier.reset();
      this.#unset = true;
    });
  }

  #lifeSeconds({ stamp }: SessionCarrier): number {
    const { stored, options } = this.context;
    if (stamp === undefined) return options.maxAge;
    return Math.max(1, Math.ceil((expiryOf(stamp, stored.policy) - stored.now()) / 1000));
  }

  #orRefused(answer: Maybe<boolean>): Maybe<boolean> {
    return answer instanceof Promise ? answer.catch(() => this.#mayPassUnsaved) : answer;
  }

  get #mayPassUnsaved(): boolean {
    return this.context.options.mode === "report";
  }

  #announceCreated(reason: "anonymous" | "adopted"): void {
    this.context.runtime.events.emit("session_created", () => ({
      source: "session",
      reason,
      ...requestFacts(this.req),
    }));
  }
}
