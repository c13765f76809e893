import { BoundedCache } from "../core/bounded-cache.js";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { Runtime } from "../core/runtime.js";
import type { StoreCaller } from "../core/store-caller.js";
import { MAX_SESSION_SECONDS } from "../settings/durations.js";
import type { SessionMetadata } from "../stores/contracts.js";
import { callWithoutCircuit, StoreGuard } from "../stores/health/store-guard.js";
import type { SessionCutOffs } from "../stores/revocations/session-cut-offs.js";
import { sessionHandle } from "./session-cookie.js";

/** The latest cut-offs when a session began. Absent where there was none. */
export type Since = Pick<SessionMetadata, "since" | "actorSince">;

const NEVER: Since = Object.freeze({});
/** Principals whose refused cut-off is remembered. */
const MOST_REFUSED = 10_000;
/** A cut-off is kept as long as any session may last, and an hour more for processes whose clocks differ. */
const KEPT_MS = MAX_SESSION_SECONDS * 1000 + 3_600_000;

/**
 * The cut-offs that end all sessions of a principal, and those in which it acts as another one. A session keeps the
 * latest cut-offs that there were when it began; a later one ends it. So no clocks are compared: a cut-off is always
 * greater than the one before, and a log-in reads the latest first.
 */
export class PrincipalCutOffs {
  readonly #source: SessionCutOffs;
  readonly #guard: StoreGuard;
  readonly #runtime: Runtime;
  readonly #timeoutMs: number;
  /** The refused cut-off of a principal, until a session may have begun after it. */
  readonly #refused = new BoundedCache<number>({ max: MOST_REFUSED });

  constructor(source: SessionCutOffs, runtime: Runtime, timeoutMs: number) {
    this.#source = source;
    this.#runtime = runtime;
    this.#timeoutMs = timeoutMs;
    this.#guard = new StoreGuard("revocation", runtime, timeoutMs, source);
  }

  /** Whether this process knows that the session has been ended. */
  isKnown(sid: string, { principal, since = 0, actorSince = 0 }: SessionMetadata): boolean {
    if (principal === null) return false;
    if (this.#endsIt(principal.id, since, sid)) return true;
    return principal.actor !== undefined && this.#endsIt(principal.actor.id, actorSince, sid);
  }

  /**
   * Whether the session has been ended. Returns no promise while this process follows the change log.
   *
   * @throws StoreUnavailableError (or rejects with it) when that cannot be read
   */
  hasEnded(sid: string, metadata: SessionMetadata, caller: StoreCaller | undefined): MaybePromise<boolean> {
    const { principal, since = 0 } = metadata;
    if (principal === null) return false;
    if (this.isKnown(sid, metadata)) return true;
    if (this.#source.isCurrent) return false;
    // Reading brings all cut-offs up to date, those of the actor too.
    const facts = { principalId: principal.id, since, handle: sessionHandle(sid) };
    const read = this.#guard.join(() => this.#source.hasEnded(facts), caller);
    return mapMaybe(read, (hasEnded) => hasEnded || this.isKnown(sid, metadata));
  }

  /**
   * The latest cut-offs of a principal and of the one who acts as it.
   *
   * @throws StoreUnavailableError (or rejects with it) when they cannot be read in time: a session without them could end
   * by a cut-off that was there before it
   */
  latest(principalId: string, actorId: string | undefined): MaybePromise<Since> {
    return mapMaybe(this.#latestOf(principalId), (since) =>
      mapMaybe(actorId === undefined ? undefined : this.#latestOf(actorId), (actorSince) =>
        since === undefined && actorSince === undefined
          ? NEVER
          : { ...(since === undefined ? {} : { since }), ...(actorSince === undefined ? {} : { actorSince }) },
      ),
    );
  }

  /**
   * Ends the sessions that began before this call, but for the one to keep.
   *
   * @throws StoreUnavailableError (rejects) when the latest cut-off could not be read, or the change log did not accept
   * this one in time: it holds in this process, which goes on trying to publish it
   */
  async end(principalId: string, keep: string | undefined): Promise<void> {
    const now = Math.floor(this.#runtime.clock.now());
    let unread: Error | undefined;
    const known = await callWithoutCircuit("revocation", this.#timeoutMs, async () =>
      this.#source.sessionCutOffOf(principalId),
    ).catch((error: Error) => {
      unread = error;
      return this.#source.knownSessionCutOffOf(principalId);
    });
    const about = {
      kind: "principal",
      name: principalId,
      endsAt: now + KEPT_MS,
      ...(keep === undefined ? {} : { keep }),
    } as const;
    // If this call is refused, it is repeated when a later one of another process, whose clock is behind, may have succeeded.
    // What began after that one must not end, so a refused cut-off is only just later than those that this process knows,
    // and no later when it is refused again.
    const isAgain = known !== undefined && known === this.#refused.get(principalId);
    const refused = { ...about, cutOff: isAgain ? known : (known ?? 0) + 1 };
    this.#refused.set(principalId, refused.cutOff);
    // The time, in case that cut-offs were lost which sessions still have.
    const accepted = { ...about, cutOff: Math.max(now, (known ?? 0) + 1) };
    await callWithoutCircuit("revocation", this.#timeoutMs, () =>
      this.#source.publishCutOff(unread === undefined ? accepted : refused, refused),
    );
    this.#refused.delete(principalId);
    // Another process may have published one that is greater, and then this one has ended nothing.
    if (unread !== undefined) throw unread;
  }

  /** Most principals have no cut-off, so that no hash is computed for the handle. */
  #endsIt(principalId: string, since: number, sid: string): boolean {
    const latest = this.#source.knownSessionCutOffOf(principalId);
    if (latest === undefined || since >= latest) return false;
    return this.#source.hasKnownEnd({ principalId, since, handle: sessionHandle(sid) });
  }

  #latestOf(principalId: string): MaybePromise<number | undefined> {
    const read = this.#guard.join(() => this.#source.sessionCutOffOf(principalId));
    return mapMaybe(read, (latest) => {
      this.#refused.delete(principalId);
      return latest;
    });
  }
}
