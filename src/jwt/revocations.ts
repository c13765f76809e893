import { BoundedCache } from "../core/bounded-cache.js";
import { foreignTokenName } from "../core/foreign-ids.js";
import type { Runtime } from "../core/runtime.js";
import { StoreUnavailableError } from "../stores/health/store-guard.js";
import { StoreTime } from "../stores/health/store-time.js";
import { TokenError } from "./errors.js";
import { isTokenId, subjectOf } from "./grant.js";
import { livesOf } from "./lives.js";
import { cutOff, type GuardedTokenStore } from "./guarded-token-store.js";
import type { IssueClock } from "./issue-clock.js";
import type { ResolvedJwtSettings } from "./settings.js";

/** The revoked credential, as reported in the event. */
interface Revoked {
  readonly reason: "token" | "family" | "subject";
  readonly credentialId?: string;
  readonly subject?: string;
}

/** Number of refused revocations that one process tracks. */
const MOST_REFUSED = 10_000;
/**
 * How long after a successful retry the same call counts as the caller's second attempt and not as a new revocation; in
 * milliseconds.
 */
const SECOND_TRY_MS = 60_000;

/** Revokes tokens, families and all tokens of a subject. */
export class TokenRevocations {
  readonly #store: GuardedTokenStore;
  readonly #issueClock: IssueClock;
  readonly #runtime: Runtime;
  readonly #storeTimeoutMs: number;
  readonly #accessLifeMs: number;
  /** When the last token of a former app ends, in milliseconds since the epoch. */
  readonly #formerUntil: number;
  /** Refused revocations, by what they revoke. Each is announced once: by a retry or by the caller's second attempt. */
  readonly #refused = new BoundedCache<{ isAnnounced: boolean }>({ max: MOST_REFUSED });

  constructor(store: GuardedTokenStore, issueClock: IssueClock, options: ResolvedJwtSettings, runtime: Runtime) {
    this.#store = store;
    this.#issueClock = issueClock;
    this.#runtime = runtime;
    this.#storeTimeoutMs = options.storeTimeoutMs;
    const { issuers = [], accept, leewaySeconds } = options;
    const lives = issuers.map(({ maxLifetimeMinutes }) => maxLifetimeMinutes * 60);
    // How long an access token issued before now can be presented: its lifetime, the leeway for that lifetime and for the
    // clocks of the process that issued it and of the one that verifies it, and a second of rounding for each.
    this.#accessLifeMs = (Math.max(livesOf(options).access, ...lives) + 3 * (leewaySeconds + 1)) * 1000;
    this.#formerUntil = accept?.until ?? 0;
  }

  /** When the last access token that was issued before `now` can no longer be presented. */
  #endOfTokens(now: number): number {
    return Math.max(now + this.#accessLifeMs, this.#formerUntil);
  }

