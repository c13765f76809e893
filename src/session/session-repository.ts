import type session from "express-session";
import { LRUCache } from "lru-cache";
import { RepeatedWrites } from "../stores/health/repeated-writes.js";
import type { Runtime } from "../core/runtime.js";
import { faultOf } from "../stores/health/store-fault.js";
import { StoreGuard } from "../stores/health/store-guard.js";
import type { PrincipalSession, SessionStore } from "../stores/contracts.js";
import { SESSION_STAMP, type SessionStamp } from "../stores/session-record.js";
import { expiryOf, timeVerdict, type SessionTimes, type TimePolicy } from "./decide.js";
import { andThen, fromCallback, orElse, type Maybe } from "../core/maybe-promise.js";
import type { StoreTime } from "../stores/health/store-time.js";
import { sessionHandle, type SessionCookie } from "./session-cookie.js";
import { readStamp } from "./metadata.js";

/** What became of a write: `ended` when the session is over, `full` when the store has no room for it. */
export type WriteOutcome = "written" | "ended" | "full";

export interface LoadedSession {
  readonly sid: string;
  /** As the store gave it, our stamp among it. */
  readonly record: session.SessionData;
  readonly stamp: SessionStamp;
}

/** express-session's own contract, and perhaps more of ours. */
type AnyStore = session.Store &
  Partial<Pick<SessionStore, "listByPrincipal" | "idsByPrincipal" | "create" | "replace">>;
type Callback<T> = (error?: unknown, value?: T) => void;

/** Why a session ended: `replaced` by a log-in, `revoked` through `sessions.end`, `ended` by a log-out or the app. */
export type EndReason = "ended" | "replaced" | "revoked";

/**
 * For this long an honest client may still send an id that a log-in has replaced or `sessions.end` has ended: its requests were
 * on their way, or it is another tab.
 */
const HONEST_MS = 60_000;

/** An ended id is remembered for longer than any request that could still write it runs. */
const ENDED_IDS = 10_000;
const ENDED_MS = 10 * 60_000;

/**
 * The store as the session layer uses it: every call bounded in time, every session stamped and held to its times, and
 * no session written after it has ended. express-session's `set` would bring one back (expressjs/session#632). A store with
 * `create` and `replace` sees to that for all processes; with another it is seen to here, for this process.
 */
