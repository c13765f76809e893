import { parseUrl } from "../settings/parse-url.js";
import { z } from "zod";
import { nearest } from "../core/nearest.js";
import { addIssue, selectSchema, settingsObject } from "../settings/object.js";
import { isLoopbackHost } from "../core/http/origin.js";
import { isSfKey } from "../core/http/structured-fields.js";
import { DIRECTIVES, ENFORCED_ONLY, type DirectiveName } from "./directives.js";
import { allowProblem, featureProblem, type PermissionsAllowlist } from "./permissions.js";
import { sourceProblems } from "./source-lint.js";

/** The schemas of single settings; `settings.ts` puts them together, for the layer and for a route's patch. */

/** Sources by directive; `false` removes a directive of the default policy. */
export type DirectiveSettings = { readonly [Name in keyof typeof DIRECTIVES]?: readonly string[] | false };

type SourcesSchema = z.ZodType<readonly string[] | false, readonly string[] | false>;

function sourcesSchema(name: DirectiveName, reportOnly: boolean): SourcesSchema {
  let list: z.ZodType | undefined;
  return selectSchema((value) => {
    if (value === false) return leftOut(name, reportOnly);
    return value === null ? NOT_NULL : (list ??= listSchema(name, reportOnly));
  });
}

function listSchema(name: DirectiveName, reportOnly: boolean): z.ZodType {
  return z.array(z.string()).superRefine((sources, context) => {
    if (reportOnly && ENFORCED_ONLY.has(name)) {
      addIssue(context, {
        code: "contradiction",
        message: "Browsers ignore this directive in a report-only policy.",
        remedy: "Move it to contentSecurityPolicy.",
      });
    }
    for (const { index, ...problem } of sourceProblems(name, sources)) {
      addIssue(context, { ...problem, path: index === undefined ? [] : [index] });
    }
  });
}

/** helmet's way to leave a directive out. */
const NOT_NULL = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "wrong-type",
    message: "This must be a list of sources or false.",
    remedy: "Write false to leave this directive out.",
  }),
);

/** A policy without default-src would allow everything it does not mention. */
function leftOut(name: DirectiveName, reportOnly: boolean): z.ZodType {
  if (name !== "default-src" || reportOnly) return z.literal(false);
  return z.literal(false).superRefine((_value, context) => {
    addIssue(context, {
      code: "unsafe-setting",
      message: "Without default-src, a policy allows every resource type that it does not list.",
      remedy: "Write [\"'self'\"] or [\"'none'\"].",
    });
  });
}

/**
 * The directives of one policy: an object with one optional key for each directive, so that an unknown name is refused
 * with a hint.
 */
export function directivesSchema(reportOnly: boolean): z.ZodType<DirectiveSettings, DirectiveSettings> {
  const names = Object.keys(DIRECTIVES) as DirectiveName[];
  const shape = Object.fromEntries(names.map((name) => [name, sourcesSchema(name, reportOnly).optional()]));
  return settingsObject(shape);
}

/** Seconds of a year: the minimum for the preload list and ASVS 5.0 V3.4.1. */
const YEAR_SECONDS = 31_536_000;

/** Strict-Transport-Security (RFC 6797), or `false`. */
export const transportSchema = settingsObject({
  /** For how long browsers use https only, in seconds. 0 makes them forget. Default: `31536000`. */
  maxAge: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(YEAR_SECONDS),
  /** Whether it holds for every subdomain too. Default: `true`. */
  includeSubDomains: z.boolean().default(true),
  /**
   * Consent to be built into browsers (hstspreload.org), which is hard to take back. Needs a `maxAge` of a year and
   * `includeSubDomains`. Default: `false`.
   */
  preload: z.boolean().default(false),
}).superRefine((value, context) => {
  if (!value.preload) return;
  if (value.maxAge < YEAR_SECONDS) {
    addIssue(context, {
      code: "contradiction",
      path: ["maxAge"],
      message: "The preload list requires a maxAge of at least a year.",
      remedy: `Set maxAge to at least ${YEAR_SECONDS}, or preload to false.`,
    });
  }
  if (!value.includeSubDomains) {
    addIssue(context, {
      code: "contradiction",
      path: ["includeSubDomains"],
      message: "The preload list requires includeSubDomains.",
      remedy: "Set includeSubDomains to true, or preload to false.",
    });
  }
});

/** Strict-Transport-Security (RFC 6797). */
export interface StrictTransportSecuritySettings extends z.input<typeof transportSchema> {}
/** Strict-Transport-Security with every default filled in. */
export interface ResolvedStrictTransportSecuritySettings extends z.output<typeof transportSchema> {}

/**
 * An object whose names the app chooses. Reports wrong names beside wrong values, `__proto__` included, which zod would
 * skip.
 */
