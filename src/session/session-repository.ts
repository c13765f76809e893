import type { ExpressSessionStore, SessionCookieData, SessionData } from "../stores/express-session.js";
import { mapMaybe, orElse, type MaybePromise } from "../core/maybe-promise.js";
import type { Runtime } from "../core/runtime.js";
import type { StoreCaller } from "../core/store-caller.js";
import type { PrincipalSession } from "../stores/contracts.js";
import { RepeatedWrites } from "../stores/health/repeated-writes.js";
import type { StoreTime } from "../stores/health/store-time.js";
import { SESSION_METADATA, type SessionMetadata } from "../stores/contracts.js";
import { expiryOf, timeVerdict, type SessionTimes, type TimePolicy } from "./decide.js";
import { EndedSessions, type EndReason } from "./ended-sessions.js";
import { GuardedSessionStore, type WriteOutcome } from "./guarded-store.js";
import { readMetadata } from "./metadata.js";
import type { Since, PrincipalCutOffs } from "./principal-cut-offs.js";
import { sessionHandle, type SessionCookie } from "./session-cookie.js";

export interface LoadedSession {
  readonly sid: string;
  /** The record as stored, with our metadata. */
  readonly record: SessionData;
  readonly metadata: SessionMetadata;
}

/**
 * The sessions in the store. It adds the metadata, enforces the time-outs and never writes a session that has ended;
 * express-session's `set` would restore one (expressjs/session#632). A store with `create` and `replace` prevents that
 * across processes; with another store this class prevents it within this process.
 */
export class SessionRepository {
  readonly #store: GuardedSessionStore;
  readonly #ended: EndedSessions;
  readonly #policy: TimePolicy;
  readonly #runtime: Runtime;
  readonly #cookie: SessionCookie;
  readonly #cutOffs: PrincipalCutOffs;
  readonly #unfinished: RepeatedWrites;
  /** Sessions that nobody has. They have a queue of their own, so that many of them displace no refused log-out. */
  readonly #withdrawn: RepeatedWrites;

  /** @param timeoutMs how long one call of the store may take, in milliseconds */
  constructor(
    store: ExpressSessionStore,
    cookie: SessionCookie,
    policy: TimePolicy,
    runtime: Runtime,
    timeoutMs: number,
    cutOffs: PrincipalCutOffs,
  ) {
    this.#cutOffs = cutOffs;
    this.#store = new GuardedSessionStore(store, runtime, timeoutMs);
    this.#ended = new EndedSessions(runtime);
    this.#unfinished = new RepeatedWrites(runtime, "session");
    this.#withdrawn = new RepeatedWrites(runtime, "session");
    this.#cookie = cookie;
    this.#policy = policy;
    this.#runtime = runtime;
  }

  /** Stops retrying the ends that have not reached the store. The store stays open. */
  close(): void {
    this.#unfinished.close();
    this.#withdrawn.close();
  }

  /** Retries a refused write until the store has done it. */
  repeat(name: string, write: () => Promise<unknown>): void {
    this.#unfinished.add(name, write);
  }

  get policy(): TimePolicy {
    return this.#policy;
  }

  now(): number {
    return this.#runtime.clock.now();
  }

  /**
   * Builds the cookie of a session from the settings. The stored cookie may be anything, and express-session's `Cookie`
   * throws for some values.
   */
  cookieOf(metadata: SessionTimes): SessionCookieData {
    return this.#cookie.forStore(expiryOf(metadata, this.#policy), metadata.maxAgeMs);
  }

  hasEnded(sid: string): boolean {
    return this.#ended.has(sid);
  }

  /**
   * Whether a log-in has just replaced this session: the browser has the cookie of the new session, or is about to
   * receive it.
   */
  wasReplaced(sid: string): boolean {
    return this.#ended.wasReplaced(sid);
  }

