import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import type { Runtime } from "../core/runtime.js";
import type { StoreCaller } from "../core/store-caller.js";
import { MAX_SESSION_SECONDS } from "../settings/durations.js";
import type { SessionMetadata } from "../stores/contracts.js";
import { callWithoutCircuit, StoreGuard } from "../stores/health/store-guard.js";
import { withTimeout } from "../stores/health/timeout.js";
import type { SessionCutOffs } from "../stores/revocations/session-cut-offs.js";
import { sessionHandle } from "./session-cookie.js";

/** The latest cut-offs when a session began. Absent where there was none. */
export type Since = Pick<SessionMetadata, "since" | "actorSince">;

const NEVER: Since = Object.freeze({});
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
   * The latest cut-offs of a principal and of the one who acts as it. Never rejects: when they cannot be read in time,
   * it is what this process knows, and a cut-off that it does not know ends the session.
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
   * @throws StoreUnavailableError (rejects) when the change log did not accept the cut-off in time: it holds in this
   * process, which goes on trying to publish it
   */
  async end(principalId: string, keep: string | undefined): Promise<void> {
    const known = (await this.#latestOf(principalId)) ?? 0;
    const now = this.#runtime.clock.now();
    await callWithoutCircuit("revocation", this.#timeoutMs, () =>
      this.#source.publish({
        kind: "principal",
        name: principalId,
        cutOff: Math.max(Math.floor(now), known + 1),
        endsAt: Math.floor(now) + KEPT_MS,
        ...(keep === undefined ? {} : { keep }),
      }),
    );
  }

  /** Most principals have no cut-off, so that no hash is computed for the handle. */
  #endsIt(principalId: string, since: number, sid: string): boolean {
    const latest = this.#source.knownSessionCutOffOf(principalId);
    if (latest === undefined || since >= latest) return false;
    return this.#source.hasKnownEnd({ principalId, since, handle: sessionHandle(sid) });
  }

  #latestOf(principalId: string): MaybePromise<number | undefined> {
    const latest = this.#source.sessionCutOffOf(principalId);
    if (!(latest instanceof Promise)) return latest;
    return withTimeout(latest, this.#timeoutMs).catch(() => this.#source.knownSessionCutOffOf(principalId));
  }
}
