import { randomBytes } from "node:crypto";
import { NO_METHODS, provedMethods } from "../core/authentication.js";
import { FOREIGN_ID } from "../core/foreign-ids.js";
import type { Runtime } from "../core/runtime.js";
import { SetupError } from "../core/setup-error.js";
import type { ExpirySweeper } from "../stores/expiry-sweeper.js";
import { StoreTime } from "../stores/health/store-time.js";
import type { AccessTokens, IssueTime } from "./access/access-tokens.js";
import { TokenError } from "./errors.js";
import { type Grant, grantOf, type IssueInput, labelOf } from "./grant.js";
import type { GuardedTokenStore } from "./guarded-token-store.js";
import type { IssueClock } from "./issue-clock.js";
import type { RefreshTokens } from "./refresh/refresh-tokens.js";
import type { TokenRevocations } from "./revocations.js";
import type { IssuedTokens } from "./types.js";

/** The parts of a manager that issue tokens. */
export interface IssuingParts {
  /** `undefined`: the manager has no key, and only verifies. */
  readonly access: AccessTokens | undefined;
  readonly refresh: RefreshTokens;
  readonly store: GuardedTokenStore;
  readonly issueClock: IssueClock;
  readonly revocations: TokenRevocations;
  readonly cleaner: ExpirySweeper;
  readonly runtime: Runtime;
  readonly storeTimeoutMs: number;
}

/** Issues tokens, with a refresh token or alone, and renews them. */
export class TokenIssuing {
  readonly #parts: IssuingParts;

  constructor(parts: IssuingParts) {
    this.#parts = parts;
  }

  /** See `JwtManager.issue`. */
  async issue(subject: string | number, options: IssueInput | undefined): Promise<IssuedTokens> {
    const { refresh, cleaner } = this.#parts;
    const access = signerOf(this.#parts.access);
    const grant = this.#ownGrant(subject, options);
    await this.#mayIssue(grant.subject, options);
    const label = labelOf(options);
    const time = this.#storeTime();
    const at = await this.#issueTime(grant.subject, time);
    const familyId = randomBytes(16).toString("base64url");
    // Signed before the store is written, so that a token that would be too long leaves no record.
    const { token, jti, expiresIn } = await time.besides(() => access.sign(grant, at, familyId));
    const refreshToken = await refresh.start(grant, { familyId, issuedAt: at.timestamp, label }, time);
    this.#announceCreated(grant.subject, jti, "issue");
    cleaner.sometimes();
    return { accessToken: token, refreshToken, tokenType: "Bearer", expiresIn };
  }

  /** See `JwtManager.signAccessToken`. */
  async signAccessToken(subject: string | number, options: IssueInput | undefined): Promise<string> {
    const access = signerOf(this.#parts.access);
    const grant = this.#ownGrant(subject, options);
    await this.#mayIssue(grant.subject, options);
    const { token, jti } = await access.sign(grant, await this.#issueTime(grant.subject, this.#storeTime()));
    this.#announceCreated(grant.subject, jti, "sign");
    return token;
  }

  /** See `JwtManager.refresh`. */
  async refresh(refreshToken: string): Promise<IssuedTokens> {
    const { refresh, issueClock, revocations, cleaner } = this.#parts;
    const time = this.#storeTime();
    // Before the store call, so that a revocation in between still covers the access token.
    const { now, timestamp } = issueClock.take();
    const redemption = await refresh.redeem(refreshToken, time);
    if (!redemption.ok) {
      if (redemption.code === "reused" && redemption.record !== undefined)
        await this.#endStolenFamily(redemption.record, time);
      if (redemption.code === "refused" && redemption.record !== undefined)
        await revocations.revokeFamily(redemption.record, time);
      throw new TokenError(redemption.code);
    }
    const { grant, familyId } = redemption;
    const at = { now, timestamp: Math.max(timestamp, redemption.issuedAt) };
    const { token, jti, expiresIn } = await signerOf(this.#parts.access).sign(grant, at, familyId);
    this.#announceCreated(grant.subject, jti, "refresh");
    cleaner.sometimes();
    return { accessToken: token, refreshToken: redemption.refreshToken, tokenType: "Bearer", expiresIn };
  }

  /** @throws TokenError `invalid-input` */
  #ownGrant(subject: string | number, options: IssueInput | undefined): Grant {
    const { clock, foreignIds } = this.#parts.runtime;
    const grant = grantOf(subject, options, clock.now());
    if (foreignIds.has(grant.subject)) throw new TokenError("invalid-input", { message: FOREIGN_ID });
    return grant;
  }

  /** @throws FactorRequiredError (rejects) when the subject is a person who must prove another factor first */
  async #mayIssue(id: string, options: IssueInput | undefined): Promise<void> {
    const { clock, gate } = this.#parts.runtime;
    const methods = provedMethods(options?.methods ?? [], clock.now()) ?? NO_METHODS;
    await gate.check({ kind: "token", id, methods });
  }

  /** The time of a log-in, after every revocation of the subject. */
  async #issueTime(subject: string, time: StoreTime): Promise<IssueTime> {
    const { store, issueClock } = this.#parts;
    await store.settleSubject(subject, time);
    return issueClock.takeAfter(await store.cutOffOf(subject, time));
  }

  #storeTime(): StoreTime {
    return new StoreTime(this.#parts.storeTimeoutMs);
  }

  async #endStolenFamily(
    { familyId, subject }: { readonly familyId: string; readonly subject: string },
    time: StoreTime,
  ): Promise<void> {
    const { runtime, revocations } = this.#parts;
    // Announced first: a store failure must not hide the theft.
    runtime.events.emit("authn_token_reuse", () => ({
      source: "jwt",
      reason: "refresh-token",
      subject,
      credentialId: familyId,
    }));
    await revocations.endFamily(familyId, time);
  }

  #announceCreated(subject: string, jti: string, reason: string): void {
    const { events } = this.#parts.runtime;
    events.emit("authn_token_created", () => ({ source: "jwt", reason, subject, credentialId: jti }));
  }
}

/** @throws SetupError when the manager has no key to sign with */
export function signerOf(access: AccessTokens | undefined): AccessTokens {
  if (access !== undefined) return access;
  throw new SetupError(
    "This JwtManager has no key to sign with, because it only verifies tokens of jwt.issuers. Set secret, privateKey or keys, or secretKey.",
  );
}