export class StoredSessions {
  readonly #store: AnyStore;
  readonly #guard: StoreGuard;
  readonly #policy: TimePolicy;
  readonly #runtime: Runtime;
  readonly #cookie: SessionCookie;
  readonly #unfinished = new RepeatedWrites();
  readonly #ended = new LRUCache<string, { readonly why: EndReason; readonly at: number }>({
    max: ENDED_IDS,
    ttl: ENDED_MS,
  });

  constructor(store: session.Store, cookie: SessionCookie, policy: TimePolicy, runtime: Runtime, timeoutMs: number) {
    this.#store = store;
    this.#cookie = cookie;
    this.#policy = policy;
    this.#runtime = runtime;
    this.#guard = new StoreGuard("session", runtime, timeoutMs, store);
  }

  /** Gives up the ends that have not reached the store. The store stays open. */
  close(): void {
    this.#unfinished.close();
  }

  /** Repeats what a caller was refused until the store has done it. */
  repeat(name: string, write: () => Promise<unknown>): void {
    this.#unfinished.add(name, write);
  }

  get policy(): TimePolicy {
    return this.#policy;
  }

  now(): number {
    return this.#runtime.clock.now();
  }

  /** The cookie of a session as the settings have it. A store may give out anything, and express-session's `Cookie` throws for some of it. */
  cookieOf(stamp: SessionTimes): session.Cookie {
    return this.#cookie.forStore(expiryOf(stamp, this.#policy));
  }

  hasEnded(sid: string): boolean {
    return this.#ended.has(sid);
  }

  /** Whether a log-in has just put another session in its place: the browser has that one's cookie, or is about to get it. */
  wasReplaced(sid: string): boolean {
    const ended = this.#ended.get(sid);
    return ended?.why === "replaced" && this.now() - ended.at < HONEST_MS;
  }

  /** A session that is there and within its times. One past them is destroyed. */
  load(sid: string): Maybe<LoadedSession | undefined> {
    if (this.#ended.has(sid)) {
      this.#announceUseAfterEnd(sid);
      return undefined;
    }
    return andThen(this.#get(sid), (record) => this.#judge(sid, record));
  }

  /** A session in the store that this layer has not written: express-session's own, within the time its cookie says. */
  formerRecord(sid: string): Maybe<session.SessionData | undefined> {
    if (this.#ended.has(sid)) return undefined;
    return andThen(this.#get(sid), (record) => {
      if (record == null || record.cookie == null || SESSION_STAMP in record || this.#ended.has(sid)) return undefined;
      return isPast(record.cookie.expires, this.now()) ? undefined : record;
    });
  }

  /**
   * Writes a session.
   *
   * @param fresh the id was made in this request; any other must still be in the store to be written
   */
  write(
    sid: string,
    data: Readonly<Record<string, unknown>>,
    stamp: SessionStamp,
    fresh: boolean,
  ): Maybe<WriteOutcome> {
    if (this.#ended.has(sid)) return "ended";
    const { create, replace } = this.#store;
    if (create !== undefined && replace !== undefined)
      return this.#writeAtomically(fresh ? create : replace, sid, this.#record(data, stamp));
    return andThen(fresh ? true : andThen(this.#get(sid), (record) => record != null), (exists) => {
      if (!exists || this.#ended.has(sid)) return "ended";
      return andThen(this.#set(sid, this.#record(data, stamp)), (outcome) => {
        // The end may have come while the write was on its way, and reached the store first.
        return this.#ended.has(sid) ? andThen(this.#destroy(sid), () => "ended" as const) : outcome;
      });
    });
  }

  /** Notes a use: moves the session's end without touching its data, where the store can do that. */
  touch(sid: string, data: Readonly<Record<string, unknown>>, stamp: SessionStamp): Maybe<WriteOutcome> {
    const { touch } = this.#store;
    if (touch === undefined) return this.write(sid, data, stamp, false);
    const record = this.#record(data, stamp);
    const call = (done: Callback<boolean>): void => touch.call(this.#store, sid, record, done);
    // Most stores call back with nothing; ours with false when the session is gone.
    return andThen(
      this.#guard.run(() => fromCallback<boolean>(call)),
      (found) => (found === false || this.#ended.has(sid) ? "ended" : "written"),
    );
  }

  /**
   * Ends a session for good, as `endNow` does. When the store fails, the caller is refused and the end is repeated until the
   * store has it; but a log-in that fails leaves the old session alone.
   *
   * @param doneLater called when a repetition has ended it, unless another call had by then
   * @returns false when the session had ended before, as far as this process and the store can tell
   */
  end(sid: string, why: EndReason = "ended", doneLater: () => void = () => undefined): Maybe<boolean> {
    const name = `session ${sid}`;
    const succeeded = this.#unfinished.replacing(name);
    const ended = orElse(
      () => this.endNow(sid, why),
      (error) => {
        if (why !== "replaced") {
          this.#unfinished.add(name, async () => {
            await this.#destroy(sid);
            if (this.#ended.has(sid)) return;
            this.#ended.set(sid, { why, at: this.now() });
            doneLater();
          });
        }
        throw error;
      },
    );
    return andThen(ended, (wasAlive) => {
      succeeded();
      return wasAlive;
    });
  }

  /**
   * Ends a session: from here on its id is dead, also for a request that is still running.
   *
   * @param time what the store call shares with others
   * @returns false when the session had ended before, as far as this process and the store can tell
   */
  endNow(sid: string, why: EndReason, time?: StoreTime): Maybe<boolean> {
    const before = this.#ended.get(sid);
    this.#ended.set(sid, before ?? { why, at: this.now() });
    const ended = orElse(
      () => this.#destroy(sid, time),
      (error) => {
        // Still in the store, so it must not look ended: the caller may try again.
        this.#ended.delete(sid);
        throw error;
      },
    );
    return andThen(ended, (found) => found && before === undefined);
  }

  /**
   * Ends a session that must still be alive. Of two callers that end it at once, in whatever process, one is told true; with a
   * store that does not say what `destroy` found, two processes may both be.
   */
  endIfAlive(sid: string, why: EndReason): Maybe<boolean> {
    if (this.#ended.has(sid)) return false;
    const isThere = this.#isAtomic ? true : andThen(this.#get(sid), (record) => record != null);
    return andThen(isThere, (there) => there && this.end(sid, why));
  }

  get hasIndex(): boolean {
    return typeof this.#store.listByPrincipal === "function" && typeof this.#store.idsByPrincipal === "function";
  }

  /** The principal's sessions that are within their times. Only for a store with an index. */
  listOf(principalId: string): Maybe<readonly PrincipalSession[]> {
    const now = this.now();
    return andThen(
      this.#guard.run(() => this.#store.listByPrincipal?.(principalId) ?? []),
      (found) => found.filter((times) => timeVerdict(times, this.#policy, now) === "alive"),
    );
  }

  /** The ids of the principal's sessions that began so long ago, by the store's clock. Only for a store with an index. */
  idsOf(principalId: string, agoMs: number, time?: StoreTime): Maybe<readonly string[]> {
    return this.#guard.run(() => this.#store.idsByPrincipal?.(principalId, agoMs) ?? [], time);
  }

  /** Says that a session ended by its time. Also called for what the memory store prunes. */
  announceExpiry(sid: string, times: Pick<SessionStamp, "createdAt" | "seenAt">, subject: string | undefined): void {
    this.#runtime.events.emit("session_expired", () => ({
      source: "session",
      reason: timeVerdict(times, this.#policy, this.now()),
      credentialId: sessionHandle(sid),
      ...(subject === undefined ? {} : { subject }),
    }));
  }

  #judge(sid: string, record: session.SessionData | null | undefined): Maybe<LoadedSession | undefined> {
    // Ended while the store was answering, never there, or not written by this layer: no such session.
    if (record == null || record.cookie == null || this.#ended.has(sid)) return undefined;
    const stamp = readStamp(record);
    if (stamp === undefined) return undefined;
    const verdict = timeVerdict(stamp, this.#policy, this.now());
    if (verdict === "absolute" || (verdict === "idle" && this.#knowsLastUse)) {
      this.announceExpiry(sid, stamp, stamp.principal?.id);
      return andThen(this.#destroy(sid), () => undefined);
    }
    return { sid, record, stamp };
  }

  /**
   * Whether `seenAt` is as of the last touch. Another's store with `touch` moves only its own time to live
   * (connect-redis: EXPIRE), and then the idle time-out is the store's to keep, by `cookie.expires`.
   */
  get #knowsLastUse(): boolean {
    return this.hasIndex || this.#store.touch === undefined;
  }

  #record(data: Readonly<Record<string, unknown>>, stamp: SessionStamp): session.SessionData {
    return { ...data, cookie: this.cookieOf(stamp), [SESSION_STAMP]: stamp } as unknown as session.SessionData;
  }

  #get(sid: string): Maybe<session.SessionData | null | undefined> {
    return this.#guard.run(() =>
      fromCallback<session.SessionData | null>((done) =>
        this.#store.get(sid, (error: unknown, found) => (isNoSession(error) ? done(null, null) : done(error, found))),
      ),
    );
  }

  #set(sid: string, record: session.SessionData): Maybe<WriteOutcome> {
    const run = (): Maybe<WriteOutcome | undefined> =>
      fromCallback<WriteOutcome>((done) =>
        this.#store.set(sid, record, (error: unknown) => {
          // A full store works; taking it for an outage would shut everybody out.
          if (hasCode(error, "PORTCULLIS_SESSION_STORE_FULL")) done(null, "full");
          else done(error, "written");
        }),
      );
    return andThen(this.#guard.run(run), (outcome) => outcome ?? "written");
  }

  #writeAtomically(way: SessionStore["create"], sid: string, record: session.SessionData): Maybe<WriteOutcome> {
    const run = (): Maybe<WriteOutcome | undefined> =>
      fromCallback<WriteOutcome>((done) =>
        way.call(this.#store as unknown as SessionStore, sid, record, (error: unknown, written?: boolean) => {
          if (hasCode(error, "PORTCULLIS_SESSION_STORE_FULL")) done(null, "full");
          else done(error, written === true ? "written" : "ended");
        }),
      );
    return andThen(this.#guard.run(run), (outcome) =>
      outcome === undefined || this.#ended.has(sid) ? "ended" : outcome,
    );
  }

  /** False when the store says that there was no such session. */
  #destroy(sid: string, time?: StoreTime): Maybe<boolean> {
    const run = (): Maybe<boolean | undefined> =>
      fromCallback<boolean>((done) =>
        this.#store.destroy(sid, (error: unknown, found?: boolean) => done(error, found)),
      );
    return andThen(this.#guard.run(run, time), (found) => found !== false);
  }

  /** Whether writes and `destroy` of this store say what they found. */
  get #isAtomic(): boolean {
    return this.#store.create !== undefined && this.#store.replace !== undefined;
  }

  #announceUseAfterEnd(sid: string): void {
    const { why, at } = this.#ended.get(sid) ?? { why: "ended", at: 0 };
    const isHonest = why !== "ended" && this.now() - at < HONEST_MS;
    this.#runtime.events.emit("session_use_after_expire", () => ({
      ...(isHonest ? { level: "INFO" } : {}),
      source: "session",
      reason: why,
      credentialId: sessionHandle(sid),
    }));
  }
}

/** Stores give the end of a session as a `Date` or as its JSON; one without an end is the store's to end. */
function isPast(expires: unknown, now: number): boolean {
  if (expires == null) return false;
  return !(new Date(expires as string | Date).getTime() > now);
}

/**
 * express-session takes ENOENT for "no such session" (stores on files answer so). A record that cannot be read (damaged JSON,
 * another type in Redis) is none either: the store is well, and the caller begins anew.
 */
function isNoSession(error: unknown): boolean {
  return hasCode(error, "ENOENT") || error instanceof SyntaxError || faultOf(error) === "record";
}

function hasCode(error: unknown, code: string): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === code;
}
