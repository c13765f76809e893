import { z } from "zod";
import { modeSchema } from "../settings/common.js";
import { settingsObject, settingsObjectLike, toggleable } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import {
  directivesSchema,
  endpointsSchema,
  permissionsSchema,
  referrerSchema,
  transportSchema,
  type ResolvedStrictTransportSecuritySettings,
  type StrictTransportSecuritySettings,
} from "./fields.js";

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
  return settingsObjectLike(PEER_NAMES.helmet, {
    /**
     * Sources by directive: `{ "script-src": ["'self'", "'nonce'"] }`. `"'nonce'"` stands for the nonce of each
     * request, and `false` removes a directive of the default policy. Default: `{}`, which keeps the default policy.
     */
    directives: directivesSchema(reportOnly).prefault({}),
    /**
     * Begin with the default policy of this library and replace it directive by directive, or begin with an empty
     * policy. Default: `true`.
     */
    useDefaults: z.boolean().default(true),
  });
}

/** One Content-Security-Policy. */
export interface ContentSecurityPolicySettings extends z.input<ReturnType<typeof policySchema>> {}
/** A Content-Security-Policy with every default filled in. */
export interface ResolvedContentSecurityPolicySettings extends z.output<ReturnType<typeof policySchema>> {}

/** A policy, or `false` for none. */
const switchablePolicy = (reportOnly: boolean) =>
  toggleable<ContentSecurityPolicySettings, ResolvedContentSecurityPolicySettings>(() => policySchema(reportOnly));
/** Strict-Transport-Security, or `false` for none. */
const switchableTransport = toggleable<StrictTransportSecuritySettings, ResolvedStrictTransportSecuritySettings>(
  () => transportSchema,
);

/** Each setting of the security headers by itself; `headersSchema` checks them together. */
export const headersShape = settingsObjectLike(PEER_NAMES.helmet, {
  /**
   * `report` sends the Content-Security-Policy as report-only. The other headers stay, because none of them refuses a
   * request. Default: `"enforce"`.
   */
  mode: modeSchema,
  /**
   * The Content-Security-Policy that browsers enforce, or `false` for none. Default: the policy in
   * src/headers/README.md.
   */
  contentSecurityPolicy: switchablePolicy(false).prefault({}),
  /** A second policy that browsers only report on, to try out a stricter one. Default: none. */
  contentSecurityPolicyReportOnly: switchablePolicy(true).optional(),
  /**
   * Strict-Transport-Security, sent on secure requests only, or `false` for none. Default: a year, with subdomains,
   * without preload.
   */
  strictTransportSecurity: switchableTransport.prefault({}),
  /**
   * Permissions-Policy: allowlists by feature, laid over a list of denied features: `{ geolocation: ["self"], camera:
   * [] }`. `"*"` allows a feature everywhere, and `false` leaves one to the browser. `false` in place of the object
   * sends no header. Default: `{}`, which denies the features in src/headers/README.md.
   */
  permissionsPolicy: toggleable(() => permissionsSchema).prefault({}),
  /**
   * Referrer-Policy: one policy, a list of which browsers take the last one they know, or `false` for no header.
   * Default: `"no-referrer"`.
   */
  referrerPolicy: referrerSchema.default("no-referrer"),
  /**
   * X-Frame-Options, or `false` for no header. Default: what `frame-ancestors` of the policy says, as far as this
   * header can say it.
   */
  frameOptions: frameSchema.optional(),
  /**
   * X-XSS-Protection, or `false` for no header. The filters of old browsers were themselves exploitable, so the
   * default turns them off. Default: `"0"`.
   */
  xssProtection: xssSchema.default("0"),
  /** Cross-Origin-Opener-Policy, or `false` for no header. Default: `"same-origin"`. */
  crossOriginOpenerPolicy: openerSchema.default("same-origin"),
  /** Cross-Origin-Resource-Policy, or `false` for no header. Default: `"same-origin"`. */
  crossOriginResourcePolicy: resourceSchema.default("same-origin"),
  /**
   * Cross-Origin-Embedder-Policy. It breaks embedded content that does not expect it, so it is off until set.
   * Default: `false`.
   */
  crossOriginEmbedderPolicy: embedderSchema.default(false),
  /** Reporting-Endpoints: https URLs by name, for the directive `report-to`. Default: none. */
  reportingEndpoints: endpointsSchema.prefault({}),
});

/** Settings of the security headers: `securityHeaders(settings)` and `headers` of `applySecurity`. */
export interface HeadersSettings extends z.input<typeof headersShape> {}
/** Settings of the security headers with every default filled in. */
export interface ResolvedHeadersSettings extends z.output<typeof headersShape> {}

function policyPatchSchema(reportOnly: boolean) {
  return settingsObject({
    /**
     * Sources to add, by directive. `["'none'"]` empties a directive, and `false` removes it. Default: `{}`, which
     * changes nothing.
     */
    directives: directivesSchema(reportOnly).prefault({}),
  });
}

/** What a route changes in one Content-Security-Policy. */
export interface ContentSecurityPolicyPatch extends z.input<ReturnType<typeof policyPatchSchema>> {}
/** The same, checked. */
export interface ResolvedContentSecurityPolicyPatch extends z.output<ReturnType<typeof policyPatchSchema>> {}

const switchablePolicyPatch = (reportOnly: boolean) =>
  toggleable<ContentSecurityPolicyPatch, ResolvedContentSecurityPolicyPatch>(() => policyPatchSchema(reportOnly));

/** Changes for one route. Everything that is not mentioned stays as in the layer. */
export const headersPatchSchema = settingsObjectLike(PEER_NAMES.helmet, {
  /** Sources to add to the enforced policy, or `false` for no policy. Default: unchanged. */
  contentSecurityPolicy: switchablePolicyPatch(false).optional(),
  /** Sources to add to the report-only policy, or `false` for none. Default: unchanged. */
  contentSecurityPolicyReportOnly: switchablePolicyPatch(true).optional(),
  /** Replaces the header; `false` removes it. Default: unchanged. */
  strictTransportSecurity: switchableTransport.optional(),
  /** Replaces the header feature by feature; `false` removes it. Default: unchanged. */
  permissionsPolicy: toggleable(() => permissionsSchema).optional(),
  /** Replaces the header; `false` removes it. Default: unchanged. */
  referrerPolicy: referrerSchema.optional(),
  /**
   * Replaces the header, and `frame-ancestors` with it unless the patch names that too; `false` removes it. Default:
   * unchanged.
   */
  frameOptions: frameSchema.optional(),
  /** Replaces the header; `false` removes it. Default: unchanged. */
  xssProtection: xssSchema.optional(),
  /** Replaces the header; `false` removes it. Default: unchanged. */
  crossOriginOpenerPolicy: openerSchema.optional(),
  /** Replaces the header; `false` removes it. Default: unchanged. */
  crossOriginResourcePolicy: resourceSchema.optional(),
  /** Replaces the header; `false` removes it. Default: unchanged. */
  crossOriginEmbedderPolicy: embedderSchema.optional(),
  /** Adds endpoints. Default: unchanged. */
  reportingEndpoints: endpointsSchema.optional(),
});

/**
 * Changes to the security headers of one route, for `security.headers(patch)`. What the patch does not mention stays.
 */
export interface HeadersPatch extends z.input<typeof headersPatchSchema> {}
/** A checked patch. */
export interface ResolvedHeadersPatch extends z.output<typeof headersPatchSchema> {}
