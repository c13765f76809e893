import { z } from "zod";
import { isLoopbackHost } from "../../core/http/origin.js";
import { durationSchema } from "../../settings/durations.js";
import type { SettingsIssue } from "../../settings/errors.js";
import { addIssue, settingsObject } from "../../settings/object.js";
import { parseUrl } from "../../settings/parse-url.js";
import { ALGORITHMS, familyOf } from "../keys/algorithms.js";
import { audienceSchema, nameSchema } from "../names.js";
import { MAPPING } from "./mapping-settings.js";

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
