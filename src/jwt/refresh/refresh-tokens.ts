import type { Clock } from "../../core/clock.js";
import { readablePartsOf } from "../../stores/health/store-fault.js";
import type { StoreTime } from "../../stores/health/store-time.js";
import type { StoredRefreshToken } from "../../stores/contracts.js";
import { decideRefresh } from "./decide-refresh.js";
import type { TokenErrorCode } from "../errors.js";
import type { Grant } from "../grant.js";
import { livesOf } from "../lives.js";
import type { ResolvedJwtSettings } from "../settings.js";
import {
  formatRefreshToken,
  newRefreshToken,
  parseRefreshToken,
  type RefreshSecrets,
  type RefreshToken,
} from "./refresh-secrets.js";
import type { GuardedTokenStore } from "../guarded-token-store.js";
import type { Renewal } from "./renewal.js";

export interface RefreshPolicy {
  readonly refreshTokenMs: number;
  readonly absoluteMs: number;
  readonly graceMs: number;
}

export function refreshPolicy(options: ResolvedJwtSettings): RefreshPolicy {
  const { refresh, absolute } = livesOf(options);
  return { refreshTokenMs: refresh * 1000, absoluteMs: absolute * 1000, graceMs: options.reuseGraceSeconds * 1000 };
}

export type Redemption =
  | {
      readonly ok: true;
      readonly grant: Grant;
      readonly familyId: string;
      readonly refreshToken: string;
      /** The timestamp of the access token at the log-in, or later. */
      readonly issuedAt: number;
    }
  | { readonly ok: false; readonly code: TokenErrorCode; readonly record?: StoredRefreshToken };

/** What names a family in a revocation. */
export type FamilyName = Pick<StoredRefreshToken, "familyId" | "subject">;

/**
 * The families of refresh tokens: a family starts at a log-in, continues by rotation, and ends by expiry, revocation or
 * theft.
 */
export class RefreshTokens {
  readonly #store: GuardedTokenStore;
  readonly #secrets: RefreshSecrets;
  readonly #policy: RefreshPolicy;
  readonly #clock: Clock;
  readonly #renew: Renewal | undefined;

  /** @param renew decides what a token gives from now on; undefined: what it gave so far */
  constructor(
    store: GuardedTokenStore,
    secrets: RefreshSecrets,
    policy: RefreshPolicy,
    clock: Clock,
    renew: Renewal | undefined,
  ) {
    this.#renew = renew;
    this.#store = store;
    this.#secrets = secrets;
    this.#policy = policy;
    this.#clock = clock;
  }

  /**
   * Starts a family with its first token.
   *
   * @param family `issuedAt` is the timestamp of the access token
   */
  async start(
    grant: Grant,
    family: { readonly familyId: string; readonly issuedAt: number; readonly label: string | undefined },
    time: StoreTime,
  ): Promise<string> {
    const now = this.#clock.now();
    const token = newRefreshToken();
    const record = this.#record(token, { ...grant, ...family, familyExpiresAt: now + this.#policy.absoluteMs }, now);
    const { label } = family;
    await this.#store.insert(label === undefined ? record : { ...record, label }, time);
    return formatRefreshToken(token);
  }

  /**
   * Exchanges a token for its successor. Returns `reused` or `refused` without ending the family; the caller must do
   * that.
   */
  async redeem(text: unknown, time: StoreTime): Promise<Redemption> {
    const presented = parseRefreshToken(text);
    if (presented === undefined) return { ok: false, code: "malformed" };
    const record = await this.#prove(presented, time);
    if (record === undefined) return { ok: false, code: "unknown" };
    return this.#exchange(presented, record, time, true);
  }

