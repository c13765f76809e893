import { BoundedCache } from "../core/bounded-cache.js";
import type { Clock } from "../core/clock.js";
import { RepeatedWrites } from "../stores/health/repeated-writes.js";
import type { Runtime } from "../core/runtime.js";
import { callerFor, callerForPrincipal, type StoreCaller } from "../core/store-caller.js";
import { faultOf } from "../stores/health/store-fault.js";
import { callWithoutCircuit, StoreGuard, StoreUnavailableError } from "../stores/health/store-guard.js";
import type { StoreTime } from "../stores/health/store-time.js";
import type { AccessTokenFacts, StoredRefreshToken, TokenStore, WriteCall } from "../stores/contracts.js";
import { ReplicatedTokenStore } from "../stores/revocations/replicated-token-store.js";
import { TokenError } from "./errors.js";

/** Number of undelivered successors that one process tracks; the store records all. */
const MOST_UNDELIVERED = 10_000;

/**
 * A token store with time-outs. Revocations and refresh tokens have separate guards: a store that cannot insert refresh
 * tokens must not block requests whose tokens it can still check. All store calls of one public call share its
 * `StoreTime`.
 *
 * `read`, `write` and `revoke` call any method of the store, so a method added to the contract needs no change here. Only
 * what is more than one guarded call has a name in this class.
 */
