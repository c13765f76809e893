import { z } from "zod";
import { originPatternSchema } from "../settings/origin-pattern.js";
import { exemptPathSchema, modeSchema } from "../settings/common.js";
import { settingsObject } from "../settings/object.js";

export const csrfSchema = settingsObject({
  /**
   * Other origins that may send unsafe requests: `https://app.example.com`, `https://*.example.com`. The origins of the
   * CORS list are trusted besides.
   */
  trustedOrigins: z.array(originPatternSchema).default([]),
  /** Paths that are not checked, for callbacks that other sites' pages post to. Exact. */
  exemptPaths: z.array(exemptPathSchema).default([]),
  /** Requests from another origin of the same site, such as a sibling subdomain: `refuse`, or `allow` all of them. */
  sameSite: z.enum(["refuse", "allow"]).default("refuse"),
  /** Requests with neither Sec-Fetch-Site nor Origin, which programs send and browsers do not: `allow` or `refuse`. */
  unmarked: z.enum(["allow", "refuse"]).default("allow"),
  mode: modeSchema,
});

export type CsrfSettings = z.input<typeof csrfSchema>;
export type CsrfOptions = z.output<typeof csrfSchema>;
