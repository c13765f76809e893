import { z } from "zod";
import { originPatternSchema } from "../settings/origin-pattern.js";
import { exemptPathSchema, modeSchema } from "../settings/common.js";
import { settingsObject } from "../settings/object.js";

/** The schema of `CsrfSettings`. */
export const csrfSchema = settingsObject({
  /**
   * Other origins that may send unsafe requests: `https://app.example.com`, `https://*.example.com`. The origins of
   * `cors` are trusted too. Default: none.
   */
  trustedOrigins: z.array(originPatternSchema).default([]),
  /** Exact paths that are not checked, for callbacks that pages of other sites post to. Default: none. */
  exemptPaths: z.array(exemptPathSchema).default([]),
  /**
   * Requests from another origin of the same site, such as a sibling subdomain: `refuse` them, or `allow` them all.
   * Default: `"refuse"`.
   */
  sameSite: z.enum(["refuse", "allow"]).default("refuse"),
  /**
   * Requests with neither Sec-Fetch-Site nor Origin, which programs send and browsers do not: `allow` or `refuse`.
   * Default: `"allow"`.
   */
  unmarked: z.enum(["allow", "refuse"]).default("allow"),
  /** `report` announces a forged request as an event and lets it pass. Default: `"enforce"`. */
  mode: modeSchema,
});

/**
 * Settings of the protection against cross-site request forgery: `csrfProtection(settings)` and `csrf` of
 * `applySecurity`.
 */
export interface CsrfSettings extends z.input<typeof csrfSchema> {}
/** The same with every default filled in. */
export interface ResolvedCsrfSettings extends z.output<typeof csrfSchema> {}
