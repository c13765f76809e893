import { z } from "zod";
import { modeSchema } from "../settings/common.js";
import { durationSchema, unitsSchema } from "../settings/durations.js";
import { realmSchema } from "../settings/identity.js";
import { selectSchema, settingsObject, settingsObjectLike } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import { secretRingSchema } from "../settings/secrets.js";
import { TOKEN_STORE_METHODS, type TokenStore } from "../stores/contracts.js";
import { hasMethods } from "../stores/forwarding.js";
import { acceptSchema, type JwtAcceptSettings, type ResolvedJwtAcceptSettings } from "./issuers/accept-settings.js";
import {
  checkIssuers,
  issuerSchema,
  type JwtIssuerSettings,
  type ResolvedJwtIssuerSettings,
} from "./issuers/settings.js";
import type { OnRefresh } from "./refresh/renewal.js";
import { checkLives, LONGEST, withDefaultLives } from "./lives.js";
import { ALGORITHMS } from "./keys/algorithms.js";
import { checkKeys } from "./keys/check-keys.js";
import { keyEntrySchema, privateKeySchema, type JwtKeySettings, type ResolvedJwtKeySettings } from "./keys/settings.js";
import { audienceSchema, nameSchema } from "./names.js";

function isTokenStore(value: unknown): value is TokenStore {
  return hasMethods(value, TOKEN_STORE_METHODS);
}

/** Annotated with named types; otherwise the declarations would show an object without comments. */
const keySchema: z.ZodType<ResolvedJwtKeySettings, JwtKeySettings> = keyEntrySchema;

/** Named in functions, so that an app without foreign tokens does not load their schemas. */
const issuersSchema = selectSchema<readonly JwtIssuerSettings[], readonly ResolvedJwtIssuerSettings[]>(() =>
  z.array(issuerSchema).min(1, "The list is empty."),
);
const formerTokensSchema = selectSchema<JwtAcceptSettings, ResolvedJwtAcceptSettings>(() => acceptSchema);

const shape = settingsObjectLike(PEER_NAMES.jsonwebtoken, {
  /**
   * `report` announces a refused token as an event and lets the request pass without a principal. Default:
   * `"enforce"`.
   */
  mode: modeSchema,
  /**
   * The one algorithm that signs and is accepted (RFC 7518 section 3.1; `EdDSA` is Ed25519, RFC 8037). Default:
   * `"HS256"`.
   */
  algorithm: z.enum(ALGORITHMS).default("HS256"),
  /**
   * HMAC secret, used as it is, so that other services can verify the tokens. At least as long as the hash (RFC 7518
   * section 3.2). With a list, the first signs and all verify. Default: a key derived from `secretKey`.
   */
  secret: secretRingSchema.optional(),
  /**
   * Private key for RS, PS and ES algorithms and EdDSA: PEM text, a `Secret` or a KeyObject. Its public half verifies. Default:
   * none.
   */
  privateKey: privateKeySchema.optional(),
  /** Several keys, for rotation: the first signs, all verify. In place of `secret` and `privateKey`. Default: none. */
  keys: z.array(keySchema).min(1, "The list is empty.").optional(),
  /** `iss` of every token, compared exactly. Default: `"portcullis"`. */
  issuer: nameSchema.default("portcullis"),
  /**
   * `aud` of tokens, one or a list: the first is written into tokens, any of them is accepted (ASVS 9.2.3, 9.2.4).
   * Default: the issuer.
   */
  audience: audienceSchema.optional(),
  /** Life of an access token, in minutes. Default: `30`. */
  accessTokenMinutes: durationSchema("minutes", 1, LONGEST.accessTokenMinutes).optional(),
  /** Life of an access token, in seconds; in place of `accessTokenMinutes`. Default: none. */
  accessTokenSeconds: durationSchema("seconds", 1, LONGEST.accessTokenSeconds).optional(),
  /** How long a refresh token may stay unused, in days. Default: `7`. */
  refreshTokenDays: durationSchema("days", 1, LONGEST.refreshTokenDays).optional(),
  /** How long a refresh token may stay unused, in seconds; in place of `refreshTokenDays`. Default: none. */
  refreshTokenSeconds: durationSchema("seconds", 1, LONGEST.refreshTokenSeconds).optional(),
  /**
   * Days after which a family of refresh tokens ends, however often it was used (ASVS 10.4.8). Default: `30`, or
   * `refreshTokenDays` when that is more.
   */
  absoluteDays: durationSchema("days", 1, LONGEST.absoluteDays).optional(),
  /** Seconds after which a family of refresh tokens ends; in place of `absoluteDays`. Default: none. */
  absoluteSeconds: durationSchema("seconds", 1, LONGEST.absoluteSeconds).optional(),
  /**
   * `"seconds"` confirms that a multiple of 60,000 in `accessTokenSeconds`, `refreshTokenSeconds` or `absoluteSeconds`,
   * which looks like milliseconds, is meant in seconds. Default: none.
   */
  units: unitsSchema,
  /**
   * For this many seconds a used refresh token gives the same successor again, for clients that race with themselves
   * or lost a response. 0 treats every second use as theft. Default: `10`.
   */
  reuseGraceSeconds: z.int().min(0).max(60).default(10),
  /**
   * Decides at each refresh what the tokens give from now on, within a second: returns `{ scopes?, roles?, claims? }`,
   * or `null` to refuse with 401 and end the family. An error is answered with 503, and nothing has changed. Default:
   * what they gave so far.
   */
  onRefresh: z
    .custom<OnRefresh>((value) => typeof value === "function", {
      error: "This is not a function.",
      params: { remedy: "Write a function: (grant) => ({ scopes: […] }) or null." },
    })
    .optional(),
  /** By how many seconds clocks may differ, for `exp`, `nbf`, `iat` and `revokeSubject`. Default: `5`. */
  leewaySeconds: z.int().min(0).max(60).default(5),
  /**
   * Number of tokens whose verified signature is cached, so that it is not verified again on each request; all other
   * checks are repeated. 0 disables the cache. Default: `10000`.
   */
  cacheSize: z.int().min(0).max(1_000_000).default(10_000),
  /**
   * When the store cannot report whether a token is revoked: `deny` answers 503, `allow` accepts it. Refreshing always
   * needs the store. Default: `"deny"`.
   */
  onStoreError: z.enum(["deny", "allow"]).default("deny"),
  /**
   * How long the store may take for one call of the manager, all its queries together, in milliseconds. Default:
   * `250`.
   */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /**
   * Where refresh tokens and revocations are kept: a `TokenStore`, which the manager opens and closes. Default: the
   * `database`, or the memory of this process.
   */
  store: z
    .custom<TokenStore>(isTokenStore, {
      error: "This is not a TokenStore: a required method is missing.",
      params: { remedy: "Pass an instance (not the class) of a store that implements TokenStore." },
    })
    .optional(),
  /**
   * Other issuers whose tokens are accepted, each with its audience, algorithms and keys. A manager with issuers needs
   * no key of its own: without one it issues nothing. Default: none.
   */
  issuers: issuersSchema.optional(),
  /**
   * For a migration: HS256 tokens of the app before it used this library, which have no `typ` and no `jti`. Default:
   * none.
   */
  accept: formerTokensSchema.optional(),
  /** The realm in WWW-Authenticate: 1 to 64 printable ASCII characters without quotes. Default: `"api"`. */
  realm: realmSchema.default("api"),
});

