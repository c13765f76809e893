import { InvalidInputError } from "../core/portcullis-error.js";
import type { Request, Response } from "express";
import { expressSession, type Session } from "../stores/express-session.js";
import { stateOf } from "../core/request-state.js";
import { defineSessionProperties } from "./companions.js";
import { SessionHost, serialise, type LiveSession, type SessionContext } from "./express-session.js";
import { findSession, type FoundSession } from "./find-session.js";
import type { AdoptedSession } from "./former-sessions.js";
import { holdResponse } from "../core/response/held-response.js";
import { resolveMaybe } from "../core/maybe-promise.js";
import { principalOf } from "./metadata.js";
import { announceCreated, type CommittedSession, SessionCommit } from "./session-commit.js";
import type { LoadedSession } from "./session-repository.js";

/**
 * The session of one request: loaded when the request has a cookie, created when first read. `commit` saves it before
 * the response is sent.
 */
export class RequestSession implements CommittedSession {
  readonly context: SessionContext;
  readonly req: Request;
  readonly res: Response;
  #host: SessionHost | undefined;
  /** The session that the cookie identifies; its object is created when it is first read. */
  #loaded: LoadedSession | undefined;
  #hasCompanions = false;
  #watched = false;
  /**
   * The request was sent before the response to a log-in arrived: a new session created here would replace the
   * logged-in one.
   */
  isBehindLogIn = false;
  /** The adopted session of express-session, whose old cookie the response must clear. */
  adopted: AdoptedSession | undefined;

  #commit: SessionCommit | undefined;

  constructor(context: SessionContext, req: Request, res: Response) {
    this.context = context;
    this.req = req;
    this.res = res;
  }

  /** Saves the session, and puts its cookie on the response. */
  get commit(): SessionCommit {
    return (this.#commit ??= new SessionCommit(this));
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
    if (!(value instanceof expressSession().Session) || value.id !== host.sessionID) {
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
          if (typeof found === "string") this.isBehindLogIn = found === "behind-log-in";
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
    this.adopted = adopted;
    this.#host = undefined;
    const who = principalOf(handle, loaded.metadata);
    if (who !== undefined) this.req.principal = who;
    if (adopted?.isNew === true) announceCreated(this, "adopted");
    if (renewed === undefined) return;
    // The expiry was extended: this response sets the cookie again.
    const host = this.open();
    host.metadata = renewed;
    host.saved = true;
    this.watch();
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
      if (host.metadata?.principal != null) this.#followDestroy(host.session);
    }
    this.#watched = true;
    if (!this.res.writableEnded) holdResponse(this.res, stateOf(this.req), this.commit);
  }

  /** `destroy` of express-session does not clear `req.principal`; this does. */
  #followDestroy(live: Session): void {
    const drop = (): void => this.#dropPrincipal();
    const destroy = function destroy(this: Session, callback: (error: unknown) => void): Session {
      drop();
      return expressSession().Session.prototype.destroy.call(this, callback);
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
}
