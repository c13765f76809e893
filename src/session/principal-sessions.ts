import type { Runtime } from "../core/runtime.js";
import { StoreUnavailableError } from "../stores/health/store-guard.js";
import { StoreTime } from "../stores/health/store-time.js";
import { SetupError } from "../core/setup-error.js";
import type { PrincipalSession } from "../stores/contracts.js";
import type { Actor } from "../core/principal.js";
import { sessionHandle } from "./session-cookie.js";
import type { SessionRepository } from "./session-repository.js";

/** One session of a user, for a page that lists them. Times are milliseconds since the epoch. */
export interface SessionInfo {
  /** Identifies the session for `end`; equals `req.principal.credentialId` in a request of that session. Not its id. */
  readonly handle: string;
  /** When the session began, in milliseconds since the epoch. */
  readonly createdAt: number;
  /** The last recorded use; up to a minute old. */
  readonly lastSeenAt: number;
  /** When the session ends if it is not used, in milliseconds since the epoch. */
  readonly expiresAt: number;
  /** The `label` that `logIn` was given: a device, a place. */
  readonly label?: string;
  /** Who acts as this user in the session: the `actor` that `logIn` was given. */
  readonly actor?: Actor;
}

/** The sessions of one principal, for "log out everywhere". */
export interface SessionDirectory {
  /**
   * Lists the sessions of a principal, by its id. Our stores hold at most a thousand per principal
   * (`RedisSessionStore`: 100 unless set).
   *
   * @throws SetupError (rejects) when the store has no index of principals
   * @throws StoreUnavailableError (rejects) when the store did not respond within `storeTimeoutMs`
   */
  list(principalId: string | number): Promise<SessionInfo[]>;
  /**
   * Ends one session of a principal, or all of them. Returns the number of sessions ended. The whole call must finish
   * within `storeTimeoutMs`.
   *
   * @throws SetupError (rejects) when the store has no index of principals
   * @throws StoreUnavailableError (rejects) when the store did not end one of them in time. All have been tried, and
   * this process retries until the store has ended the sessions that began before the call. Later log-ins are kept.
   */
  end(principalId: string | number, handle?: string): Promise<number>;
}

/**
 * Lists and ends the sessions of one principal. Our stores limit the number of sessions per principal, so the cost does
 * not grow with the number of log-ins. One call makes one look-up and one store call for each session.
 */
export class PrincipalSessions {
  readonly #stored: SessionRepository;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;

  /** @param timeoutMs time limit for all store calls of one `end` together, in milliseconds */
  constructor(stored: SessionRepository, runtime: Runtime, timeoutMs: number) {
    this.#stored = stored;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
  }