/** Settings of JWT: the manager, the layer and their store. */
export const jwtSchema = shape
  .superRefine((settings, context) => {
    checkKeys(settings, context);
    if (settings.issuers !== undefined) checkIssuers(settings.issuers, settings.issuer, context);
    checkLives(settings, context);
  })
  .transform((settings) => ({ ...withDefaultLives(settings), audience: settings.audience ?? [settings.issuer] }));

/** Settings of JSON Web Tokens: `new JwtManager(settings)` and `jwt` of `applySecurity`. */
export interface JwtSettings extends z.input<typeof jwtSchema> {}
/** Settings of JSON Web Tokens with every default filled in. */
export interface ResolvedJwtSettings extends z.output<typeof jwtSchema> {}

/** Settings of one `jwtAuth` that may differ from those of its manager. */
export const jwtAuthSchema = settingsObject({
  /**
   * `report` announces a refused token as an event and lets the request pass without a principal. Default: the mode
   * of the manager.
   */
  mode: z.enum(["enforce", "report"]).optional(),
  /** The realm in WWW-Authenticate. Default: the realm of the manager. */
  realm: realmSchema.optional(),
});

/** Settings of one `jwtAuth(manager, settings)` that may differ from those of its manager. */
export interface JwtAuthSettings extends z.input<typeof jwtAuthSchema> {}

/** Returns the effective settings without secrets or keys, JSON-serialisable. */
export function describeJwt(options: ResolvedJwtSettings, kids: readonly string[]): Record<string, unknown> {
  const {
    algorithm,
    issuer,
    audience,
    accessTokenMinutes,
    accessTokenSeconds,
    refreshTokenDays,
    refreshTokenSeconds,
    absoluteDays,
    absoluteSeconds,
    reuseGraceSeconds,
    leewaySeconds,
    cacheSize,
    onRefresh,
    onStoreError,
    storeTimeoutMs,
    realm,
  } = options;
  const lives = {
    ...(accessTokenSeconds === undefined ? { accessTokenMinutes } : { accessTokenSeconds }),
    ...(refreshTokenSeconds === undefined ? { refreshTokenDays } : { refreshTokenSeconds }),
    ...(absoluteSeconds === undefined ? { absoluteDays } : { absoluteSeconds }),
  };
  return {
    algorithm,
    key: kids.length === 0 ? "none: verifies only" : keySource(options),
    kids: [...kids],
    issuer,
    audience: [...audience],
    ...lives,
    reuseGraceSeconds,
    leewaySeconds,
    cacheSize,
    ...(onRefresh === undefined ? {} : { onRefresh: "[function]" }),
    onStoreError,
    storeTimeoutMs,
    realm,
    ...describeForeign(options),
  };
}

/** What is said about tokens that others issue; nothing when there are none. */
function describeForeign({ issuers, accept }: ResolvedJwtSettings): Record<string, unknown> {
  return {
    ...(issuers === undefined
      ? {}
      : {
          issuers: issuers.map(({ issuer, audience, algorithms, jwksUri, audienceClaim, ...times }) => ({
            issuer,
            audience: [...audience],
            audienceClaim,
            algorithms: [...algorithms],
            keys: jwksUri ?? "by discovery",
            maxLifetimeMinutes: times.maxLifetimeMinutes,
            fetchTimeoutMs: times.fetchTimeoutMs,
            refreshSeconds: times.refreshSeconds,
            staleSeconds: times.staleSeconds,
          })),
        }),
    ...(accept === undefined
      ? {}
      : {
          accept: {
            ...(accept.issuer === undefined ? {} : { issuer: accept.issuer }),
            ...(accept.audience === undefined ? {} : { audience: [...accept.audience] }),
            until: new Date(accept.until).toISOString(),
          },
        }),
  };
}

function keySource(options: ResolvedJwtSettings): string {
  if (options.secret !== undefined) return "[secret]";
  if (options.privateKey !== undefined) return "[private key]";
  return options.keys === undefined ? "derived from secretKey" : "[keys]";
}