  /** See `JwtManager.revokeToken`. @param issuer only the token of this other issuer */
  async revokeToken(jti: string, issuer?: string): Promise<void> {
    if (!isTokenId(jti)) {
      throw new TokenError("invalid-input", {
        message: "revokeToken expects the jti claim of a token, not the token itself.",
      });
    }
    const expiresAt = this.#endOfTokens(this.#runtime.clock.now());
    const name = issuer === undefined ? undefined : foreignTokenName(issuer, jti);
    await this.#revoke({ reason: "token", credentialId: jti }, (doneLater) =>
      this.#store.revoke(
        `token ${name ?? jti}`,
        (store) => (name === undefined ? store.denyAccessToken(jti, expiresAt) : store.denyFamily(name, expiresAt)),
        new StoreTime(this.#storeTimeoutMs),
        doneLater,
      ),
    );
  }

  /** Revokes a family, given the record of one of its refresh tokens. */
  async revokeFamily(
    { familyId, subject }: { readonly familyId: string; readonly subject: string },
    time: StoreTime,
  ): Promise<void> {
    await this.#revoke({ reason: "family", credentialId: familyId, subject }, (doneLater) =>
      this.endFamily(familyId, time, doneLater),
    );
  }

  /**
   * See `JwtManager.revokeSubject`.
   *
   * @param keep the family that stays in force, or the `jti` of an access token without one
   */
  async revokeSubject(id: string | number, time: StoreTime, keep?: string): Promise<void> {
    const subject = subjectOf(id);
    await this.#revoke({ reason: "subject", subject }, async (doneLater) => {
      // Twice: a concurrent refresh may finish before the first call takes effect, with a timestamp after the first
      // cut-off.
      for (let pass = 0; pass < 2; pass += 1) await this.#cutOffSubject(subject, time, doneLater, keep);
    });
  }

  /** Once more what `revokeSubject` did, for what began since. */
  async cutOffAgain(subject: string, time: StoreTime, keep: string | undefined): Promise<void> {
    await this.#cutOffSubject(subject, time, () => undefined, keep);
  }

  async #cutOffSubject(
    subject: string,
    time: StoreTime,
    doneLater: () => void,
    keep: string | undefined,
  ): Promise<void> {
    // Decided once, by the time of this call, also for a repetition and for an answer that came too late: the log-ins that
    // follow a later revocation must not end.
    const begun = this.#issueClock.cutOff();
    const earliest = this.#issueClock.earliestAfter(begun);
    let decided: { readonly at: number; readonly unlessEndedSince: number } | undefined;
    await this.#store.revoke(
      `subject ${subject}`,
      async (store, isRepeated) => {
        const known = decided === undefined && !isRepeated ? cutOff(await store.cutOffOf?.(subject)) : undefined;
        // Its caller is refused: the repetition does it, as of the time of this call.
        if (!isRepeated && time.isOver) throw new StoreUnavailableError("revocation");
        const after = (known ?? -Infinity) + 1;
        decided ??= isRepeated
          ? { at: earliest, unlessEndedSince: earliest }
          : { at: Math.max(begun, after), unlessEndedSince: Math.max(earliest, after) };
        const { at, unlessEndedSince } = decided;
        await store.revokeSubject(subject, at, this.#endOfTokens(at), isRepeated ? unlessEndedSince : undefined, keep);
        this.#issueClock.commit(at);
      },
      time,
      doneLater,
      keep !== undefined,
    );
  }

  /**
   * Revokes the access tokens and the refresh tokens of a family, even when one of the calls fails: a Redis that is down must not
   * leave a stolen family valid in the database.
   *
   * @param done called once both have succeeded, if necessary after retries
   */
  async endFamily(familyId: string, time: StoreTime, done: () => void = () => undefined): Promise<void> {
    const now = this.#runtime.clock.now();
    let left = 2;
    const oneDone = (): void => void ((left -= 1) === 0 && done());
    const calls = [
      this.#store.revoke(
        `access tokens of ${familyId}`,
        (store) => store.denyFamily(familyId, now + this.#accessLifeMs),
        time,
        oneDone,
      ),
      this.#store.revoke(`family ${familyId}`, (store) => store.revokeFamily(familyId, now), time, oneDone),
    ];
    for (const call of calls) call.then(oneDone, () => undefined);
    for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason;
  }

  /**
   * Revokes, and announces the revocation once. After a refused call, a retry or the caller's second attempt announces
   * it.
   *
   * @param run revokes; it gets a callback to call once a retry has completed the refused revocation
   */
  async #revoke(what: Revoked, run: (doneLater: () => void) => Promise<void>): Promise<void> {
    const name = `${what.reason} ${what.credentialId ?? what.subject}`;
    const revocation = this.#refused.get(name) ?? { isAnnounced: false };
    const announce = (): void => {
      if (revocation.isAnnounced) return;
      revocation.isAnnounced = true;
      this.#runtime.events.emit("authn_token_revoked", () => ({ source: "jwt", ...what }));
    };
    try {
      await run(() => {
        announce();
        if (this.#refused.peek(name) === revocation) this.#refused.set(name, revocation, { ttl: SECOND_TRY_MS });
      });
    } catch (error) {
      if (error instanceof TokenError && error.code === "store-unavailable") this.#refused.set(name, revocation);
      throw error;
    }
    announce();
    this.#refused.delete(name);
  }
}