  /** Loads a session that exists and has not timed out. A session that has timed out is destroyed. */
  load(sid: string, caller?: StoreCaller): MaybePromise<LoadedSession | undefined> {
    if (this.#ended.has(sid)) {
      this.#ended.announceUse(sid);
      return undefined;
    }
    return mapMaybe(this.#store.get(sid, caller), (record) => this.#validate(sid, record, caller));
  }

  /**
   * The latest cut-offs of a principal and an actor, for a session that begins now.
   *
   * @throws StoreUnavailableError (or rejects with it) when they cannot be read in time
   */
  sinceFor(principalId: string, actorId: string | undefined): MaybePromise<Since> {
    return this.#cutOffs.latest(principalId, actorId);
  }

  /** Whether this process knows that a cut-off has ended the session. */
  isKnownCutOff(sid: string, metadata: SessionMetadata): boolean {
    return this.#cutOffs.isKnown(sid, metadata);
  }

  /**
   * Whether a loaded session is in force still, by the cut-offs of all processes; by those that this process knows when
   * they cannot be read. Never rejects.
   */
  async isInForce(sid: string, metadata: SessionMetadata): Promise<boolean> {
    const { principal } = metadata;
    if (principal === null) return false;
    await orElse(
      () => this.#cutOffs.latest(principal.id, principal.actor?.id),
      () => ({}),
    );
    return !this.#ended.has(sid) && !this.#cutOffs.isKnown(sid, metadata);
  }

  /** Reads a session that this layer has not written: express-session's own, while its cookie has not expired. */
  formerRecord(sid: string, caller?: StoreCaller): MaybePromise<SessionData | undefined> {
    if (this.#ended.has(sid)) return undefined;
    return mapMaybe(this.#store.get(sid, caller), (record) => {
      if (record == null || record.cookie == null || SESSION_METADATA in record || this.#ended.has(sid))
        return undefined;
      return isPast(record.cookie.expires, this.now()) ? undefined : record;
    });
  }

  /**
   * Writes a session.
   *
   * @param fresh the id was generated in this request; with any other id the session must still exist in the store
   * @param onUndelivered called when this fails and the store may write the session all the same; perhaps twice
   */
  write(
    sid: string,
    data: Readonly<Record<string, unknown>>,
    metadata: SessionMetadata,
    fresh: boolean,
    caller?: StoreCaller,
    onUndelivered?: () => void,
  ): MaybePromise<WriteOutcome> {
    if (this.#ended.has(sid)) return "ended";
    const record = this.#record(data, metadata);
    if (this.#store.isAtomic)
      return mapMaybe(this.#store.write(fresh ? "create" : "replace", sid, record, caller, onUndelivered), (outcome) =>
        this.#ended.has(sid) ? "ended" : outcome,
      );
    return mapMaybe(fresh ? true : mapMaybe(this.#store.get(sid, caller), (found) => found != null), (exists) => {
      if (!exists || this.#ended.has(sid)) return "ended";
      return mapMaybe(this.#store.set(sid, record, caller, onUndelivered), (outcome) => {
        // The session may have ended during the write, and the store may have processed the end first.
        return this.#ended.has(sid) ? mapMaybe(this.#store.destroy(sid), () => "ended" as const) : outcome;
      });
    });
  }

  /**
   * Ends, in the background, a new session whose caller was refused: no client has its id, but the store may have
   * written it, or may still do so. Retried until the store has ended it.
   */
  withdraw(sid: string): void {
    this.#withdrawn.add(sid, () => this.#store.withdraw(sid));
    // It stays in the queue when this first attempt fails.
    this.#withdrawn.doNow(sid)?.catch(() => undefined);
  }

  /** Records a use. Extends the session's expiry without changing its data, where the store supports that. */
  touch(
    sid: string,
    data: Readonly<Record<string, unknown>>,
    metadata: SessionMetadata,
    caller?: StoreCaller,
  ): MaybePromise<WriteOutcome> {
    if (!this.#store.canTouch) return this.write(sid, data, metadata, false, caller);
    return mapMaybe(this.#store.touch(sid, this.#record(data, metadata), caller), (found) =>
      found && !this.#ended.has(sid) ? "written" : "ended",
    );
  }

  /**
   * Ends a session for good, as `endNow` does. When the store fails, the call is refused and retried until the store
   * has ended the session. Exception: a failed log-in keeps the old session.
   *
   * @param doneLater called when a retry has ended the session, unless another call did so first
   * @returns false when the session had ended before, as far as this process and the store can tell
   */
  end(sid: string, why: EndReason = "ended", doneLater: () => void = () => undefined): MaybePromise<boolean> {
    const name = `session ${sid}`;
    const succeeded = this.#unfinished.replacing(name);
    const ended = orElse(
      () => this.endNow(sid, why),
      (error) => {
        if (why !== "replaced") {
          this.#unfinished.add(name, async () => {
            await this.#store.destroy(sid);
            if (this.#ended.add(sid, why)) doneLater();
          });
        }
        throw error;
      },
    );
    return mapMaybe(ended, (wasAlive) => {
      succeeded();
      return wasAlive;
    });
  }

  /**
   * Ends a session: from now on its id is invalid, even for a request that is still running.
   *
   * @param time time limit shared with other store calls
   * @returns false when the session had ended before, as far as this process and the store can tell
   */
  endNow(sid: string, why: EndReason, time?: StoreTime): MaybePromise<boolean> {
    const isFirst = this.#ended.add(sid, why);
    const ended = orElse(
      () => this.#store.destroy(sid, time),
      (error) => {
        // The session is still in the store, so it must not count as ended: the caller may retry.
        this.#ended.delete(sid);
        throw error;
      },
    );
    return mapMaybe(ended, (found) => found && isFirst);
  }

  /**
   * Ends a session that must still be alive. When two callers end it concurrently, in any processes, only one gets
   * true. With a store whose `destroy` does not report what it found, both may get true.
   */
  endIfAlive(sid: string, why: EndReason): MaybePromise<boolean> {
    if (this.#ended.has(sid)) return false;
    const isThere = this.#store.isAtomic ? true : mapMaybe(this.#store.get(sid), (record) => record != null);
    return mapMaybe(isThere, (there) => there && this.end(sid, why));
  }

  get hasIndex(): boolean {
    return this.#store.hasIndex;
  }

  /** Lists the principal's sessions that have not timed out. Only for a store with an index. */
  listOf(principalId: string): MaybePromise<readonly PrincipalSession[]> {
    const now = this.now();
    return mapMaybe(this.#store.list(principalId), (found) =>
      found.filter((times) => timeVerdict(times, this.#policy, now) === "alive"),
    );
  }

  /**
   * Lists the ids of the principal's sessions that began at least `agoMs` ago, by the store's clock. Only for a store
   * with an index.
   */
  idsOf(principalId: string, agoMs: number, time?: StoreTime): MaybePromise<readonly string[]> {
    return this.#store.ids(principalId, agoMs, time);
  }

  /** Announces that a session has timed out. Also called for sessions that the memory store prunes. */
  announceExpiry(sid: string, times: SessionTimes, subject: string | undefined): void {
    this.#runtime.events.emit("session_expired", () => ({
      source: "session",
      reason: timeVerdict(times, this.#policy, this.now()),
      credentialId: sessionHandle(sid),
      ...(subject === undefined ? {} : { subject }),
    }));
  }

  #validate(
    sid: string,
    record: SessionData | null | undefined,
    caller: StoreCaller | undefined,
  ): MaybePromise<LoadedSession | undefined> {
    // Not found, not written by this layer, or ended during the read: there is no such session.
    if (record == null || record.cookie == null || this.#ended.has(sid)) return undefined;
    const metadata = readMetadata(record);
    if (metadata === undefined) return undefined;
    const verdict = timeVerdict(metadata, this.#policy, this.now());
    if (verdict === "absolute" || (verdict === "idle" && this.#store.knowsLastUse)) {
      this.announceExpiry(sid, metadata, metadata.principal?.id);
      return mapMaybe(this.#store.destroy(sid), () => undefined);
    }
    const ended = this.#cutOffs.hasEnded(sid, metadata, caller);
    if (ended === false) return { sid, record, metadata };
    return mapMaybe(ended, (hasEnded) => (hasEnded ? this.#removeCutOff(sid) : { sid, record, metadata }));
  }

  /** The cut-off holds also when the store does not remove the session. */
  #removeCutOff(sid: string): MaybePromise<undefined> {
    this.#ended.add(sid, "revoked");
    this.#ended.announceUse(sid);
    return orElse(
      () => mapMaybe(this.#store.destroy(sid), () => undefined),
      () => undefined,
    );
  }

  #record(data: Readonly<Record<string, unknown>>, metadata: SessionMetadata): SessionData {
    return { ...data, cookie: this.cookieOf(metadata), [SESSION_METADATA]: metadata } as unknown as SessionData;
  }
}

/** Stores return the expiry of a session as a `Date` or as its JSON; the store itself expires a session without one. */
function isPast(expires: unknown, now: number): boolean {
  if (expires == null) return false;
  return !(new Date(expires as string | Date).getTime() > now);
}
