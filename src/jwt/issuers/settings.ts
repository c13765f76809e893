import { z } from "zod";
import { isLoopbackHost } from "../../core/http/origin.js";
import type { Secret } from "../../core/secret.js";
import { durationSchema, momentSchema } from "../../settings/durations.js";
import type { SettingsIssue } from "../../settings/errors.js";
import { addIssue, selectSchema, settingsObject } from "../../settings/object.js";
import { parseUrl } from "../../settings/parse-url.js";
import { formerSecretRingSchema } from "../../settings/secrets.js";
import { ALGORITHMS, familyOf } from "../keys/algorithms.js";
import { looksLikeAsymmetricKey } from "../keys/validation.js";
import { audienceSchema, nameSchema } from "../names.js";

/** The claims of a token that another issuer, or a former app, has signed. Verified and frozen. */
export type ForeignClaims = Readonly<Record<string, unknown>>;

type ClaimsFunction<Returned> = (claims: ForeignClaims) => Returned;

/** A synchronous function of the verified claims. */
function claimsFunctionSchema<Returned>(
  returns: string,
): z.ZodType<ClaimsFunction<Returned>, ClaimsFunction<Returned>> {
  const remedy = `Write a function that returns ${returns}: (claims) => ….`;
  return z
    .custom<ClaimsFunction<Returned>>((value) => typeof value === "function", {
      error: "This must be a function.",
      params: { remedy },
    })
    .refine((value) => Object.prototype.toString.call(value) !== "[object AsyncFunction]", {
      error: "This must be a synchronous function, but it is async.",
      params: { remedy },
    });
}

/** Where a list is found in the claims: the name of a claim, names joined by dots, or a function. */
function listSourceSchema(
  example: string,
): z.ZodType<
  string | ((claims: ForeignClaims) => readonly string[]),
  string | ((claims: ForeignClaims) => readonly string[])
> {
  return selectSchema((value) => {
    if (typeof value === "string") return z.string().min(1).max(255);
    if (typeof value === "function") return claimsFunctionSchema<readonly string[]>("a list of texts");
    return z.unknown().superRefine((_value, context) =>
      addIssue(context, {
        code: "wrong-type",
        message: "This must be the name of a claim, or a function.",
        remedy: `Write ${example}, or (claims) => […].`,
      }),
    );
  });
}

/** What a token says about its caller, for issuers and for a former app. */
const MAPPING = {
  /**
   * The id of the principal, as a function of the claims: text of at most 255 characters, or a safe integer. The app
   * vouches that a user of this id in its own tokens, sessions and keys is the same person. Default: for an issuer
   * `<issuer>|<sub>`; for a former app `sub`.
   */
  id: claimsFunctionSchema<string | number>("the id of the principal").optional(),
  /**
   * The scopes: the name of a claim (`"permissions"`, `"https://example.com/scopes"`, or names joined by dots), or a
   * function of the claims. A claim may be a list, or text with spaces; what has not the form of a scope, ends in `*`,
   * or is `api-keys:manage` is left out. What a function returns is taken as it is. Default: `scope`, `scp` and
   * `permissions` together.
   */
  scopes: listSourceSchema('"permissions"').optional(),
  /**
   * The roles: the name of a claim (`"roles"`, `"realm_access.roles"`), or a function of the claims. Default: none.
   */
  roles: listSourceSchema('"realm_access.roles"').optional(),
};

const algorithmSchema = z.enum(ALGORITHMS).superRefine((algorithm, context) => {
  if (familyOf(algorithm) !== "HS") return;
  addIssue(context, {
    code: "contradiction",
    message: `${algorithm} needs a secret that the issuer and every service share, so any of them could issue tokens.`,
    remedy: 'Use the algorithm of the issuer\'s key pair: ["RS256"], ["ES256"], ["EdDSA"], ….',
  });
});

/** A URL from which keys are fetched. */
const keyUrlSchema = z.string().superRefine((text, context) => {
  const problem = urlProblem(text);
  if (problem !== undefined) addIssue(context, { code: "wrong-value", ...problem });
});

