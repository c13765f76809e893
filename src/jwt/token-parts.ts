import { partRuntime, type Runtime } from "../core/runtime.js";
import { warnOfSeconds } from "../settings/durations.js";
import { SettingsError } from "../settings/errors.js";
import { parse } from "../settings/object.js";
import { ExpirySweeper } from "../stores/expiry-sweeper.js";
import { MemoryTokenStore } from "../stores/memory/token-store.js";
import { AccessTokens } from "./access/access-tokens.js";
import { AccessVerifier } from "./access/access-verifier.js";
import { VerifiedTokens } from "./access/token-cache.js";
import { TokenFamilyDirectory } from "./families.js";
import { GuardedTokenStore } from "./guarded-token-store.js";
import { IssueClock } from "./issue-clock.js";
import { AllTokens } from "./issuers/all-tokens.js";
import { plainHttpIssues, type ResolvedJwtIssuerSettings } from "./issuers/settings.js";
import { signerOf, TokenIssuing } from "./issuing.js";
import { KeyRing } from "./keys/key-ring.js";
import { RefreshSecrets, refreshPeppers } from "./refresh/refresh-secrets.js";
import { refreshPolicy, RefreshTokens } from "./refresh/refresh-tokens.js";
import { createRenewal, type Renewal } from "./refresh/renewal.js";
import { TokenRevocations } from "./revocations.js";
import { type JwtSettings, jwtSchema, type ResolvedJwtSettings } from "./settings.js";
import type { JwtManagerDependencies } from "./types.js";

/** The parts of a `JwtManager`. */
export interface TokenParts {
  readonly runtime: Runtime;
  readonly options: ResolvedJwtSettings;
  /** `undefined`: the manager has no key, and only verifies. */
  readonly ring: KeyRing | undefined;
  /** Tokens of our own and of others; `undefined` when only our own are accepted. */
  readonly all: AllTokens | undefined;
  readonly verifier: AccessVerifier;
  readonly store: GuardedTokenStore;
  readonly closesStore: boolean;
  readonly refresh: RefreshTokens;
  readonly issuing: TokenIssuing;
  readonly revocations: TokenRevocations;
  readonly families: TokenFamilyDirectory;
  readonly cleaner: ExpirySweeper;
}

/**
 * Puts the parts of a manager together.
 *
 * @throws SettingsError when the settings are wrong or there is no key
 */
export function createTokenParts(
  settings: JwtSettings,
  { runtime: given, store: givenStore, secretKey, debug, ...deps }: JwtManagerDependencies,
): TokenParts {
  const runtime = given ?? partRuntime(deps);
  const options = Object.freeze(parse(jwtSchema, settings));
  warnOfSeconds("jwt.accessTokenMinutes", options.accessTokenMinutes ?? 0);
  const { issuers, accept, cacheSize, storeTimeoutMs } = options;
  const allowHttp = runtime.debug || debug === true;
  if (issuers !== undefined) reserveIssuers(issuers, runtime, allowHttp);
  const ring = KeyRing.from(options, secretKey);
  const verified = cacheSize === 0 ? undefined : new VerifiedTokens(cacheSize);
  const access = ring && new AccessTokens(options, ring, verified);
  const chosen = options.store ?? givenStore ?? new MemoryTokenStore({ clock: runtime.clock });
  const store = new GuardedTokenStore(chosen, runtime, storeTimeoutMs);
  const all =
    issuers === undefined && accept === undefined
      ? undefined
      : new AllTokens(options, access, verified, runtime, allowHttp);
  const verifier = new AccessVerifier(all ?? signerOf(access), store, runtime.clock, options.onStoreError);
  const refresh = new RefreshTokens(
    store,
    new RefreshSecrets(refreshPeppers(options, secretKey)),
    refreshPolicy(options),
    runtime.clock,
    renewalOf(options, access, runtime),
  );
  // The verifier accepts a token of another process whose clock is ahead by the leeway, and by the part of a second
  // that `iat` omits.
  const aheadMs = store.knowsCutOffs ? (options.leewaySeconds + 1) * 1000 : 0;
  const issueClock = new IssueClock(runtime.clock, aheadMs);
  const revocations = new TokenRevocations(store, issueClock, options, runtime);
  const cleaner = new ExpirySweeper(store, runtime);
  return {
    runtime,
    options,
    ring,
    all,
    verifier,
    store,
    closesStore: options.store !== undefined || givenStore === undefined,
    refresh,
    issuing: new TokenIssuing({ access, refresh, store, issueClock, revocations, cleaner, runtime, storeTimeoutMs }),
    revocations,
    families: new TokenFamilyDirectory(store, revocations, runtime),
    cleaner,
  };
}

/** What decides at a refresh, if the app does. */
function renewalOf(
  { onRefresh }: ResolvedJwtSettings,
  access: AccessTokens | undefined,
  runtime: Runtime,
): Renewal | undefined {
  if (onRefresh === undefined) return undefined;
  // A token that would be too long is found here, before the old one is used up.
  return createRenewal(onRefresh, runtime, (grant, familyId) => {
    const now = runtime.clock.now();
    return signerOf(access).sign(grant, { now, timestamp: now }, familyId);
  });
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