export class GuardedTokenStore {
  readonly #store: TokenStore;
  readonly #clock: Clock;
  readonly #unfinished: RepeatedWrites;
  /**
   * Tokens whose successor, as far as this process knows, did not reach a client; the store may not have recorded it
   * yet.
   */
  readonly #undelivered = new BoundedCache<{ readonly successorId: string; readonly at: number }>({
    max: MOST_UNDELIVERED,
  });
  readonly #tokens: StoreGuard;
  readonly #revocations: StoreGuard;

  constructor(store: TokenStore, runtime: Runtime, timeoutMs: number) {
    this.#store = store;
    this.#clock = runtime.clock;
    this.#unfinished = new RepeatedWrites(runtime, "revocation");
    this.#tokens = new StoreGuard("refresh-token", runtime, timeoutMs, store);
    this.#revocations = new StoreGuard("revocation", runtime, timeoutMs, store);
  }

  // Without a time-out: opening and closing may take longer than a request waits.
  init(): Promise<void> {
    return this.#store.init();
  }

  close(): Promise<void> {
    this.stopRepeating();
    return this.#store.close();
  }

  /** Stops retrying the writes that have not reached the store; for a store that its creator closes. */
  stopRepeating(): void {
    this.#unfinished.close();
  }

  // Async, so that a synchronous error becomes a rejection: a failed clean-up must not fail the request that triggered
  // it.
  async deleteExpired(now: number): Promise<number> {
    return this.#store.deleteExpired(now);
  }

  /** Reads refresh tokens, under their guard. */
  read<T>(operation: (store: TokenStore) => T | Promise<T>, time: StoreTime, caller: StoreCaller): Promise<T> {
    return withTokenErrors(async () => this.#tokens.run(() => operation(this.#store), time, caller));
  }

  /** Writes refresh tokens, under their guard. @param onUndelivered see `StoreGuard.write` */
  write<T>(
    operation: (store: TokenStore, call: WriteCall) => Promise<T>,
    onUndelivered: (value: T | undefined) => void,
    time: StoreTime | undefined,
    caller: StoreCaller,
  ): Promise<T> {
    return withTokenErrors(() =>
      this.#tokens.write((call) => operation(this.#store, call), onUndelivered, time, caller),
    );
  }

  /**
   * Ends tokens. Calls the database and the revocation store, so a failure counts against neither guard. The call is
   * made even while one of them is down. A failed call may have taken effect; it is retried until the store has it, or
   * until the same call has succeeded.
   *
   * @param name what ends, as its kind and id; a later call of the same name replaces a retry. `settleSubject`
   *   waits for `subject <id>` and `insert` ends `family <id>`, so the revocations of both use these names
   * @param operation gets `isRepeated` true in a retry
   * @param doneLater called when a retry has succeeded
   * @param sparesSome the call ends less than another of this name may: it replaces no waiting retry
   */
  async revoke<T>(
    name: string,
    operation: (store: TokenStore, isRepeated: boolean) => Promise<T>,
    { deadline }: StoreTime,
    doneLater?: () => void,
    sparesSome = false,
  ): Promise<T> {
    const succeeded = sparesSome ? undefined : this.#unfinished.replacing(name);
    let call: Promise<T> | undefined;
    try {
      const answer = await callWithoutCircuit(
        "revocation",
        deadline - performance.now(),
        () => (call = operation(this.#store, false)),
      );
      succeeded?.();
      return answer;
    } catch (error) {
      const reported = tokenErrorOf(error);
      if (reported.code === "store-unavailable" && !(sparesSome && this.#unfinished.isWaitingFor(name)))
        this.#unfinished.add(name, () => operation(this.#store, true).then(doneLater), call);
      throw reported;
    }
  }

  /** Whether the store knows the cut-offs of all processes. */
  get knowsCutOffs(): boolean {
    return typeof this.#store.cutOffOf === "function";
  }

  /**
   * Repeats a refused "log out everywhere", so that it ends only the tokens that exist before the log-in that calls
   * this.
   *
   * @throws TokenError (rejects) `store-unavailable` when it is refused again
   */
  async settleSubject(subject: string, { deadline }: StoreTime): Promise<void> {
    const repetition = this.#unfinished.doNow(`subject ${subject}`);
    if (repetition !== undefined)
      await withTokenErrors(() => callWithoutCircuit("revocation", deadline - performance.now(), () => repetition));
  }

  /**
   * The latest cut-off of a subject.
   *
   * @throws TokenError (rejects) `store-unavailable`: tokens that do not come after it would be refused
   */
  async cutOffOf(subject: string, time: StoreTime): Promise<number | undefined> {
    if (!this.knowsCutOffs) return undefined;
    return cutOff(await this.read((store) => store.cutOffOf?.(subject), time, callerForPrincipal(subject)));
  }

  /** The latest cut-off of a subject that this process knows. */
  knownCutOffOf(subject: string): number | undefined {
    return cutOff(this.#store.knownCutOffOf?.(subject));
  }

  /** Whether this process knows this cut-off of a subject, or a later one. */
  knowsCutOff(subject: string, at: number): boolean {
    return (this.knownCutOffOf(subject) ?? -Infinity) >= at;
  }

  insert(token: StoredRefreshToken, time: StoreTime): Promise<void> {
    return this.write(
      (store, call) => store.insert(token, call),
      // The caller was refused, so no client has this token.
      () =>
        this.#unfinished.add(`family ${token.familyId}`, () =>
          this.#store.revokeFamily(token.familyId, this.#clock.now()),
        ),
      time,
      callerForPrincipal(token.subject),
    );
  }

  async get(id: string, time: StoreTime): Promise<StoredRefreshToken | undefined> {
    const token = await this.read((store) => store.get(id), time, callerFor(id));
    const undelivered = this.#undelivered.get(id);
    return token === undefined || undelivered === undefined || token.successorId !== undelivered.successorId
      ? token
      : { ...token, undeliveredAt: undelivered.at };
  }

  rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealedSuccessor: string,
    time: StoreTime,
  ): Promise<boolean> {
    return this.write(
      (store, call) => store.rotate(id, usedAt, successor, sealedSuccessor, call),
      (isDone) => {
        if (isDone !== false) this.#markUndelivered(id, successor.id);
      },
      time,
      callerFor(id),
    );
  }

  /**
   * Marks the successor as undelivered, immediately in this process and as soon as possible in the store: the client
   * may retry at any process.
   */
  #markUndelivered(id: string, successorId: string): void {
    const at = this.#clock.now();
    this.#undelivered.set(id, { successorId, at });
    this.#unfinished.add(`undelivered ${id}`, async () => this.#store.markUndelivered?.(id, successorId, at));
  }

  /**
   * Whether a token is revoked. Synchronous when the store responds synchronously.
   *
   * @throws StoreUnavailableError (or rejects with it)
   */
  isRevoked(token: AccessTokenFacts, caller: StoreCaller = callerFor(token.jti)): boolean | Promise<boolean> {
    // Checked before the guard, which makes no calls while the store is down.
    if (this.#store.isKnownRevoked?.(token) === true) return true;
    const current = this.#store.isCurrent === true ? this.#store.isRevoked(token) : undefined;
    if (typeof current === "boolean") return current;
    const answer = (): boolean | Promise<boolean> => current ?? this.#store.isRevoked(token);
    // The change feed reads for all callers together.
    return this.#store instanceof ReplicatedTokenStore
      ? this.#revocations.join(answer, caller)
      : this.#revocations.run(answer, undefined, caller);
  }
}

/** A store of the app's own may answer anything. */
export function cutOff(answer: unknown): number | undefined {
  return Number.isSafeInteger(answer) ? (answer as number) : undefined;
}

async function withTokenErrors<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof StoreUnavailableError ? tokenErrorOf(error) : error;
  }
}

/**
 * Converts a failed store call to an error for its caller: an invalid value or an unreadable record affects this call
 * alone.
 */
function tokenErrorOf(error: unknown): TokenError {
  const fault = faultOf(error);
  if (fault === "full")
    return new TokenError("store-unavailable", { message: "The token store is full.", cause: error });
  const code = fault === "input" ? "invalid-input" : fault === "record" ? "unreadable" : "store-unavailable";
  return new TokenError(code, { cause: error });
}
