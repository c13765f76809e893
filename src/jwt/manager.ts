import { randomBytes } from "node:crypto";
import { LRUCache } from "lru-cache";
import { type PartDependencies, partRuntime, type Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { StoreTime } from "../stores/health/store-time.js";
import { parse } from "../settings/object.js";
import type { TokenStore } from "../stores/contracts.js";
import { MemoryTokenStore } from "../stores/memory/token-store.js";
import { AccessTokens } from "./access/access-tokens.js";
import { AccessVerifier } from "./access/access-verifier.js";
import { ExpirySweeper } from "./expiry-sweeper.js";
import type { AccessTokenClaims } from "./decide.js";
import { describeJwt } from "./describe.js";
import { TokenError } from "./errors.js";
import { grantOf, isTokenId, type IssueInput } from "./grant.js";
import { IssueClock } from "./issue-clock.js";
import { jwkSet, type JwkSet } from "./keys/jwks.js";
import { KeyRing } from "./keys/key-ring.js";
import { RefreshSecrets, refreshPeppers } from "./refresh/refresh-secrets.js";
import { RefreshTokens, refreshPolicy } from "./refresh/refresh-tokens.js";
import { jwtSchema, type ResolvedJwtSettings, type JwtSettings } from "./settings.js";
import { GuardedTokenStore } from "./guarded-token-store.js";

/** The result of a log-in or a refresh (RFC 6749 section 5.1, in camel case). */
export interface IssuedTokens {
  /** The access token, a JWT. */
  readonly accessToken: string;
  /** The refresh token, which `refresh` accepts once. */
  readonly refreshToken: string;
  /** How the access token is presented: `Authorization: Bearer …`. */
  readonly tokenType: "Bearer";
  /** Lifetime of the access token, in seconds. */
  readonly expiresIn: number;
}

/** The revoked credential, as reported in the event. */
interface Revoked {
  readonly reason: "token" | "family" | "subject";
  readonly credentialId?: string;
  readonly subject?: string;
}

/** Objects passed to a `JwtManager`. */
export interface JwtManagerDependencies extends PartDependencies {
  /** @internal Replaces `events`, `clock` and `onRefusal`: the runtime of a whole application. */
  readonly runtime?: Runtime | undefined;
  /** A store that its creator closes; `settings.store` takes precedence. */
  readonly store?: TokenStore | undefined;
  /**
   * Root secrets. The HMAC key is derived from them when the settings have none, and so is the key of the refresh
   * tokens' hashes.
   */
  readonly secretKey?: readonly Secret[] | undefined;
}

/** Number of refused revocations that one process tracks. */
const MOST_REFUSED = 10_000;
/**
 * How long after a successful retry the same call counts as the caller's second attempt and not as a new revocation; in
 * milliseconds.
 */
const SECOND_TRY_MS = 60_000;

/**
 * Issues, verifies, refreshes and revokes tokens. All methods are asynchronous and reject with a `TokenError` on
 * failure.
 *
 * @throws SettingsError when the settings are wrong or there is no key
 *
 * @example
 * ```ts
 * import { JwtManager, TokenError } from "portcullis";
 *
 * const tokens = new JwtManager({ secret: process.env.JWT_SECRET, accessTokenMinutes: 10 });
 * const { accessToken, refreshToken } = await tokens.issue("ada", { scopes: ["orders:read"] });
 * try {
 *   console.log((await tokens.verifyAccessToken(accessToken)).sub);
 * } catch (error) {
 *   if (error instanceof TokenError) console.error(error.code);
 * }
 * await tokens.revokeFamily(refreshToken);
 * ```
 */
export class JwtManager {
  /** @internal For the layer and the routes. */
  readonly runtime: Runtime;
  /** @internal For the layer: `verifyAccessToken` returning a value, without a promise when none is needed. */
  readonly verifier: AccessVerifier;
  /** The settings in effect. Printing them reveals no secret and no key. */
  readonly options: ResolvedJwtSettings;
  readonly #ring: KeyRing;
  readonly #access: AccessTokens;
  readonly #refresh: RefreshTokens;
  readonly #store: GuardedTokenStore;
  readonly #closesStore: boolean;
  readonly #issueClock: IssueClock;
  readonly #accessLifeMs: number;
  readonly #cleaner: ExpirySweeper;
  /** Refused revocations, by what they revoke. Each is announced once: by a retry or by the caller's second attempt. */
  readonly #refused = new LRUCache<string, { isAnnounced: boolean }>({ max: MOST_REFUSED });
  #opened?: Promise<void>;
  #closed?: Promise<void>;

  constructor(settings: JwtSettings = {}, { runtime: given, store, secretKey, ...deps }: JwtManagerDependencies = {}) {
    const runtime = given ?? partRuntime(deps);
    this.runtime = runtime;
    this.options = Object.freeze(parse(jwtSchema, settings));
    this.#ring = KeyRing.from(this.options, secretKey);
    this.#access = new AccessTokens(this.options, this.#ring);
    this.#closesStore = this.options.store !== undefined || store === undefined;
    const chosen = this.options.store ?? store ?? new MemoryTokenStore({ clock: runtime.clock });
    this.#store = new GuardedTokenStore(chosen, runtime, this.options.storeTimeoutMs);
    this.verifier = new AccessVerifier(this.#access, this.#store, runtime.clock, this.options.onStoreError);
    this.#refresh = new RefreshTokens(
      this.#store,
      new RefreshSecrets(refreshPeppers(this.options, secretKey)),
      refreshPolicy(this.options),
      runtime.clock,
    );
    this.#issueClock = new IssueClock(runtime.clock);
    // How long an access token issued now can be presented: its lifetime, the leeway, and a second of rounding.
    this.#accessLifeMs = (this.options.accessTokenMinutes * 60 + this.options.leewaySeconds + 1) * 1000;
    this.#cleaner = new ExpirySweeper(this.#store, runtime);
  }

  /** Opens the store, once. Rejects with the store's error, and may then be called again. */
  init(): Promise<void> {
    return (this.#opened ??= this.#store
      .init()
      .catch((error: unknown) => ((this.#opened = undefined), Promise.reject(error))));
  }

  /** Closes the store, unless it was passed as a dependency; then its creator closes it. */
  close(): Promise<void> {
    return (this.#closed ??= (async () => {
      await this.#cleaner.finished(this.options.storeTimeoutMs);
      this.#store.stopRepeating();
      if (this.#closesStore) await this.#store.close();
    })());
  }

  /**
   * Starts a family: issues an access token, and a refresh token to renew it.
   *
   * @param subject the id of the user or service, 1 to 255 characters or a safe integer, which is converted to decimal
   * text; never an id that may be reassigned later (ASVS 10.3.3)
   * @throws TokenError `invalid-input` for wrong or reserved claims, `store-unavailable`
   */
  async issue(subject: string | number, options?: IssueInput): Promise<IssuedTokens> {
    const grant = grantOf(subject, options);
    const at = this.#issueClock.take();
    const familyId = randomBytes(16).toString("base64url");
    // Signed before the store is written, so that a token that would be too long leaves no record.
    const { token, jti, expiresIn } = this.#access.sign(grant, at, familyId);
    const refreshToken = await this.#refresh.start(familyId, grant);
    this.#announceCreated(grant.subject, jti, "issue");
    this.#cleaner.sometimes();
    return { accessToken: token, refreshToken, tokenType: "Bearer", expiresIn };
  }

  /** Issues an access token alone, which cannot be refreshed. @throws TokenError `invalid-input` */
  async signAccessToken(subject: string | number, options?: IssueInput): Promise<string> {
    const grant = grantOf(subject, options);
    const { token, jti } = this.#access.sign(grant, this.#issueClock.take());
    this.#announceCreated(grant.subject, jti, "sign");
    return token;
  }

  /**
   * Verifies an access token and returns its claims.
   *
   * @throws TokenError with the reason as `code`
   */
  async verifyAccessToken(token: string): Promise<AccessTokenClaims> {
    const verdict = await this.verifier.check(token);
    if (!verdict.ok) throw new TokenError(verdict.code);
    return verdict.claims;
  }

  /**
   * Exchanges a refresh token for a new pair. A second use of a token ends its family, except within the grace time
   * while its successor is unused: then the same successor is returned.
   *
   * @throws TokenError `malformed`, `unknown`, `expired`, `revoked`, `reused`, `store-unavailable`
   */
  async refresh(refreshToken: string): Promise<IssuedTokens> {
    const at = this.#issueClock.take();
    const time = this.#storeTime();
    const redemption = await this.#refresh.redeem(refreshToken, time);
    if (!redemption.ok) {
      if (redemption.code === "reused" && redemption.record !== undefined)
        await this.#endStolenFamily(redemption.record, time);
      throw new TokenError(redemption.code);
    }
    const { grant, familyId } = redemption;
    const { token, jti, expiresIn } = this.#access.sign(grant, at, familyId);
    this.#announceCreated(grant.subject, jti, "refresh");
    this.#cleaner.sometimes();
    return { accessToken: token, refreshToken: redemption.refreshToken, tokenType: "Bearer", expiresIn };
  }

  /**
   * Revokes one access token by its id for as long as it could be presented.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   */
  async revokeToken(jti: string): Promise<void> {
    if (!isTokenId(jti)) {
      throw new TokenError("invalid-input", {
        message: "revokeToken expects the jti claim of a token, not the token itself.",
      });
    }
    await this.#revoke({ reason: "token", credentialId: jti }, (doneLater) =>
      this.#store.revokeAccessToken(jti, this.runtime.clock.now() + this.#accessLifeMs, this.#storeTime(), doneLater),
    );
  }

  /**
   * Revokes an access token, given the whole token. Returns false when the token is not valid or has expired: there is
   * nothing to revoke.
   *
   * @throws TokenError `store-unavailable`
   */
  async revokeAccessToken(token: string): Promise<boolean> {
    const verdict = await this.verifier.check(token);
    if (!verdict.ok) {
      if (verdict.code === "store-unavailable") throw new TokenError("store-unavailable");
      return false;
    }
    await this.revokeToken(verdict.claims.jti);
    return true;
  }

  /**
   * Ends the family of a refresh token and its access tokens. Accepts any token of the family, even a used or expired
   * one. Returns false when there is no such token.
   *
   * @throws TokenError `store-unavailable`
   */
  async revokeFamily(refreshToken: string): Promise<boolean> {
    const time = this.#storeTime();
    const record = await this.#refresh.find(refreshToken, time);
    if (record === undefined) return false;
    const { familyId, subject } = record;
    await this.#revoke({ reason: "family", credentialId: familyId, subject }, (doneLater) =>
      this.#endFamily(familyId, time, doneLater),
    );
    return true;
  }

  /**
   * Revokes all tokens of a subject: all refresh tokens, and all access tokens issued before the promise resolved.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   */
  async revokeSubject(id: string | number): Promise<void> {
    const { subject } = grantOf(id);
    const time = this.#storeTime();
    await this.#revoke({ reason: "subject", subject }, async (doneLater) => {
      // Twice: a concurrent refresh may finish before the first call takes effect, with a token timestamp after the
      // first cut-off.
      for (let pass = 0; pass < 2; pass += 1) {
        const cutOff = this.#issueClock.cutOff();
        await this.#store.revokeSubject(
          subject,
          cutOff,
          Math.max(cutOff, this.runtime.clock.now()) + this.#accessLifeMs,
          time,
          doneLater,
        );
        if (pass === 1) this.#issueClock.settle(cutOff);
      }
    });
  }

  /**
   * Returns the public keys (RFC 7517), including those that only verify; empty for HMAC, whose keys are all secret.
   */
  async jwks(): Promise<JwkSet> {
    return jwkSet(this.#ring);
  }

  /** Returns the effective settings without secrets, JSON-serialisable. */
  describe(): Record<string, unknown> {
    return describeJwt(this.options, this.#ring.kids);
  }

  #storeTime(): StoreTime {
    return new StoreTime(this.options.storeTimeoutMs);
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
      this.runtime.events.emit("authn_token_revoked", () => ({ source: "jwt", ...what }));
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

  /**
   * Revokes the access tokens and the refresh tokens, even when one of the calls fails: a Redis that is down must not
   * leave a stolen family valid in the database.
   *
   * @param done called once both have succeeded, if necessary after retries
   */
  async #endFamily(familyId: string, time: StoreTime, done: () => void = () => undefined): Promise<void> {
    const now = this.runtime.clock.now();
    let left = 2;
    const oneDone = (): void => void ((left -= 1) === 0 && done());
    const calls = [
      this.#store.denyFamily(familyId, now + this.#accessLifeMs, time, oneDone),
      this.#store.revokeFamily(familyId, now, time, oneDone),
    ];
    for (const call of calls) call.then(oneDone, () => undefined);
    for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason;
  }

  async #endStolenFamily(
    { familyId, subject }: { readonly familyId: string; readonly subject: string },
    time: StoreTime,
  ): Promise<void> {
    // Announced first: a store failure must not hide the theft.
    this.runtime.events.emit("authn_token_reuse", () => ({
      source: "jwt",
      reason: "refresh-token",
      subject,
      credentialId: familyId,
    }));
    await this.#endFamily(familyId, time);
  }

  #announceCreated(subject: string, jti: string, reason: string): void {
    this.runtime.events.emit("authn_token_created", () => ({ source: "jwt", reason, subject, credentialId: jti }));
  }
}
