import { loadJsonwebtoken } from "../core/dependencies.js";
import type { Principal } from "../core/principal.js";
import type { Runtime } from "../core/runtime.js";
import { StoreTime } from "../stores/health/store-time.js";
import { type AccessVerifier, tokenFacts } from "./access/access-verifier.js";
import type { AccessTokenClaims } from "./decide.js";
import { isUnavailable, TokenError } from "./errors.js";
import type { EndFamilyInput, FamiliesInput, TokenFamily } from "./families.js";
import type { IssueInput } from "./grant.js";
import { jwkSet, type JwkSet } from "./keys/jwks.js";
import { describeJwt, type JwtSettings, type ResolvedJwtSettings } from "./settings.js";
import { createTokenParts, type TokenParts } from "./token-parts.js";
import type { IssuedTokens, JwtManagerDependencies } from "./types.js";

/** A subject with as many families or more is not counted. */
const COUNTED_FAMILIES = 100;

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
  readonly #parts: TokenParts;
  #opened?: Promise<void>;
  #closed?: Promise<void>;

  constructor(settings: JwtSettings = {}, deps: JwtManagerDependencies = {}) {
    this.#parts = createTokenParts(settings, deps);
    this.runtime = this.#parts.runtime;
    this.options = this.#parts.options;
    this.verifier = this.#parts.verifier;
  }

  /** Opens the store, once. Rejects with the store's error, and may then be called again. */
  init(): Promise<void> {
    return (this.#opened ??= this.#open().catch(
      (error: unknown) => ((this.#opened = undefined), Promise.reject(error)),
    ));
  }

  async #open(): Promise<void> {
    // Here, so that a missing package stops the start, and the first token need not wait for it.
    if (this.#parts.ring !== undefined || this.options.accept !== undefined) loadJsonwebtoken();
    await Promise.all([this.#parts.store.init(), this.#parts.all?.open()]);
  }

  /** Closes the store, unless it was passed as a dependency; then its creator closes it. */
  close(): Promise<void> {
    return (this.#closed ??= (async () => {
      this.#parts.all?.close();
      await this.#parts.cleaner.finished(this.options.storeTimeoutMs);
      this.#parts.store.stopRepeating();
      if (this.#parts.closesStore) await this.#parts.store.close();
    })());
  }

  /**
   * Starts a family: issues an access token, and a refresh token to renew it.
   *
   * @param subject the id of the user or service, 1 to 255 characters or a safe integer, which is converted to decimal
   * text; never an id that may be reassigned later (ASVS 10.3.3)
   * @throws TokenError `invalid-input` for wrong or reserved claims, `store-unavailable`
   * @throws FactorRequiredError (rejects) when the app has accounts and this person must prove another factor first
   */
  async issue(subject: string | number, options?: IssueInput): Promise<IssuedTokens> {
    return this.#parts.issuing.issue(subject, options);
  }

  /**
   * Issues an access token alone, which cannot be refreshed.
   *
   * @throws TokenError `invalid-input`; `store-unavailable` when the last cut-off of the subject cannot be
   * read, or a `revokeSubject` that was refused cannot be repeated now
   * @throws FactorRequiredError (rejects) as `issue` does
   */
  async signAccessToken(subject: string | number, options?: IssueInput): Promise<string> {
    return this.#parts.issuing.signAccessToken(subject, options);
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
   * while its successor is unused: then the same successor is returned. With `onRefresh` the app decides what the new
   * pair gives, or refuses and ends the family.
   *
   * @throws TokenError `malformed`, `unknown`, `expired`, `revoked`, `reused`, `refused`, `store-unavailable`
   */
  async refresh(refreshToken: string): Promise<IssuedTokens> {
    return this.#parts.issuing.refresh(refreshToken);
  }

  /**
   * Revokes one access token by its id for as long as it could be presented. With `jwt.issuers` it ends a token of any
   * issuer that has this `jti`; `revokeAccessToken` ends the one that it is given.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   */
  async revokeToken(jti: string): Promise<void> {
    return this.#parts.revocations.revokeToken(jti);
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
      if (isUnavailable(verdict.code)) throw new TokenError(verdict.code);
      return false;
    }
    const { foreign, claims } = verdict;
    await this.#parts.revocations.revokeToken(foreign?.credentialId ?? claims.jti, foreign?.issuer);
    return true;
  }

  /**
   * Ends the family of a refresh token and its access tokens. Accepts any token of the family, even a used or expired
   * one. Returns false when there is no such token.
   *
   * @throws TokenError `store-unavailable`; `unreadable` when the token's record does not show its family
   */
  async revokeFamily(refreshToken: string): Promise<boolean> {
    const time = this.#storeTime();
    const family = await this.#parts.refresh.familyOf(refreshToken, time);
    if (family === undefined) return false;
    await this.#parts.revocations.revokeFamily(family, time);
    return true;
  }

  /**
   * Lists the families of refresh tokens of a user or service that are in force, newest first: one for each log-in that
   * has not ended, so one for each device. With a memory store, those of this process.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   * @throws SetupError (rejects) when the store cannot list them
   *
   * @example
   * ```ts
   * import express from "express";
   * import { applySecurity } from "portcullis";
   *
   * const app = express();
   * const security = applySecurity(app, { secretKey: process.env.SECRET_KEY, trustedHosts: ["api.example.com"], jwt: {} });
   * app.get("/devices", security.requireJwt(), async (req, res) => {
   *   const devices = await security.jwt.families(req.principal?.id ?? "");
   *   res.json(devices.map((device) => ({ ...device, isThisOne: device.id === req.principal?.claims["fam"] })));
   * });
   * app.delete("/devices/:id", security.requireJwt(), async (req, res) => {
   *   const hasEnded = await security.jwt.endFamily(String(req.params.id), { subject: req.principal?.id ?? "" });
   *   res.sendStatus(hasEnded ? 204 : 404);
   * });
   * ```
   */
  async families(id: string | number, page: FamiliesInput = {}): Promise<TokenFamily[]> {
    return this.#parts.families.list(id, page, this.#storeTime());
  }

  /**
   * Ends a family by its id: its refresh tokens and its access tokens. Returns false when there is no such family, or it
   * belongs to another subject than `options.subject`.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   * @throws SetupError (rejects) when the store cannot find a family by its id
   */
  async endFamily(familyId: string, options: EndFamilyInput = {}): Promise<boolean> {
    return this.#parts.families.end(familyId, options, this.#storeTime());
  }

  /**
   * Revokes all tokens of a subject: all refresh tokens, and all access tokens issued before the promise resolved.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   */
  async revokeSubject(id: string | number): Promise<void> {
    return this.#parts.revocations.revokeSubject(id, this.#storeTime());
  }

  /**
   * @internal Whether the token that proved a principal is in force still, by the cut-offs of all processes; by those
   * that this process knows when they cannot be read. Never rejects.
   */
  async isInForce(principal: Principal): Promise<boolean> {
    const token = tokenFacts(principal);
    const cutOff = await this.#parts.store
      .cutOffOf(token.subject, this.#storeTime())
      .catch(() => this.#parts.store.knownCutOffOf(token.subject));
    if (cutOff === undefined || token.issuedAt >= cutOff) return true;
    // It may be the one that was kept, which this process knows once it knows the cut-off.
    return this.#parts.store.knowsCutOff(token.subject, cutOff) && (await this.verifier.isNotRevoked(token));
  }

  /**
   * @internal For `security.revokeAll`. @param keep see `TokenRevocations.revokeSubject` @param isAgain the second of two
   * calls, for what began since the first
   */
  async endAllOf(subject: string, keep: string | undefined, isAgain: boolean): Promise<number | undefined> {
    if (isAgain) {
      await this.#parts.revocations.cutOffAgain(subject, this.#storeTime(), keep);
      return undefined;
    }
    // Counted before, because the mark does not say how many it ends. Without a number the mark is written all the same.
    const page = await this.families(subject, { limit: COUNTED_FAMILIES }).catch(() => undefined);
    await this.#parts.revocations.revokeSubject(subject, this.#storeTime(), keep);
    return page === undefined || page.length === COUNTED_FAMILIES
      ? undefined
      : page.filter(({ id }) => id !== keep).length;
  }

  /**
   * Returns the public keys (RFC 7517), including those that only verify; empty for HMAC, whose keys are all secret.
   */
  async jwks(): Promise<JwkSet> {
    return this.#parts.ring === undefined ? { keys: [] } : jwkSet(this.#parts.ring);
  }

  /** Returns the effective settings without secrets, JSON-serialisable. */
  describe(): Record<string, unknown> {
    return describeJwt(this.options, this.#parts.ring?.kids ?? []);
  }

  #storeTime(): StoreTime {
    return new StoreTime(this.options.storeTimeoutMs);
  }
}