function namedValues<Value>(
  value: z.ZodType<Value, Value>,
  nameProblem: (name: string) => string | undefined,
): z.ZodType<Record<string, Value>, Readonly<Record<string, Value>>> {
  const names = z.unknown().superRefine((input, context) => {
    if (typeof input !== "object" || input === null) return;
    for (const name of Object.keys(input)) {
      const problem = nameProblem(name);
      if (problem === undefined) continue;
      addIssue(context, {
        code: "wrong-value",
        path: [/^[\w.*-]{1,64}$/.test(name) ? name : "?"],
        message: problem,
        remedy: "Correct the name or remove the setting.",
      });
    }
  });
  const record = z.record(z.string(), value);
  return z.unknown().transform((given, context) => {
    const input = withoutUndefined(given);
    const checked = names.safeParse(input);
    const read = record.safeParse(input);
    for (const result of [checked, read]) {
      for (const issue of result.error?.issues ?? []) context.issues.push({ ...issue, input: undefined });
    }
    return read.data ?? z.NEVER;
  }) as unknown as z.ZodType<Record<string, Value>, Readonly<Record<string, Value>>>;
}

/** A name whose value is `undefined` is absent, as everywhere in the settings. */
function withoutUndefined(input: unknown): unknown {
  if (typeof input !== "object" || input === null || !Object.values(input).includes(undefined)) return input;
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));
}

const allowlistSchema: z.ZodType<PermissionsAllowlist | false, PermissionsAllowlist | false> = selectSchema((value) => {
  if (value === false) return z.literal(false);
  if (value === "*") return z.literal("*");
  if (typeof value === "string") {
    return z.string().superRefine((_text, context) => {
      addIssue(context, {
        code: "wrong-type",
        message: 'An allowlist must be a list or "*".',
        remedy: 'Write ["self"], ["https://maps.example.com"], [] to allow no origin, or "*" to allow every origin.',
      });
    });
  }
  return z.array(z.string()).superRefine((entries, context) => {
    entries.forEach((entry, index) => {
      const problem = allowProblem(entry);
      if (problem !== undefined) addIssue(context, { code: "wrong-value", path: [index], ...problem });
    });
  });
});

/** Feature to allowlist; `false` leaves a feature that is denied by default to the browser. */
export const permissionsSchema = namedValues(allowlistSchema, featureProblem);

const endpointSchema = z.string().superRefine((text, context) => {
  const problem = endpointProblem(text);
  if (problem !== undefined) addIssue(context, problem);
});

/** Endpoint name to URL. */
export const endpointsSchema = namedValues(endpointSchema, (name) =>
  isSfKey(name) && name.length <= 64
    ? undefined
    : "An endpoint name must begin with a lower-case letter, followed by lower-case letters, digits, '-', '_' or '.'.",
);

/** Browsers ignore an endpoint that is not trustworthy (Reporting API section 3.3), so it would receive no reports. */
function endpointProblem(
  text: string,
): { code: "wrong-value" | "unsafe-setting"; message: string; remedy: string } | undefined {
  const remedy = "Write an absolute https URL.";
  const url = parseUrl(text);
  if (!/^[\x21-\x7e]+$/.test(text) || url === undefined)
    return { code: "wrong-value", message: "This must be an absolute URL in ASCII.", remedy };
  if (url.username !== "" || url.password !== "")
    return { code: "unsafe-setting", message: "The URL contains credentials, which every visitor could read.", remedy };
  if (url.protocol === "https:") return undefined;
  return url.protocol === "http:" && isLoopbackHost(url.hostname)
    ? undefined
    : { code: "unsafe-setting", message: "Browsers send reports only to https endpoints.", remedy };
}

const REFERRER_TOKENS = [
  "no-referrer",
  "no-referrer-when-downgrade",
  "same-origin",
  "origin",
  "strict-origin",
  "origin-when-cross-origin",
  "strict-origin-when-cross-origin",
  "unsafe-url",
];

const referrerTokenSchema = z.string().superRefine((token, context) => {
  if (REFERRER_TOKENS.includes(token)) return;
  const near = nearest(token, REFERRER_TOKENS);
  addIssue(context, {
    code: "wrong-value",
    message: "This is not a referrer policy.",
    remedy: near === undefined ? `Use: ${REFERRER_TOKENS.join(", ")}.` : `Did you mean "${near}"?`,
  });
});

const referrerListSchema = z
  .array(referrerTokenSchema)
  .min(1, "The list is empty.")
  .superRefine((tokens, context) => {
    if (new Set(tokens).size < tokens.length)
      addIssue(context, {
        code: "wrong-value",
        message: "This entry occurs twice in the list.",
        remedy: "Remove one of them.",
      });
  });

/** One policy, a list of which browsers take the last one they know, or `false`. */
export const referrerSchema: z.ZodType<string | readonly string[] | false, string | readonly string[] | false> =
  selectSchema((value) =>
    value === false ? z.literal(false) : Array.isArray(value) ? referrerListSchema : referrerTokenSchema,
  );