  /** Lists the sessions of a principal. @throws SetupError (rejects) when the store has no index of principals */
  async list(principalId: string): Promise<SessionInfo[]> {
    this.#requireIndex();
    return (await this.#stored.listOf(principalId)).map(infoOf);
  }

  /**
   * Ends one session, or all. When the call is refused, this process retries it, once for each principal and handle,
   * until the store has ended the sessions that began before the call. Log-ins after the call are kept, in every
   * process.
   *
   * @throws SetupError (rejects) when the store has no index of principals
   * @throws StoreUnavailableError (rejects) when the store did not end one of them in time; all have been tried then
   */
  async end(principalId: string, handle: string | undefined): Promise<number> {
    this.#requireIndex();
    const end = new EndOfSessions(this.#stored, this.#runtime, principalId, handle);
    try {
      return await end.run(new StoreTime(this.#timeoutMs));
    } catch (error) {
      if (error instanceof StoreUnavailableError)
        this.#stored.repeat(`sessions ${JSON.stringify([principalId, handle])}`, () => end.run());
      throw error;
    }
  }

  /**
   * Ends all sessions of a principal but one, which a cut-off has ended already. Returns their number; `undefined` when it
   * is not known: the store has no index, or did not end all of them in time.
   *
   * @param isShared whether the cut-off holds in every process; otherwise a failure is the caller's
   */
  async endAllBut(principalId: string, keep: string | undefined, isShared: boolean): Promise<number | undefined> {
    if (!this.#stored.hasIndex) return undefined;
    const end = new EndOfSessions(this.#stored, this.#runtime, principalId, undefined, keep);
    try {
      return await end.run(new StoreTime(this.#timeoutMs));
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      this.#stored.repeat(`sessions ${JSON.stringify([principalId, "but", keep])}`, () => end.run());
      if (isShared) return undefined;
      throw error;
    }
  }

  #requireIndex(): void {
    if (this.#stored.hasIndex) return;
    throw new SetupError(
      "This session store cannot find the sessions of a principal, so they cannot be listed or ended. Use a store with the methods listByPrincipal and idsByPrincipal, such as MemorySessionStore.",
    );
  }
}

/** One call that ends sessions of a principal, and its retries. */
class EndOfSessions {
  readonly #stored: SessionRepository;
  readonly #runtime: Runtime;
  readonly #principalId: string;
  readonly #handle: string | undefined;
  readonly #keep: string | undefined;
  readonly #begunAt: number;
  /** The ids still to end; undefined until they have been looked up. */
  #left: Set<string> | undefined;
  /** Ids that the store may have ended although its response did not arrive. */
  readonly #inDoubt = new Set<string>();

  /** @param handle the session to end; undefined for all @param keep the one of all that goes on */
  constructor(
    stored: SessionRepository,
    runtime: Runtime,
    principalId: string,
    handle: string | undefined,
    keep?: string,
  ) {
    this.#keep = keep;
    this.#stored = stored;
    this.#runtime = runtime;
    this.#principalId = principalId;
    this.#handle = handle;
    this.#begunAt = runtime.clock.monotonic();
  }

  /**
   * Ends each session by its id, so that running requests see that it has ended. Tries all of them, even after one
   * fails.
   *
   * @param time time limit of the call itself, for all of its store calls; absent in a retry, where each store call has
   * its own
   * @returns how many sessions were still there
   */
  async run(time?: StoreTime): Promise<number> {
    const tried = new Set<string>();
    let count = 0;
    for (;;) {
      const left = (this.#left ??= await this.#find(tried, time));
      for (const sid of left) tried.add(sid);
      const results = await Promise.allSettled([...left].map((sid) => this.#end(sid, left, time)));
      let ended = 0;
      for (const result of results) {
        if (result.status === "rejected") throw result.reason;
        if (result.value) ended += 1;
      }
      count += ended;
      this.#left = undefined;
      // A session that had already ended may have been renewed; the new session entered the index before the old one
      // ended.
      if (this.#handle !== undefined || ended === results.length) return count;
    }
  }

  /** Looks up the ids to end that this run has not tried yet. */
  async #find(tried: ReadonlySet<string>, time: StoreTime | undefined): Promise<Set<string>> {
    // The first run includes sessions that began during the call. A retry excludes them: they may come from a log-in
    // after the refusal.
    const agoMs = time === undefined ? this.#runtime.clock.monotonic() - this.#begunAt : 0;
    const ids = await this.#stored.idsOf(this.#principalId, agoMs, time);
    return new Set(ids.filter((sid) => !tried.has(sid) && this.#isMeant(sid)));
  }

  #isMeant(sid: string): boolean {
    if (this.#handle === undefined && this.#keep === undefined) return true;
    const handle = sessionHandle(sid);
    return handle !== this.#keep && (this.#handle === undefined || handle === this.#handle);
  }

  async #end(sid: string, left: Set<string>, time: StoreTime | undefined): Promise<boolean> {
    const wasInDoubt = this.#inDoubt.has(sid);
    if (wasInDoubt && this.#stored.hasEnded(sid)) {
      left.delete(sid);
      return false;
    }
    this.#inDoubt.add(sid);
    const wasAlive = await this.#stored.endNow(sid, "revoked", time);
    this.#inDoubt.delete(sid);
    left.delete(sid);
    if (wasAlive || wasInDoubt) this.#announce(sid);
    return wasAlive;
  }

  #announce(sid: string): void {
    this.#runtime.events.emit("session_logout", () => ({
      source: "session",
      reason: "ended",
      subject: this.#principalId,
      credentialId: sessionHandle(sid),
    }));
  }
}

function infoOf({ sid, createdAt, seenAt, expiresAt, label, actor }: PrincipalSession): SessionInfo {
  return {
    handle: sessionHandle(sid),
    createdAt,
    lastSeenAt: seenAt,
    expiresAt,
    ...(label === undefined ? {} : { label }),
    ...(actor === undefined ? {} : { actor }),
  };
}
