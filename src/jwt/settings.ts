import { createSecretKey } from "node:crypto";
import { z } from "zod";
import type { Secret } from "../core/secret.js";
import { modeSchema, realmSchema } from "../settings/common.js";
import { addIssue, selectSchema, settingsObject } from "../settings/object.js";
import { secretRingSchema } from "../settings/secrets.js";
import { TOKEN_STORE_METHODS, type TokenStore } from "../stores/contracts.js";
import { hasMethods } from "../stores/forwarding.js";
import { ALGORITHMS, familyOf, hashBits, type JwtAlgorithm } from "./keys/algorithms.js";
import { keyProblem, looksLikeAsymmetricKey } from "./keys/validation.js";
import { derivedKid } from "./keys/key-ids.js";
import { keyEntrySchema, privateKeySchema, type JwtKeySettings, type ResolvedJwtKeySettings } from "./keys/settings.js";

function isTokenStore(value: unknown): value is TokenStore {
  return hasMethods(value, TOKEN_STORE_METHODS);
}

/**
 * An issuer or audience: visible characters, not blank. `audience: ""` must never mean "any", as it does in
 * jsonwebtoken.
 */
const nameSchema = z
  .string()
  .regex(
    /^[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?$/,
    "Must be 1 to 512 printable ASCII characters without leading or trailing spaces",
  );

const audienceSchema = selectSchema<string | readonly string[], readonly string[]>((value) =>
  Array.isArray(value) ? z.array(nameSchema).min(1, "The list is empty.") : nameSchema.transform((name) => [name]),
);

/** Annotated with named types; otherwise the declarations would show an object without comments. */
const keySchema: z.ZodType<ResolvedJwtKeySettings, JwtKeySettings> = keyEntrySchema;

const shape = settingsObject({
  /**
   * `report` announces a refused token as an event and lets the request pass without a principal. Default:
   * `"enforce"`.
   */
  mode: modeSchema,
  /** The one algorithm that signs and is accepted (RFC 7518 section 3.1). Default: `"HS256"`. */
  algorithm: z.enum(ALGORITHMS).default("HS256"),
  /**
   * HMAC secret, used as it is, so that other services can verify the tokens. At least as long as the hash (RFC 7518
   * section 3.2). With a list, the first signs and all verify. Default: a key derived from `secretKey`.
   */
  secret: secretRingSchema.optional(),
  /**
   * Private key for RS, PS and ES algorithms: PEM text, a `Secret` or a KeyObject. Its public half verifies. Default:
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
  accessTokenMinutes: z.int().min(1).max(43_200).default(30),
  /** How long a refresh token may stay unused, in days. Default: `7`. */
  refreshTokenDays: z.int().min(1).max(365).default(7),
  /**
   * Days after which a family of refresh tokens ends, however often it was used (ASVS 10.4.8). Default: `30`, or
   * `refreshTokenDays` when that is more.
   */
  absoluteDays: z.int().min(1).max(3650).optional(),
  /**
   * For this many seconds a used refresh token gives the same successor again, for clients that race with themselves
   * or lost a response. 0 treats every second use as theft. Default: `10`.
   */
  reuseGraceSeconds: z.int().min(0).max(60).default(10),
  /** By how many seconds clocks may differ, for `exp`, `nbf` and `iat`. Default: `5`. */
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
  store: z.custom<TokenStore>(isTokenStore, "This is not a TokenStore: a required method is missing.").optional(),
  /** The realm in WWW-Authenticate: 1 to 64 printable ASCII characters without quotes. Default: `"api"`. */
  realm: realmSchema.default("api"),
});

type Shape = z.output<typeof shape>;
type Report = z.core.$RefinementCtx;

/** Settings of JWT: the manager, the layer and their store. */
export const jwtSchema = shape
  .superRefine((settings, context) => {
    checkKeySources(settings, context);
    settings.secret?.forEach((secret, index) =>
      checkSecret(secret, settings.algorithm, settings.secret?.length === 1 ? ["secret"] : ["secret", index], context),
    );
    if (settings.privateKey !== undefined)
      report(context, ["privateKey"], keyProblem(settings.privateKey, settings.algorithm));
    if (settings.keys !== undefined) checkKeys(settings.keys, settings.algorithm, context);
    if (settings.absoluteDays !== undefined && settings.absoluteDays < settings.refreshTokenDays) {
      addIssue(context, {
        code: "contradiction",
        path: ["absoluteDays"],
        message: "A family of refresh tokens would end before its first token expires.",
        remedy: "Set absoluteDays to at least refreshTokenDays.",
      });
    }
  })
  .transform((settings) => ({
    ...settings,
    audience: settings.audience ?? [settings.issuer],
    absoluteDays: settings.absoluteDays ?? Math.max(30, settings.refreshTokenDays),
  }));

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

function report(context: Report, path: readonly (string | number)[], problem: ReturnType<typeof keyProblem>): void {
  if (problem !== undefined) addIssue(context, { ...problem, path });
}

function checkKeySources(settings: Shape, context: Report): void {
  const given = (["secret", "privateKey", "keys"] as const).filter((name) => settings[name] !== undefined);
  const [, second] = given;
  if (second !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: [second],
      message: `The key is set more than once: ${given.join(" and ")}.`,
      remedy: "Keep one of them. To rotate keys, use keys.",
    });
  }
  const symmetric = familyOf(settings.algorithm) === "HS";
  if (!symmetric && settings.secret !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["secret"],
      message: `${settings.algorithm} signs with a private key, but this is a secret.`,
      remedy: "Set privateKey instead, or choose HS256.",
    });
  }
  if (!symmetric && given.length === 0) {
    addIssue(context, {
      code: "missing-setting",
      path: ["privateKey"],
      message: `${settings.algorithm} needs a private key.`,
      remedy: "Set privateKey or keys, or choose HS256.",
    });
  }
}

