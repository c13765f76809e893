import { randomBytes } from "node:crypto";
import { NO_METHODS, provedMethods } from "../core/authentication.js";
import { loadJsonwebtoken } from "../core/dependencies.js";
import { FOREIGN_ID } from "../core/foreign-ids.js";
import type { Principal } from "../core/principal.js";
import { partRuntime, type Runtime } from "../core/runtime.js";
import { SetupError } from "../core/setup-error.js";
import { SettingsError } from "../settings/errors.js";
import { ExpirySweeper } from "../stores/expiry-sweeper.js";
import { StoreTime } from "../stores/health/store-time.js";
import { warnOfSeconds } from "../settings/durations.js";
import { parse } from "../settings/object.js";
import { MemoryTokenStore } from "../stores/memory/token-store.js";
import { AccessTokens, type IssueTime } from "./access/access-tokens.js";
import { AccessVerifier, tokenFacts } from "./access/access-verifier.js";
import { VerifiedTokens } from "./access/token-cache.js";
import type { AccessTokenClaims } from "./decide.js";
import { isUnavailable, TokenError } from "./errors.js";
import { type EndFamilyInput, type FamiliesInput, type TokenFamily, TokenFamilyDirectory } from "./families.js";
import { type Grant, grantOf, type IssueInput, labelOf } from "./grant.js";
import { AllTokens } from "./issuers/all-tokens.js";
import { plainHttpIssues, type ResolvedJwtIssuerSettings } from "./issuers/settings.js";
import { IssueClock } from "./issue-clock.js";
import { jwkSet, type JwkSet } from "./keys/jwks.js";
import { KeyRing } from "./keys/key-ring.js";
import { RefreshSecrets, refreshPeppers } from "./refresh/refresh-secrets.js";
import { createRenewal, type Renewal } from "./refresh/renewal.js";
import { RefreshTokens, refreshPolicy } from "./refresh/refresh-tokens.js";
import { TokenRevocations } from "./revocations.js";
import { describeJwt, jwtSchema, type ResolvedJwtSettings, type JwtSettings } from "./settings.js";
import type { IssuedTokens, JwtManagerDependencies } from "./types.js";
import { GuardedTokenStore } from "./guarded-token-store.js";

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
  readonly #ring: KeyRing | undefined;
  readonly #access: AccessTokens | undefined;
  /** Tokens of our own and of others; `undefined` when only our own are accepted. */
  readonly #all: AllTokens | undefined;
  readonly #refresh: RefreshTokens;
  readonly #store: GuardedTokenStore;
  readonly #closesStore: boolean;
  readonly #issueClock: IssueClock;
  readonly #revocations: TokenRevocations;
  readonly #families: TokenFamilyDirectory;
  readonly #cleaner: ExpirySweeper;
  #opened?: Promise<void>;
  #closed?: Promise<void>;

  constructor(
    settings: JwtSettings = {},
    { runtime: given, store, secretKey, debug, ...deps }: JwtManagerDependencies = {},
  ) {
    const runtime = given ?? partRuntime(deps);
    this.runtime = runtime;
    this.options = Object.freeze(parse(jwtSchema, settings));
    warnOfSeconds("jwt.accessTokenMinutes", this.options.accessTokenMinutes ?? 0);
    const { issuers, accept, cacheSize } = this.options;
    const allowHttp = runtime.debug || debug === true;
    if (issuers !== undefined) reserveIssuers(issuers, runtime, allowHttp);
    this.#ring = KeyRing.from(this.options, secretKey);
    const verified = cacheSize === 0 ? undefined : new VerifiedTokens(cacheSize);
    this.#access = this.#ring && new AccessTokens(this.options, this.#ring, verified);
    this.#closesStore = this.options.store !== undefined || store === undefined;
    const chosen = this.options.store ?? store ?? new MemoryTokenStore({ clock: runtime.clock });
    this.#store = new GuardedTokenStore(chosen, runtime, this.options.storeTimeoutMs);
    if (issuers !== undefined || accept !== undefined)
      this.#all = new AllTokens(this.options, this.#access, verified, runtime, allowHttp);
    const tokens = this.#all ?? this.#signer;
    this.verifier = new AccessVerifier(tokens, this.#store, runtime.clock, this.options.onStoreError);
    this.#refresh = new RefreshTokens(
      this.#store,
      new RefreshSecrets(refreshPeppers(this.options, secretKey)),
      refreshPolicy(this.options),
      runtime.clock,
      this.#renewal(),
    );
    // The verifier accepts a token of another process whose clock is ahead by the leeway, and by the part of a second
    // that `iat` omits.
    const aheadMs = this.#store.knowsCutOffs ? (this.options.leewaySeconds + 1) * 1000 : 0;
    this.#issueClock = new IssueClock(runtime.clock, aheadMs);
    this.#revocations = new TokenRevocations(this.#store, this.#issueClock, this.options, runtime);
    this.#families = new TokenFamilyDirectory(this.#store, this.#revocations, runtime);
    this.#cleaner = new ExpirySweeper(this.#store, runtime);
  }

  /** Opens the store, once. Rejects with the store's error, and may then be called again. */
  init(): Promise<void> {
    return (this.#opened ??= this.#open().catch(
      (error: unknown) => ((this.#opened = undefined), Promise.reject(error)),
    ));
  }

  async #open(): Promise<void> {
    // Here, so that a missing package stops the start, and the first token need not wait for it.
    if (this.#ring !== undefined || this.options.accept !== undefined) loadJsonwebtoken();
    await Promise.all([this.#store.init(), this.#all?.open()]);
  }

  /** Closes the store, unless it was passed as a dependency; then its creator closes it. */
  close(): Promise<void> {
    return (this.#closed ??= (async () => {
      this.#all?.close();
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
   * @throws FactorRequiredError (rejects) when the app has accounts and this person must prove another factor first
   */
  async issue(subject: string | number, options?: IssueInput): Promise<IssuedTokens> {
    const access = this.#signer;
    const grant = this.#ownGrant(subject, options);
    await this.#mayIssue(grant.subject, options);
    const label = labelOf(options);
    const time = this.#storeTime();
    const at = await this.#issueTime(grant.subject, time);
    const familyId = randomBytes(16).toString("base64url");
    // Signed before the store is written, so that a token that would be too long leaves no record.
    const { token, jti, expiresIn } = await time.besides(() => access.sign(grant, at, familyId));
    const refreshToken = await this.#refresh.start(grant, { familyId, issuedAt: at.timestamp, label }, time);
    this.#announceCreated(grant.subject, jti, "issue");
    this.#cleaner.sometimes();
    return { accessToken: token, refreshToken, tokenType: "Bearer", expiresIn };
  }

  /**
   * Issues an access token alone, which cannot be refreshed.
   *
   * @throws TokenError `invalid-input`; `store-unavailable` when a `revokeSubject` of this subject was refused and
   * cannot be repeated now
   * @throws FactorRequiredError (rejects) as `issue` does
   */
  async signAccessToken(subject: string | number, options?: IssueInput): Promise<string> {
    const access = this.#signer;
    const grant = this.#ownGrant(subject, options);
    await this.#mayIssue(grant.subject, options);
    const { token, jti } = await access.sign(grant, await this.#issueTime(grant.subject, this.#storeTime()));
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
   * while its successor is unused: then the same successor is returned. With `onRefresh` the app decides what the new
   * pair gives, or refuses and ends the family.
   *
   * @throws TokenError `malformed`, `unknown`, `expired`, `revoked`, `reused`, `refused`, `store-unavailable`
   */
  async refresh(refreshToken: string): Promise<IssuedTokens> {
    const time = this.#storeTime();
    // Before the store call, so that a revocation in between still covers the access token.
    const { now, timestamp } = this.#issueClock.take();
    const redemption = await this.#refresh.redeem(refreshToken, time);
    if (!redemption.ok) {
      if (redemption.code === "reused" && redemption.record !== undefined)
        await this.#endStolenFamily(redemption.record, time);
      if (redemption.code === "refused" && redemption.record !== undefined)
        await this.#revocations.revokeFamily(redemption.record, time);
      throw new TokenError(redemption.code);
    }
    const { grant, familyId } = redemption;
    const at = { now, timestamp: Math.max(timestamp, redemption.issuedAt) };
    const { token, jti, expiresIn } = await this.#signer.sign(grant, at, familyId);
    this.#announceCreated(grant.subject, jti, "refresh");
    this.#cleaner.sometimes();
    return { accessToken: token, refreshToken: redemption.refreshToken, tokenType: "Bearer", expiresIn };
  }

  /**
   * Revokes one access token by its id for as long as it could be presented. With `jwt.issuers` it ends a token of any
   * issuer that has this `jti`; `revokeAccessToken` ends the one that it is given.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   */
  async revokeToken(jti: string): Promise<void> {
    return this.#revocations.revokeToken(jti);
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
    await this.#revocations.revokeToken(foreign?.credentialId ?? claims.jti, foreign?.issuer);
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
    const family = await this.#refresh.familyOf(refreshToken, time);
    if (family === undefined) return false;
    await this.#revocations.revokeFamily(family, time);
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
    return this.#families.list(id, page, this.#storeTime());
  }

  /**
   * Ends a family by its id: its refresh tokens and its access tokens. Returns false when there is no such family, or it
   * belongs to another subject than `options.subject`.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   * @throws SetupError (rejects) when the store cannot find a family by its id
   */
  async endFamily(familyId: string, options: EndFamilyInput = {}): Promise<boolean> {
    return this.#families.end(familyId, options, this.#storeTime());
  }

  /**
   * Revokes all tokens of a subject: all refresh tokens, and all access tokens issued before the promise resolved.
   *
   * @throws TokenError `invalid-input`, `store-unavailable`
   */
  async revokeSubject(id: string | number): Promise<void> {
    return this.#revocations.revokeSubject(id, this.#storeTime());
  }

  /**
   * @internal Whether the token that proved a principal is in force still, by the cut-offs of all processes. Never
   * rejects.
   */
  async isInForce(principal: Principal): Promise<boolean> {
    const token = tokenFacts(principal);
    const cutOff = await this.#store.cutOffOf(token.subject, this.#storeTime());
    if (cutOff === undefined || token.issuedAt >= cutOff) return true;
    // It may be the one that was kept, which this process knows once it knows the cut-off.
    return this.#store.knowsCutOff(token.subject, cutOff) && (await this.verifier.isNotRevoked(token));
  }

  /**
   * @internal For `security.revokeAll`. @param keep see `TokenRevocations.revokeSubject` @param isAgain the second of two
   * calls, for what began since the first
   */
  async endAllOf(subject: string, keep: string | undefined, isAgain: boolean): Promise<number | undefined> {
    if (isAgain) {
      await this.#revocations.cutOffAgain(subject, this.#storeTime(), keep);
      return undefined;
    }
    // Counted before, because the mark does not say how many it ends. Without a number the mark is written all the same.
    const page = await this.families(subject, { limit: COUNTED_FAMILIES }).catch(() => undefined);
    await this.#revocations.revokeSubject(subject, this.#storeTime(), keep);
    return page === undefined || page.length === COUNTED_FAMILIES
      ? undefined
      : page.filter(({ id }) => id !== keep).length;
  }

  /**
   * Returns the public keys (RFC 7517), including those that only verify; empty for HMAC, whose keys are all secret.
   */
  async jwks(): Promise<JwkSet> {
    return this.#ring === undefined ? { keys: [] } : jwkSet(this.#ring);
  }

  /** Returns the effective settings without secrets, JSON-serialisable. */
  describe(): Record<string, unknown> {
    return describeJwt(this.options, this.#ring?.kids ?? []);
  }

  /** @throws SetupError when the manager has no key to sign with */
  get #signer(): AccessTokens {
    if (this.#access !== undefined) return this.#access;
    throw new SetupError(
      "This JwtManager has no key to sign with, because it only verifies tokens of jwt.issuers. Set secret, privateKey or keys, or secretKey.",
    );
  }

  /** @throws TokenError `invalid-input` */
  #ownGrant(subject: string | number, options?: IssueInput): Grant {
    const grant = grantOf(subject, options, this.runtime.clock.now());
    if (this.runtime.foreignIds.has(grant.subject)) throw new TokenError("invalid-input", { message: FOREIGN_ID });
    return grant;
  }

  /** @throws FactorRequiredError (rejects) when the subject is a person who must prove another factor first */
  async #mayIssue(id: string, options?: IssueInput): Promise<void> {
    const { clock, gate } = this.runtime;
    const methods = provedMethods(options?.methods ?? [], clock.now()) ?? NO_METHODS;
    await gate.check({ kind: "token", id, methods });
  }

  /** The time of a log-in, after every revocation of the subject. */
  async #issueTime(subject: string, time: StoreTime): Promise<IssueTime> {
    await this.#store.settleSubject(subject, time);
    return this.#issueClock.takeAfter(await this.#store.cutOffOf(subject, time));
  }

  /** What decides at a refresh, if the app does. */
  #renewal(): Renewal | undefined {
    const { onRefresh } = this.options;
    if (onRefresh === undefined) return undefined;
    // A token that would be too long is found here, before the old one is used up.
    return createRenewal(onRefresh, this.runtime, (grant, familyId) => {
      const now = this.runtime.clock.now();
      return this.#signer.sign(grant, { now, timestamp: now }, familyId);
    });
  }

  #storeTime(): StoreTime {
    return new StoreTime(this.options.storeTimeoutMs);
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
    await this.#revocations.endFamily(familyId, time);
  }

  #announceCreated(subject: string, jti: string, reason: string): void {
    this.runtime.events.emit("authn_token_created", () => ({ source: "jwt", reason, subject, credentialId: jti }));
  }
}

/**
 * Reserves the ids that the issuers give, unless the app maps them to ids of its own.
 *
 * @throws SettingsError when keys would be fetched over plain http
 */
function reserveIssuers(issuers: readonly ResolvedJwtIssuerSettings[], runtime: Runtime, allowHttp: boolean): void {
  const issues = plainHttpIssues(issuers, allowHttp, "issuers");
  if (issues.length > 0) throw new SettingsError(issues);
  for (const { issuer, id } of issuers) if (id === undefined) runtime.foreignIds.add(issuer);
}
