import type { ExpressSessionStore, SessionData } from "../stores/express-session.js";
import { fromCallback, mapMaybe, orElse, type MaybePromise } from "../core/maybe-promise.js";
import type { Runtime } from "../core/runtime.js";
import { callerFor, callerForPrincipal, type StoreCaller } from "../core/store-caller.js";
import type { PrincipalSession, SessionStore } from "../stores/contracts.js";
import { faultOf } from "../stores/health/store-fault.js";
import { StoreGuard } from "../stores/health/store-guard.js";
import type { StoreTime } from "../stores/health/store-time.js";
import { sessionHandle } from "./session-cookie.js";

/** The outcome of a write: `ended` when the session is over, `full` when the store has no room for it. */
export type WriteOutcome = "written" | "ended" | "full";

/** The contract of express-session's stores, with the optional methods of our own stores. */
type AnyStore = ExpressSessionStore &
  Partial<Pick<SessionStore, "listByPrincipal" | "idsByPrincipal" | "create" | "replace">>;

/**
 * Any store made for express-session, with promises instead of callbacks and a time-out for every call. When a store
 * responds synchronously, the result is not a promise.
 *
 * Every method throws or rejects with StoreUnavailableError when the store fails or times out.
 */
export class GuardedSessionStore {
  readonly #store: AnyStore;
  readonly #guard: StoreGuard;

  constructor(store: ExpressSessionStore, runtime: Runtime, timeoutMs: number) {
    this.#store = store;
    this.#guard = new StoreGuard("session", runtime, timeoutMs, store);
  }

  /** Whether the sessions of a principal can be listed and ended. */
  get hasIndex(): boolean {
    return typeof this.#store.listByPrincipal === "function" && typeof this.#store.idsByPrincipal === "function";
  }

  /** Whether writes and `destroy` report what they found, atomically across processes. */
  get isAtomic(): boolean {
    return this.#store.create !== undefined && this.#store.replace !== undefined;
  }

  /**
   * Whether `seenAt` of a record is updated by `touch`. `touch` of a third-party store extends only its own time to
   * live (connect-redis: EXPIRE); then the store enforces the idle time-out itself, by `cookie.expires`.
   */
  get knowsLastUse(): boolean {
    return this.hasIndex || this.#store.touch === undefined;
  }

  get canTouch(): boolean {
    return this.#store.touch !== undefined;
  }

  /** Reads a session. @param caller the request's caller, when the session is the caller's own */
  get(sid: string, caller?: StoreCaller): MaybePromise<SessionData | null | undefined> {
    const run = (): MaybePromise<SessionData | null | undefined> =>
      fromCallback<SessionData | null>((done) =>
        this.#store.get(sid, (error: unknown, found) => (isNoSession(error) ? done(null, null) : done(error, found))),
      );
    return this.#guard.run(run, undefined, caller ?? ofSession(sid));
  }

