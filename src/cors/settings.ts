import { z } from "zod";
import { isLoopbackHost, parseOriginPattern } from "../core/http/origin.js";
import type { TrustFunction } from "../core/trust-check.js";
import { originPatternSchema } from "../settings/origin-pattern.js";
import { modeSchema } from "../settings/common.js";
import { addIssue, settingsObjectLike } from "../settings/object.js";
import { functionOr } from "../settings/trust-function.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import { listOrAll, methodSchema, requestHeadersSchema, responseHeaderSchema } from "./field-schemas.js";

/** What an API needs that takes a JSON body and either kind of credential. */
const DEFAULT_ALLOWED_HEADERS = ["Authorization", "Content-Type", "X-API-Key"];
const DEFAULT_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/** Settings of the CORS protection (Fetch section 3.2). */
export const corsSchema = settingsObjectLike(PEER_NAMES.cors, {
  /**
   * Origins whose pages may read the responses: exact ones (`https://app.example.com`), all subdomains of one
   * (`https://*.example.com`, not `https://example.com` itself), custom schemes (`tauri://localhost`, exact only).
   * `"*"` means every origin, and is refused with `credentials`. Or a function of the origin, in lower case and without a
   * default port, for example one that asks a table of tenants: it returns `true`, `false` or a promise of one, within
   * 250 milliseconds. Required.
   */
  origins: functionOr(listOrAll(originPatternSchema)),
  /**
   * Whether pages may send requests with cookies, TLS client certificates and HTTP authentication. A token that a
   * script sends itself does not need it. Default: `false`.
   */
  credentials: z.boolean().default(false),
  /**
   * Methods that a preflight may ask for, or `"*"` for any. With `credentials` the response names the one method that
   * was asked for. A GET, HEAD or POST that needs no preflight is not affected. Default: GET, HEAD, POST, PUT, PATCH
   * and DELETE.
   */
  methods: listOrAll(methodSchema).default(() => [...DEFAULT_METHODS]),
  /**
   * Request headers that a preflight may ask for. `"*"` means any but Authorization, which browsers want named;
   * `["*", "Authorization"]` means any. With `credentials`, `"*"` covers Authorization too, and the response names
   * the headers that were asked for. Default: Authorization, Content-Type and X-API-Key.
   */
  allowedHeaders: requestHeadersSchema.default(() => [...DEFAULT_ALLOWED_HEADERS]),
  /**
   * Response headers that a page may read beside the safelisted ones, or `"*"` for any. Default: Retry-After and the
   * rate limit headers in the form of `rateLimit.headers` (`corsPolicy` used alone: `draft-8`).
   */
  exposedHeaders: listOrAll(responseHeaderSchema).optional(),
  /**
   * For how long a browser may remember a preflight, in seconds. Firefox stops at 86400, Chromium at 7200. 0 means
   * not at all. Default: `600`.
   */
  maxAge: z.int().min(0).max(86_400).default(600),
  /**
   * Whether public pages may reach this service on a private network: answers Access-Control-Request-Private-Network.
   * Default: `false`.
   */
  privateNetwork: z.boolean().default(false),
  /**
   * A request from an origin that is not listed: `ignore` serves it without CORS headers, so that the browser hides
   * the response from the page; `reject` answers 403. Default: `"ignore"`.
   */
  refused: z.enum(["ignore", "reject"]).default("ignore"),
  /** `report` announces a refused origin as an event and lets the request pass. Default: `"enforce"`. */
  mode: modeSchema,
}).superRefine((settings, context) => {
  checkLists(settings, context);
  if (settings.credentials) checkWildcards(settings, context);
  checkOrigins(settings, context);
});

interface Checked {
  readonly origins: readonly string[] | "*" | TrustFunction;
  readonly methods: readonly string[] | "*";
  readonly allowedHeaders: readonly string[] | "*";
  readonly exposedHeaders?: readonly string[] | "*" | undefined;
  readonly credentials: boolean;
  readonly privateNetwork: boolean;
}

function checkLists(settings: Checked, context: z.core.$RefinementCtx): void {
  if (typeof settings.origins !== "function" && settings.origins.length === 0) {
    addIssue(context, {
      code: "wrong-value",
      path: ["origins"],
      message: "The list of origins is empty.",
      remedy: "List at least one origin, or turn the protection off: cors: false.",
    });
  }
  if (settings.methods.length === 0) {
    addIssue(context, {
      code: "wrong-value",
      path: ["methods"],
      message: "The list of methods is empty.",
      remedy: "List at least one method, or remove the setting.",
    });
  }
  for (const name of ["origins", "methods", "allowedHeaders", "exposedHeaders"] as const) {
    const list = settings[name];
    if (list === "*" || list === undefined || typeof list === "function") continue;
    const seen = new Set<string>();
    list.forEach((entry, index) => {
      const key = name === "methods" ? entry : entry.toLowerCase();
      if (seen.has(key))
        addIssue(context, {
          code: "wrong-value",
          path: [name, index],
          message: "This entry occurs twice in the list.",
          remedy: "Remove one of them.",
        });
      seen.add(key);
    });
  }
}

/**
 * Fetch sections 3.2.5 and 4.8: with credentials `*` is not a wildcard. The response echoes the methods and request
 * headers that a preflight asks for. Echoed origins would admit every origin, and no request asks for response headers.
 */
function checkWildcards(settings: Checked, context: z.core.$RefinementCtx): void {
  const named = { origins: "origins", exposedHeaders: "response headers" } as const;
  for (const name of ["origins", "exposedHeaders"] as const) {
    if (settings[name] !== "*") continue;
    addIssue(context, {
      code: "contradiction",
      path: [name],
      message: `With credentials, browsers do not treat "*" as a wildcard.`,
      remedy: `List the ${named[name]}, or remove cors.credentials. A bearer token or an API key sent by a script does not need it.`,
    });
  }
  if (settings.allowedHeaders === "*" || !settings.allowedHeaders.includes("*")) return;
  addIssue(context, {
    code: "contradiction",
    path: ["allowedHeaders"],
    message: `With credentials, browsers do not treat "*" as a wildcard.`,
    remedy: 'Write cors.allowedHeaders: "*" without a list. With credentials it covers Authorization too.',
  });
}

function checkOrigins(settings: Checked, context: z.core.$RefinementCtx): void {
  if (settings.origins === "*") {
    if (!settings.privateNetwork) return;
    addIssue(context, {
      code: "unsafe-setting",
      path: ["origins"],
      message: "Every website could send requests to the private network.",
      remedy: "List the origins, or remove cors.privateNetwork.",
    });
    return;
  }
  if (typeof settings.origins === "function" || (!settings.credentials && !settings.privateNetwork)) return;
  settings.origins.forEach((text, index) => {
    const pattern = parseOriginPattern(text);
    if (pattern?.scheme !== "http" || isLoopbackHost(pattern.host)) return;
    addIssue(context, {
      code: "unsafe-setting",
      path: ["origins", index],
      message: `An attacker on the network can change a plain http page, and would gain access to ${settings.credentials ? "credentials" : "the private network"}.`,
      remedy: "Use https. Plain http is allowed for localhost and 127.0.0.1 only.",
    });
  });
}

/** Settings of CORS: `corsPolicy(settings)` and `cors` of `applySecurity`. */
export interface CorsSettings extends z.input<typeof corsSchema> {}
/** Settings of CORS with every default filled in. */
export interface ResolvedCorsSettings extends z.output<typeof corsSchema> {}