  /**
   * Returns the family of a token whose secret is right: a client that knows only an id can neither use a family nor
   * end it. Needs no more of the token's record than its hash, family and subject.
   *
   * @throws TokenError (rejects) `store-unavailable`; `unreadable` when not even those can be read
   */
  async familyOf(text: unknown, time: StoreTime): Promise<FamilyName | undefined> {
    const presented = parseRefreshToken(text);
    if (presented === undefined) return undefined;
    try {
      return await this.#prove(presented, time);
    } catch (error) {
      const { hash, familyId, subject } = readablePartsOf(error);
      if (hash === undefined || familyId === undefined || subject === undefined) throw error;
      return this.#secrets.matches(presented.secret, hash) ? { familyId, subject } : undefined;
    }
  }

  async #prove(presented: RefreshToken, time: StoreTime): Promise<StoredRefreshToken | undefined> {
    const record = await this.#store.get(presented.id, time);
    return record !== undefined && this.#secrets.matches(presented.secret, record.hash) ? record : undefined;
  }

  async #exchange(
    presented: RefreshToken,
    record: StoredRefreshToken,
    time: StoreTime,
    mayRetry: boolean,
  ): Promise<Redemption> {
    const now = this.#clock.now();
    const successor = record.successorId === null ? undefined : await this.#store.get(record.successorId, time);
    switch (decideRefresh(record, successor, now, this.#policy.graceMs)) {
      case "rotate":
        return this.#rotate(presented, record, time, mayRetry);
      case "replay": {
        const secret =
          successor === undefined || record.sealedSuccessor === null
            ? undefined
            : this.#secrets.open(presented, successor.id, record.sealedSuccessor);
        return successor === undefined || secret === undefined
          ? { ok: false, code: "unknown", record }
          : // What the winner of the race was given, which the app may have decided anew.
            redeemed(successor, { id: successor.id, secret });
      }
      case "reuse":
        return { ok: false, code: "reused", record };
      case "revoked":
        return { ok: false, code: "revoked", record };
      case "expired":
        return { ok: false, code: "expired", record };
    }
  }

  async #rotate(
    presented: RefreshToken,
    record: StoredRefreshToken,
    time: StoreTime,
    mayRetry: boolean,
  ): Promise<Redemption> {
    const { id } = record;
    const renew = this.#renew;
    // Before the transaction, and besides the time of the store: the app may ask a database of its own.
    const grant = renew === undefined ? record : await time.besides(() => renew(record));
    if (grant === null) return { ok: false, code: "refused", record };
    const now = this.#clock.now();
    const next = newRefreshToken();
    const successor = this.#record(next, { ...record, ...grant }, now);
    // One compare-and-set in the store decides between concurrent uses of this token, on any server.
    if (await this.#store.rotate(id, now, successor, this.#secrets.seal(presented, next), time))
      return redeemed(successor, next);
    const current = mayRetry ? await this.#store.get(id, time) : undefined;
    return current === undefined ? { ok: false, code: "unknown" } : this.#exchange(presented, current, time, false);
  }

  #record(
    token: RefreshToken,
    family: Grant & { readonly familyId: string; readonly familyExpiresAt: number; readonly issuedAt: number },
    now: number,
  ): StoredRefreshToken {
    return {
      id: token.id,
      hash: this.#secrets.hash(token.secret),
      familyId: family.familyId,
      subject: family.subject,
      scopes: family.scopes,
      roles: family.roles,
      claims: family.claims,
      // Never before the start of the family, which followed every revocation of the subject (see `IssueClock`).
      issuedAt: Math.max(now, family.issuedAt),
      // The end of the family is fixed at its start; use never extends it (ASVS 10.4.8).
      expiresAt: Math.min(now + this.#policy.refreshTokenMs, family.familyExpiresAt),
      familyExpiresAt: family.familyExpiresAt,
      usedAt: null,
      successorId: null,
      sealedSuccessor: null,
      revokedAt: null,
    };
  }
}

function redeemed(
  { subject, scopes, roles, claims, familyId, issuedAt }: StoredRefreshToken,
  next: RefreshToken,
): Redemption {
  return {
    ok: true,
    grant: { subject, scopes, roles, claims },
    familyId,
    refreshToken: formatRefreshToken(next),
    issuedAt,
  };
}
