import { createSecretKey } from "node:crypto";
import { z } from "zod";
import type { Secret } from "../core/secret.js";
import { modeSchema } from "../settings/common.js";
import { addIssue, chosen, settingsObject } from "../settings/object.js";
import { secretRingSchema } from "../settings/secrets.js";
import type { TokenStore } from "../stores/contracts.js";
import { ALGORITHMS, familyOf, hashBits, type JwtAlgorithm } from "./keys/algorithms.js";
import { keyProblem, looksLikeAsymmetricKey } from "./keys/validation.js";
import { derivedKid } from "./keys/key-ids.js";
import { keyEntrySchema, privateKeySchema, type KeyEntry } from "./keys/settings.js";

const STORE_METHODS = [
  "init",
  "insert",
  "get",
  "rotate",
  "revokeFamily",
  "revokeSubject",
  "revokeAccessToken",
  "denyFamily",
  "isRevoked",
  "deleteExpired",
  "close",
] as const;

function isTokenStore(value: unknown): value is TokenStore {
  if (typeof value !== "object" || value === null) return false;
  return STORE_METHODS.every((method) => typeof (value as Record<string, unknown>)[method] === "function");
}

/** A name of an issuer or an audience: visible characters, not blank. `audience: ""` must never mean "any" (jsonwebtoken takes it so). */
const nameSchema = z
  .string()
  .regex(
    /^[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?$/,
    "Not 1 to 512 printable ASCII characters without spaces around them",
  );

const audienceSchema = chosen<string | readonly string[], readonly string[]>((value) =>
  Array.isArray(value)
    ? z.array(nameSchema).min(1, "The list is empty; give at least one audience.")
    : nameSchema.transform((name) => [name]),
);

const realmSchema = z
  .string()
  .regex(/^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/, "Not 1 to 64 printable ASCII characters without quotes");

const shape = settingsObject({
  /** `report` decides and announces, and lets the request pass without a principal. */
  mode: modeSchema,
  /** The one algorithm that signs and is taken (RFC 7518 section 3.1). */
  algorithm: z.enum(ALGORITHMS).default("HS256"),
  /** HMAC secret, used as it is, so that other services can verify; a list: the first signs, all verify. At least as long as the hash (RFC 7518 section 3.2). Derived from `secretKey` when absent. */
  secret: secretRingSchema.optional(),
  /** Private key (PEM, `Secret` or KeyObject); its public half verifies. */
  privateKey: privateKeySchema.optional(),
  /** Several keys, for rotation: the first signs, all verify. */
  keys: z.array(keyEntrySchema).min(1, "The list is empty; give at least one key.").optional(),
  /** `iss` of every token, compared exactly. */
  issuer: nameSchema.default("portcullis"),
  /** `aud`: the first is written into tokens, any of them is taken (ASVS 9.2.3, 9.2.4). The issuer when absent. */
  audience: audienceSchema.optional(),
  /** Life of an access token, in minutes. */
  accessTokenMinutes: z.int().min(1).max(43_200).default(30),
  /** How long a refresh token may lie unused, in days. */
  refreshTokenDays: z.int().min(1).max(365).default(7),
  /** Days after which a family of refresh tokens ends however often it was used (ASVS 10.4.8). 30, or `refreshTokenDays` when that is more. */
  absoluteDays: z.int().min(1).max(3650).optional(),
  /** Seconds in which a refresh token used a moment ago gives the same successor again, for clients that race with themselves or lost an answer. 0: every second use is theft. */
  reuseGraceSeconds: z.int().min(0).max(60).default(10),
  /** Seconds by which clocks may differ, for `exp`, `nbf` and `iat`. */
  leewaySeconds: z.int().min(0).max(60).default(5),
  /** Tokens whose signature is remembered, so that it is not computed again for each request; all else is decided anew. 0: none. */
  cacheSize: z.int().min(0).max(1_000_000).default(10_000),
  /** When the store cannot say whether a token is revoked: `deny` answers 503, `allow` takes it. Refreshing always needs the store. */
  onStoreError: z.enum(["deny", "allow"]).default("deny"),
  /** Milliseconds the store may take for one call of the manager, all its queries together. */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /** Where refresh tokens and revocations are kept; in memory when none is given. The manager opens and closes it. */
  store: z
    .custom<TokenStore>(isTokenStore, "This is not a TokenStore: a method of the contract is missing.")
    .optional(),
  /** The realm named in WWW-Authenticate. */
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
        message: "A family of refresh tokens would end before its first token does.",
        remedy: "Make absoluteDays at least refreshTokenDays.",
      });
    }
  })
  .transform((settings) => ({
    ...settings,
    audience: settings.audience ?? [settings.issuer],
    absoluteDays: settings.absoluteDays ?? Math.max(30, settings.refreshTokenDays),
  }));

/** What the user writes. */
export type JwtSettings = z.input<typeof jwtSchema>;
/** What the manager works with. */
export type JwtOptions = z.output<typeof jwtSchema>;

/** What one mounting of `jwtAuth` may set differently from its manager. */
export const jwtAuthSchema = settingsObject({
  /** As in `jwtSchema`; the manager's own when absent. */
  mode: z.enum(["enforce", "report"]).optional(),
  /** As in `jwtSchema`; the manager's own when absent. */
  realm: realmSchema.optional(),
});

export type JwtAuthSettings = z.input<typeof jwtAuthSchema>;

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
      message: `The key is given in more than one place: ${given.join(" and ")}.`,
      remedy: "Keep one; for rotation use keys.",
    });
  }
  const symmetric = familyOf(settings.algorithm) === "HS";
  if (!symmetric && settings.secret !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["secret"],
      message: `${settings.algorithm} signs with a private key, and this is a secret.`,
      remedy: "Give privateKey, or choose HS256.",
    });
  }
  if (!symmetric && given.length === 0) {
    addIssue(context, {
      code: "missing-setting",
      path: ["privateKey"],
      message: `${settings.algorithm} needs a private key.`,
      remedy: "Give privateKey or keys, or choose HS256.",
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
      message: "The secret is the text of an asymmetric key: whoever has the public key could forge tokens.",
      remedy: "Give it as privateKey with an RS, PS or ES algorithm.",
    });
  } else if (familyOf(algorithm) === "HS" && Buffer.byteLength(text) < bytes) {
    addIssue(context, {
      code: "weak-secret",
      path,
      message: `${algorithm} needs a secret of at least ${bytes} bytes (RFC 7518 section 3.2).`,
      remedy: `Make one with: node -p "require('node:crypto').randomBytes(${bytes}).toString('base64url')"`,
    });
  }
}

function checkKeys(entries: readonly KeyEntry[], algorithm: JwtAlgorithm, context: Report): void {
  if (entries[0]?.publicKey !== undefined) {
    addIssue(context, {
      code: "contradiction",
      path: ["keys", 0],
      message: "The first key signs, and a public key cannot.",
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
        remedy: "Give each its own kid, and each key once.",
      });
    }
    seen.add(kid);
  });
}

function checkEntry(entry: KeyEntry, index: number, algorithm: JwtAlgorithm, context: Report): void {
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
      message: `${algorithm} signs with a private key, and this is a secret.`,
      remedy: "Give privateKey or publicKey, or choose HS256.",
    });
  }
}

/** `undefined` for a key of a kind no algorithm here takes, which is an issue of its own. */
function entryKid(entry: KeyEntry): string | undefined {
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
