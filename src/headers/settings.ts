import { z } from "zod";
import { modeSchema } from "../settings/common.js";
import { addIssue, settingsObject, switchable } from "../settings/object.js";
import { decideHeaders } from "./decide.js";
import {
  directivesSchema,
  endpointsSchema,
  permissionsSchema,
  referrerSchema,
  transportSchema,
  type ResolvedStrictTransportSecuritySettings,
  type StrictTransportSecuritySettings,
} from "./fields.js";
import { modelProblems } from "./model-lint.js";

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

/** One Content-Security-Policy. */
export interface ContentSecurityPolicySettings extends z.input<ReturnType<typeof policySchema>> {}
/** A Content-Security-Policy with every default filled in. */
export interface ResolvedContentSecurityPolicySettings extends z.output<ReturnType<typeof policySchema>> {}

/** A policy, or `false` for none. */
const switchablePolicy = (reportOnly: boolean) =>
  switchable<ContentSecurityPolicySettings, ResolvedContentSecurityPolicySettings>(policySchema(reportOnly));
/** Strict-Transport-Security, or `false` for none. */
const switchableTransport = switchable<StrictTransportSecuritySettings, ResolvedStrictTransportSecuritySettings>(
  transportSchema,
);

/** Settings of the security headers. */
export const headersSchema = settingsObject({
  /** `report` sends the Content-Security-Policy as report-only; every other header stays, as none of them refuses a request. */
  mode: modeSchema,
  /** The enforced policy, or `false` for none. */
  contentSecurityPolicy: switchablePolicy(false).prefault({}),
  /** A second policy that browsers only report on, to try a stricter one out. Default: none. */
  contentSecurityPolicyReportOnly: switchablePolicy(true).optional(),
  /** Strict-Transport-Security, sent on secure requests only. Default: a year, with subdomains, without preload. */
  strictTransportSecurity: switchableTransport.prefault({}),
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
}).superRefine((options, context) => {
  for (const problem of modelProblems(decideHeaders(options, false))) addIssue(context, problem);
});

export interface HeadersSettings extends z.input<typeof headersSchema> {}
export interface ResolvedHeadersSettings extends z.output<typeof headersSchema> {}

function policyPatchSchema(reportOnly: boolean) {
  return settingsObject({
    /** Sources to add, directive by directive; `["'none'"]` empties one, `false` removes it. */
    directives: directivesSchema(reportOnly).prefault({}),
  });
}

/** What a route changes in one Content-Security-Policy. */
export interface ContentSecurityPolicyPatch extends z.input<ReturnType<typeof policyPatchSchema>> {}
/** The same, checked. */
export interface ResolvedContentSecurityPolicyPatch extends z.output<ReturnType<typeof policyPatchSchema>> {}

const switchablePolicyPatch = (reportOnly: boolean) =>
  switchable<ContentSecurityPolicyPatch, ResolvedContentSecurityPolicyPatch>(policyPatchSchema(reportOnly));

/** What a route changes. Whatever is not mentioned stays as the layer has it. */
export const headersPatchSchema = settingsObject({
  /** Sources to add to the enforced policy, or `false` for no policy. */
  contentSecurityPolicy: switchablePolicyPatch(false).optional(),
  /** Sources to add to the report-only policy, or `false` for none. */
  contentSecurityPolicyReportOnly: switchablePolicyPatch(true).optional(),
  /** Replaces the header; `false` removes it. */
  strictTransportSecurity: switchableTransport.optional(),
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

export interface HeadersPatch extends z.input<typeof headersPatchSchema> {}
export interface ResolvedHeadersPatch extends z.output<typeof headersPatchSchema> {}