const REMEDY_URL = "Write an https: URL without user name and fragment.";

function urlProblem(text: string): { message: string; remedy: string } | undefined {
  const url = parseUrl(text);
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:"))
    return { message: "This is not an https: URL.", remedy: REMEDY_URL };
  if (url.username !== "" || url.password !== "" || text.includes("#"))
    return { message: "The URL has a user name, a password or a fragment.", remedy: REMEDY_URL };
  if (url.protocol === "http:" && !isLoopbackHost(url.hostname))
    return {
      message: "The URL begins with http:, so anyone on the network could replace the keys.",
      remedy: "Write the https: URL. http: is only for a loopback host while debug is on.",
    };
  return undefined;
}

const issuerShape = settingsObject({
  /**
   * The `iss` of its tokens, compared exactly (mind a slash at the end). Without `jwksUri` it is also the URL for
   * discovery. Required.
   */
  issuer: nameSchema.refine((text) => !text.includes("|"), {
    error: "The issuer contains |, which separates issuer and subject in the id of a principal.",
    params: { remedy: "Write the issuer as it is in iss of its tokens." },
  }),
  /** The audience that tokens must have: this service. One or a list, of which any is accepted. Required. */
  audience: audienceSchema,
  /**
   * The algorithms that the issuer signs with: RS, PS or ES with 256, 384 or 512, or EdDSA (Ed25519). Required.
   */
  algorithms: z.array(algorithmSchema).min(1, "The list is empty."),
  /**
   * Where the key set (RFC 7517) is: an https: URL. Default: what the issuer's document says, at
   * `/.well-known/openid-configuration` or `/.well-known/oauth-authorization-server`.
   */
  jwksUri: keyUrlSchema.optional(),
  ...MAPPING,
  /**
   * The claim that names the audience. Amazon Cognito's access tokens have `client_id` instead of `aud`. Default:
   * `"aud"`.
   */
  audienceClaim: z.string().min(1).max(255).default("aud"),
  /** Longest lifetime of a token, `exp` − `iat`, in minutes; a longer one is refused. Default: `1440`. */
  maxLifetimeMinutes: durationSchema("minutes", 1, 43_200).default(1440),
  /**
   * How long a fetch of the keys may take, discovery included, and so how long a request with an unknown key waits; in
   * milliseconds. Default: `3000`.
   */
  fetchTimeoutMs: z.int().min(1).max(60_000).default(3000),
  /** Seconds after which the keys are fetched again, in the background. Default: `600`. */
  refreshSeconds: durationSchema("seconds", 10, 86_400).default(600),
  /**
   * For how many seconds beyond `refreshSeconds` the last keys are used while they cannot be fetched. Default: `14400`.
   */
  staleSeconds: durationSchema("seconds", 0, 604_800).default(14_400),
});

/** One issuer whose tokens are accepted. */
export const issuerSchema = issuerShape.superRefine(({ issuer, jwksUri }, context) => {
  const isUrl = /^https?:/i.test(issuer);
  const problem = jwksUri === undefined || isUrl ? urlProblem(issuer) : undefined;
  if (problem !== undefined)
    addIssue(context, {
      code: "wrong-value",
      path: ["issuer"],
      ...problem,
      ...(isUrl ? {} : { remedy: "Write the issuer as an https: URL, or set jwksUri." }),
    });
  else if (jwksUri === undefined && issuer.includes("?"))
    addIssue(context, {
      code: "wrong-value",
      path: ["issuer"],
      message: "An issuer with a query has no discovery document (RFC 8414 section 2).",
      remedy: "Set jwksUri.",
    });
});

/** One issuer of `jwt.issuers`. */
export interface JwtIssuerSettings extends z.input<typeof issuerSchema> {}
/** One issuer of `jwt.issuers` with every default filled in. */
export interface ResolvedJwtIssuerSettings extends z.output<typeof issuerSchema> {}