function checkSecret(
  secret: Secret,
  algorithm: JwtAlgorithm,
  path: readonly (string | number)[],
  context: Report,
): void {
  const text = secret.reveal();
  const bytes = hashBits(algorithm) / 8;
  if (looksLikeAsymmetricKey(text)) {
    addIssue(context, {
      code: "contradiction",
      path,
      message: "The secret is the text of an asymmetric key: anyone with the public key could forge tokens.",
      remedy: "Set it as privateKey and choose an RS, PS or ES algorithm.",
    });
  } else if (familyOf(algorithm) === "HS" && Buffer.byteLength(text) < bytes) {
    addIssue(context, {
      code: "weak-secret",
      path,
      message: `${algorithm} needs a secret of at least ${bytes} bytes (RFC 7518 section 3.2).`,
      remedy: `Generate one with: node -p "require('node:crypto').randomBytes(${bytes}).toString('base64url')"`,
    });
  }
}

function checkKeys(entries: readonly ResolvedJwtKeySettings[], algorithm: JwtAlgorithm, context: Report): void {
  if (entries[0]?.publicKey !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["keys", 0],
      message: "The first key signs tokens, and a public key cannot sign.",
      remedy: "Put an entry with privateKey first.",
    });
  }
  const seen = new Set<string>();
  entries.forEach((entry, index) => {
    checkEntry(entry, index, algorithm, context);
    const kid = entryKid(entry);
    if (kid === undefined) return;
    if (seen.has(kid)) {
      addIssue(context, {
        code: "contradiction",
        path: ["keys", index],
        message: "Two keys have the same kid.",
        remedy: "Give each key its own kid, and list each key once.",
      });
    }
    seen.add(kid);
  });
}

function checkEntry(entry: ResolvedJwtKeySettings, index: number, algorithm: JwtAlgorithm, context: Report): void {
  if (entry.secret === undefined) {
    const name = entry.privateKey === undefined ? "publicKey" : "privateKey";
    const key = entry.privateKey ?? entry.publicKey;
    if (key !== undefined) report(context, ["keys", index, name], keyProblem(key, algorithm));
  } else if (familyOf(algorithm) === "HS") {
    checkSecret(entry.secret, algorithm, ["keys", index, "secret"], context);
  } else {
    addIssue(context, {
      code: "contradiction",
      path: ["keys", index, "secret"],
      message: `${algorithm} signs with a private key, but this is a secret.`,
      remedy: "Set privateKey or publicKey instead, or choose HS256.",
    });
  }
}

/** Returns `undefined` for a key type that no algorithm here supports; that is reported separately. */
function entryKid(entry: ResolvedJwtKeySettings): string | undefined {
  if (entry.kid !== undefined) return entry.kid;
  try {
    const key =
      entry.secret === undefined
        ? (entry.privateKey ?? entry.publicKey)
        : createSecretKey(Buffer.from(entry.secret.reveal()));
    return key === undefined ? undefined : derivedKid(key);
  } catch {
    return undefined;
  }
}