  /** Writes a session whether or not it exists. @param onUndelivered see `write` */
  set(sid: string, record: SessionData, caller?: StoreCaller, onUndelivered?: () => void): MaybePromise<WriteOutcome> {
    const run = (): MaybePromise<WriteOutcome | undefined> =>
      fromCallback<WriteOutcome>((done) =>
        this.#store.set(sid, record, (error: unknown) => {
          // A full store still works; treating it as an outage would refuse every client.
          if (isFull(error)) done(null, "full");
          else done(error, "written");
        }),
      );
    return mapMaybe(this.#run(run, caller ?? ofSession(sid), onUndelivered), (outcome) => outcome ?? "written");
  }

  /**
   * Creates a session, or replaces an existing one. Only for a store that `isAtomic`.
   *
   * @param onUndelivered called when the caller gets a failure and the store may write the session all the same, and
   *   again when a store that is not atomic has written it late
   */
  write(
    mode: "create" | "replace",
    sid: string,
    record: SessionData,
    caller?: StoreCaller,
    onUndelivered?: () => void,
  ): MaybePromise<WriteOutcome> {
    const run = (): MaybePromise<WriteOutcome | undefined> =>
      fromCallback<WriteOutcome>((done) =>
        this.#store[mode]?.(sid, record, (error: unknown, written?: boolean) => {
          if (isFull(error)) done(null, "full");
          else done(error, written === true ? "written" : "ended");
        }),
      );
    return mapMaybe(this.#run(run, caller ?? ofSession(sid), onUndelivered), (outcome) => outcome ?? "ended");
  }

  /**
   * Extends the expiry of a session. Returns false when the store reports that the session does not exist. Only for a
   * store that `canTouch`.
   */
  touch(sid: string, record: SessionData, caller?: StoreCaller): MaybePromise<boolean> {
    const touch = this.#store.touch as SessionStore["touch"] | undefined;
    const run = (): MaybePromise<boolean | undefined> =>
      fromCallback<boolean>((done) => touch?.call(this.#store, sid, record, done));
    // Most stores call back without a value; our stores call back with false when there is no session.
    return mapMaybe(this.#guard.run(run, undefined, caller ?? ofSession(sid)), (found) => found !== false);
  }

  /**
   * Returns false when the store reports that there was no such session.
   *
   * @param time time limit shared with other calls
   */
  destroy(sid: string, time?: StoreTime): MaybePromise<boolean> {
    const run = (): MaybePromise<boolean | undefined> =>
      fromCallback<boolean>((done) =>
        this.#store.destroy(sid, (error: unknown, found?: boolean) => done(error, found)),
      );
    return mapMaybe(this.#guard.run(run, time, ofSession(sid)), (found) => found !== false);
  }

  /**
   * Ends a session for which no caller waits: without a time-out, and even while the store counts as down. Resolves
   * when the store no longer has it.
   */
  async withdraw(sid: string): Promise<void> {
    await fromCallback((done) => this.#store.destroy(sid, (error: unknown) => done(isNoSession(error) ? null : error)));
  }

  /** See `PrincipalIndex`. Only for a store that `hasIndex`. */
  list(principalId: string): MaybePromise<readonly PrincipalSession[]> {
    return this.#guard.run(
      () => this.#store.listByPrincipal?.(principalId) ?? [],
      undefined,
      callerForPrincipal(principalId),
    );
  }

  /** See `PrincipalIndex`. Only for a store that `hasIndex`. @param time time limit shared with other calls */
  ids(principalId: string, agoMs: number, time?: StoreTime): MaybePromise<readonly string[]> {
    return this.#guard.run(
      () => this.#store.idsByPrincipal?.(principalId, agoMs) ?? [],
      time,
      callerForPrincipal(principalId),
    );
  }

  #run<T>(
    operation: () => MaybePromise<T>,
    caller: StoreCaller,
    onUndelivered: (() => void) | undefined,
  ): MaybePromise<T> {
    if (onUndelivered === undefined) return this.#guard.run(operation, undefined, caller);
    let hasBegun = false;
    let call: MaybePromise<T> | undefined;
    const begin = (): MaybePromise<T> => {
      hasBegun = true;
      return (call = operation());
    };
    return orElse(
      () => this.#guard.run(begin, undefined, caller),
      (error) => {
        if (hasBegun) onUndelivered();
        // An atomic store writes nothing after its `destroy`. Another store may process the two in any order.
        if (!this.isAtomic && call instanceof Promise) void call.then(onUndelivered, () => undefined);
        throw error;
      },
    );
  }
}

/** The caller of the app's own code, or of a request that ends or saves a session, with the name of that session. */
function ofSession(sid: string): StoreCaller {
  return callerFor(sessionHandle(sid));
}

/**
 * express-session treats ENOENT as "no such session" (file stores report it). A record that cannot be read (damaged
 * JSON, another type in Redis) counts as no session too: the store works, and the caller gets a new session.
 */
function isNoSession(error: unknown): boolean {
  return hasCode(error, "ENOENT") || error instanceof SyntaxError || faultOf(error) === "record";
}

function isFull(error: unknown): boolean {
  return hasCode(error, "PORTCULLIS_SESSION_STORE_FULL");
}

function hasCode(error: unknown, code: string): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === code;
}