const MIN_FORMER_SECRET_BYTES = 16;

const NO_SECRET = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "missing-setting",
    message: "The secret of the former app is missing.",
    remedy: "Set the HMAC secret with which the former app signed.",
  }),
);

const formerSecretsSchema = selectSchema<z.input<typeof formerSecretRingSchema>, readonly Secret[]>((value) =>
  value === undefined ? NO_SECRET : strongEnoughSecrets,
);

const strongEnoughSecrets = formerSecretRingSchema.superRefine((secrets, context) => {
  for (const secret of secrets) {
    const text = secret.reveal();
    if (looksLikeAsymmetricKey(text))
      addIssue(context, {
        code: "contradiction",
        message: "The secret is the text of an asymmetric key: anyone with the public key could forge tokens.",
        remedy: "Set the HMAC secret with which the former app signed.",
      });
    else if (Buffer.byteLength(text) < MIN_FORMER_SECRET_BYTES)
      addIssue(context, {
        code: "weak-secret",
        message: `The secret is shorter than ${MIN_FORMER_SECRET_BYTES} bytes: tokens could be forged.`,
        remedy: "Let the users log in again, without accept.",
      });
  }
});

const NO_END = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "missing-setting",
    message: "The date after which tokens of the former app are refused is missing.",
    remedy: 'Write until: "2027-01-31", a date by which they have expired.',
  }),
);

/** Tokens of the app before it used this library. */
export const acceptSchema = settingsObject({
  /**
   * The secret with which the former app signed (HS256), or a list of them; at least 16 bytes each. It only verifies.
   * Required.
   */
  secret: formerSecretsSchema,
  /** `iss` that the tokens must have. Default: it is not checked. */
  issuer: nameSchema.optional(),
  /** `aud` that the tokens must have, one or a list. Default: none; a token with `aud` is then refused. */
  audience: audienceSchema.optional(),
  /** When these tokens end: a Date, ISO 8601 text, or milliseconds since the epoch. Required. */
  until: selectSchema<z.input<typeof momentSchema>, number>((value) => (value === undefined ? NO_END : momentSchema)),
  ...MAPPING,
});

/** `jwt.accept`: tokens of the app before it used this library. */
export interface JwtAcceptSettings extends z.input<typeof acceptSchema> {}
/** `jwt.accept`, parsed. */
export interface ResolvedJwtAcceptSettings extends z.output<typeof acceptSchema> {}

/** Issues of the list as a whole. @param own `iss` of the manager's own tokens */
export function checkIssuers(
  issuers: readonly ResolvedJwtIssuerSettings[],
  own: string,
  context: z.core.$RefinementCtx,
): void {
  const seen = new Set<string>();
  issuers.forEach(({ issuer }, index) => {
    if (issuer === own || seen.has(issuer))
      addIssue(context, {
        code: "contradiction",
        path: ["issuers", index, "issuer"],
        message: issuer === own ? "This is the issuer of our own tokens (jwt.issuer)." : "This issuer is listed twice.",
        remedy:
          issuer === own
            ? "Remove the entry, or set jwt.issuer to the name of this service."
            : "Write one entry, with a list as its audience.",
      });
    seen.add(issuer);
  });
}

/** Issues of URLs that only `debug` allows. @param path where the list is in the settings */
export function plainHttpIssues(
  issuers: readonly ResolvedJwtIssuerSettings[],
  debug: boolean,
  path: string,
): SettingsIssue[] {
  if (debug) return [];
  return issuers.flatMap((entry, index) =>
    (["issuer", "jwksUri"] as const).flatMap((name): SettingsIssue[] =>
      entry[name]?.toLowerCase().startsWith("http:") === true
        ? [
            {
              code: "unsafe-setting",
              path: `${path}[${index}].${name}`,
              message: "The URL begins with http:, which only debug allows.",
              remedy: "Write the https: URL, or turn debug on while you develop.",
            },
          ]
        : [],
    ),
  );
}
