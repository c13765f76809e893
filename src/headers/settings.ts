import { z } from "zod";
import { modeSchema } from "../settings/common.js";
import { settingsObject, switchable } from "../settings/object.js";
import { directivesSchema, endpointsSchema, permissionsSchema, referrerSchema, transportSchema } from "./fields.js";

const openerSchema = z.literal([
  "same-origin",
  "same-origin-allow-popups",
  "noopener-allow-popups",
  "unsafe-none",
  false,
]);
const resourceSchema = z.literal(["same-origin", "same-site", "cross-origin", false]);
const embedderSchema = z.literal(["require-corp", "credentialless", "unsafe-none", false]);
const frameSchema = z.literal(["DENY", "SAMEORIGIN", false]);
const xssSchema = z.literal(["0", "block", false]);

function policySchema(reportOnly: boolean) {
  return settingsObject({
    /** Directive (`"script-src"`) to its sources. `"'nonce'"` stands for the nonce of each request; `false` leaves a default directive out. */
    directives: directivesSchema(reportOnly).prefault({}),
    /** Begin with this library's policy and replace directive by directive (default), or begin with nothing. */
    useDefaults: z.boolean().default(true),
  });
}

/** Each setting of the security headers by itself; `headersSchema` checks them together. */
export const headersShape = settingsObject({
  /** `report` sends the Content-Security-Policy as report-only; every other header stays, as none of them refuses a request. */
  mode: modeSchema,
  /** The enforced policy, or `false` for none. */
  contentSecurityPolicy: switchable(policySchema(false)).prefault({}),
  /** A second policy that browsers only report on, to try a stricter one out. Default: none. */
  contentSecurityPolicyReportOnly: switchable(policySchema(true)).optional(),
  /** Strict-Transport-Security, sent on secure requests only. Default: a year, with subdomains, without preload. */
  strictTransportSecurity: switchable(transportSchema).prefault({}),
  /** Feature to allowlist, laid over the list of denied features; `false` for no header. */
  permissionsPolicy: switchable(permissionsSchema).prefault({}),
  /** Referrer-Policy. Default `no-referrer`. */
  referrerPolicy: referrerSchema.default("no-referrer"),
  /** X-Frame-Options. Default: what `frame-ancestors` says, as far as this header can say it. */
  frameOptions: frameSchema.optional(),
  /** X-XSS-Protection. Default `"0"`: the filters of old browsers were themselves exploitable. */
  xssProtection: xssSchema.default("0"),
  /** Cross-Origin-Opener-Policy. Default `same-origin`. */
  crossOriginOpenerPolicy: openerSchema.default("same-origin"),
  /** Cross-Origin-Resource-Policy. Default `same-origin`. */
  crossOriginResourcePolicy: resourceSchema.default("same-origin"),
  /** Cross-Origin-Embedder-Policy. Default `false`: it breaks embedded content that does not expect it. */
  crossOriginEmbedderPolicy: embedderSchema.default(false),
  /** Reporting-Endpoints: name to https URL, for `report-to`. Default: none. */
  reportingEndpoints: endpointsSchema.prefault({}),
});

export type HeadersSettings = z.input<typeof headersShape>;
export type HeadersOptions = z.output<typeof headersShape>;

function policyPatchSchema(reportOnly: boolean) {
  return settingsObject({
    /** Sources to add, directive by directive; `["'none'"]` empties one, `false` removes it. */
    directives: directivesSchema(reportOnly).prefault({}),
  });
}

/** What a route changes. Whatever is not mentioned stays as the layer has it. */
export const headersPatchSchema = settingsObject({
  /** Sources to add to the enforced policy, or `false` for no policy. */
  contentSecurityPolicy: switchable(policyPatchSchema(false)).optional(),
  /** Sources to add to the report-only policy, or `false` for none. */
  contentSecurityPolicyReportOnly: switchable(policyPatchSchema(true)).optional(),
  /** Replaces the header; `false` removes it. */
  strictTransportSecurity: switchable(transportSchema).optional(),
  /** Replaces feature by feature; `false` removes the header. */
  permissionsPolicy: switchable(permissionsSchema).optional(),
  /** Replaces the header; `false` removes it. */
  referrerPolicy: referrerSchema.optional(),
  /** Replaces the header, and `frame-ancestors` with it unless that is patched too; `false` removes it. */
  frameOptions: frameSchema.optional(),
  /** Replaces the header; `false` removes it. */
  xssProtection: xssSchema.optional(),
  /** Replaces the header; `false` removes it. */
  crossOriginOpenerPolicy: openerSchema.optional(),
  /** Replaces the header; `false` removes it. */
  crossOriginResourcePolicy: resourceSchema.optional(),
  /** Replaces the header; `false` removes it. */
  crossOriginEmbedderPolicy: embedderSchema.optional(),
  /** Adds endpoints. */
  reportingEndpoints: endpointsSchema.optional(),
});

export type HeadersPatch = z.input<typeof headersPatchSchema>;
export type HeadersPatchOptions = z.output<typeof headersPatchSchema>;
