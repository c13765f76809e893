import { describe, expect, it } from "vitest";
import { headersPatchSchema, type HeadersSettings } from "../../src/headers/settings.js";
import { headersSchema } from "../../src/headers/schema.js";
import { securityHeaders } from "../../src/headers/middleware.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { testEdges } from "../settings/edges.js";

function issuesOf(
  settings: unknown,
  schema: typeof headersSchema | typeof headersPatchSchema = headersSchema,
): readonly SettingsIssue[] {
  try {
    parse(schema as typeof headersSchema, settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

const csp = (directives: unknown, more: object = {}): unknown => ({ contentSecurityPolicy: { directives, ...more } });
const watched = (directives: unknown, more: object = {}): unknown => ({
  contentSecurityPolicyReportOnly: { directives, ...more },
});

interface Row {
  name: string;
  refused: unknown;
  allowed: unknown;
  code: SettingsIssue["code"];
  path: string;
  message: RegExp;
  remedy?: RegExp;
}

const D = "contentSecurityPolicy.directives";
const HASH = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";

/** Each row is refused for one reason, and its twin differs in that alone. */
const ROWS: Row[] = [
  {
    name: "unknown directive",
    refused: csp({ "script-sources": [] }),
    allowed: csp({ "script-src": ["'self'"] }),
    code: "unknown-setting",
    path: `${D}.script-sources`,
    message: /Did you mean "script-src"\?/,
  },
  {
    name: "camel case directive",
    refused: csp({ imgSrc: ["data:"] }),
    allowed: csp({ "img-src": ["data:"] }),
    code: "unknown-setting",
    path: `${D}.imgSrc`,
    message: /Did you mean "img-src"\?/,
  },
  {
    name: "dropped directive",
    refused: csp({ "plugin-types": ["application/pdf"] }),
    allowed: csp({ "object-src": ["'self'"] }),
    code: "unknown-setting",
    path: `${D}.plugin-types`,
    message: /no setting/,
  },
  {
    name: "text in place of a list",
    refused: csp({ "img-src": "data:" }),
    allowed: csp({ "img-src": ["data:"] }),
    code: "wrong-type",
    path: `${D}.img-src`,
    message: /This must be a list\./,
  },
  {
    name: "unquoted keyword",
    refused: csp({ "script-src": ["self"] }),
    allowed: csp({ "script-src": ["'self'"] }),
    code: "wrong-value",
    path: `${D}.script-src[0]`,
    message: /needs single quotes/,
  },
  {
    name: "unquoted keyword in capitals",
    refused: csp({ "script-src": ["Unsafe-Inline"] }),
    allowed: csp({ "script-src": ["'unsafe-inline'"] }),
    code: "wrong-value",
    path: `${D}.script-src[0]`,
    message: /needs single quotes/,
  },
  {
    name: "unquoted hash",
    refused: csp({ "script-src": [HASH.slice(1, -1)] }),
    allowed: csp({ "script-src": [HASH] }),
    code: "wrong-value",
    path: `${D}.script-src[0]`,
    message: /needs single quotes/,
  },
  {
    name: "hash of the wrong length",
    refused: csp({ "script-src": [HASH.replace("sha256", "sha384")] }),
    allowed: csp({ "script-src": [HASH] }),
    code: "wrong-value",
    path: `${D}.script-src[0]`,
    message: /wrong length for its algorithm/,
  },
  {
    name: "misspelt keyword",
    refused: csp({ "script-src": ["'unsafe-inlin'"] }),
    allowed: csp({ "script-src": ["'unsafe-inline'"] }),
    code: "wrong-value",
    path: `${D}.script-src[0]`,
    message: /This is not a keyword\./,
  },
  {
    name: "constant nonce",
    refused: csp({ "script-src": ["'nonce-abc'"] }),
    allowed: csp({ "script-src": ["'nonce'"] }),
    code: "unsafe-setting",
    path: `${D}.script-src[0]`,
    message: /same in every response/,
  },
  {
    name: "nonce where it means nothing",
    refused: csp({ "img-src": ["'nonce'"] }),
    allowed: csp({ "style-src": ["'nonce'"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /has no effect in this directive/,
  },
  {
    name: "'none' beside another source",
    refused: csp({ "frame-src": ["'none'", "https://a.example"] }),
    allowed: csp({ "frame-src": ["'none'"] }),
    code: "contradiction",
    path: `${D}.frame-src`,
    message: /contains other sources/,
  },
  {
    name: "'unsafe-inline' beside 'nonce'",
    refused: csp({ "style-src": ["'unsafe-inline'", "'nonce'"] }),
    allowed: csp({ "style-src": ["'self'", "'nonce'"] }),
    code: "contradiction",
    path: `${D}.style-src`,
    message: /together with 'nonce'/,
  },
  {
    name: "semicolon",
    refused: csp({ "img-src": ["a.example;script-src"] }),
    allowed: csp({ "img-src": ["a.example"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /';' or ','/,
  },
  {
    name: "comma",
    refused: csp({ "img-src": ["a.example,b.example"] }),
    allowed: csp({ "img-src": ["a.example", "b.example"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /';' or ','/,
  },
  {
    name: "line break",
    refused: csp({ "img-src": ["a.example\r\nx: y"] }),
    allowed: csp({ "img-src": ["a.example"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /control character/,
  },
  {
    name: "two sources in one",
    refused: csp({ "img-src": ["'self' data:"] }),
    allowed: csp({ "img-src": ["'self'", "data:"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /white space/,
  },
  {
    name: "outside ASCII",
    refused: csp({ "img-src": ["bücher.example"] }),
    allowed: csp({ "img-src": ["xn--bcher-kva.example"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /non-ASCII/,
  },
  {
    name: "empty source",
    refused: csp({ "img-src": [""] }),
    allowed: csp({ "img-src": ["*"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /empty/,
  },
  {
    name: "empty list",
    refused: csp({ "img-src": [] }),
    allowed: csp({ "img-src": ["'none'"] }),
    code: "wrong-value",
    path: `${D}.img-src`,
    message: /empty/,
  },
  {
    name: "scheme without its colon",
    refused: csp({ "img-src": ["data"] }),
    allowed: csp({ "img-src": ["data:"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /needs a colon/,
  },
  {
    name: "source with a query",
    refused: csp({ "img-src": ["https://a.example/?x"] }),
    allowed: csp({ "img-src": ["https://a.example/x"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /not a keyword, a scheme or a host/,
  },
  {
    name: "double quotes",
    refused: csp({ "img-src": ['"self"'] }),
    allowed: csp({ "img-src": ["'self'"] }),
    code: "wrong-value",
    path: `${D}.img-src[0]`,
    message: /quotation mark/,
  },
  {
    name: "value of a flag",
    refused: csp({ "upgrade-insecure-requests": ["true"] }),
    allowed: csp({ "upgrade-insecure-requests": [] }),
    code: "wrong-value",
    path: `${D}.upgrade-insecure-requests`,
    message: /no value/,
  },
  {
    name: "unknown sandbox flag",
    refused: csp({ sandbox: ["allow-script"] }),
    allowed: csp({ sandbox: ["allow-scripts"] }),
    code: "wrong-value",
    path: `${D}.sandbox[0]`,
    message: /sandbox flag/,
  },
  {
    name: "sink group without quotes",
    refused: csp({ "require-trusted-types-for": ["script"] }),
    allowed: csp({ "require-trusted-types-for": ["'script'"] }),
    code: "wrong-value",
    path: `${D}.require-trusted-types-for[0]`,
    message: /sink group/,
  },
  {
    name: "trusted types policy name",
    refused: csp({ "trusted-types": ["a*b"] }),
    allowed: csp({ "trusted-types": ["a-b"] }),
    code: "wrong-value",
    path: `${D}.trusted-types[0]`,
    message: /Trusted Types/,
  },
  {
    name: "webrtc",
    refused: csp({ webrtc: ["'blocked'"] }),
    allowed: csp({ webrtc: ["'block'"] }),
    code: "wrong-value",
    path: `${D}.webrtc[0]`,
    message: /webrtc/,
  },
  {
    name: "report-uri",
    refused: csp({ "report-uri": ["reports"] }),
    allowed: csp({ "report-uri": ["/reports"] }),
    code: "wrong-value",
    path: `${D}.report-uri[0]`,
    message: /This is not a valid report address\./,
  },
  {
    name: "keyword of scripts in frame-ancestors",
    refused: { ...(csp({ "frame-ancestors": ["'strict-dynamic'"] }) as object), frameOptions: false },
    allowed: { ...(csp({ "frame-ancestors": ["'self'"] }) as object), frameOptions: false },
    code: "wrong-value",
    path: `${D}.frame-ancestors[0]`,
    message: /only 'self', 'none', hosts and schemes/,
  },
  {
    name: "no default-src",
    refused: csp({ "default-src": false }),
    allowed: csp({ "font-src": false }),
    code: "unsafe-setting",
    path: `${D}.default-src`,
    message: /every resource type that it does not list/,
  },
  {
    name: "no default-src without the defaults",
    refused: csp({ "img-src": ["'self'"] }, { useDefaults: false }),
    allowed: csp({ "default-src": ["'self'"] }, { useDefaults: false }),
    code: "missing-setting",
    path: `${D}.default-src`,
    message: /every resource type that it does not list/,
  },
  {
    name: "no directive at all",
    refused: csp({}, { useDefaults: false }),
    allowed: csp({}, { useDefaults: true }),
    code: "missing-setting",
    path: D,
    message: /no directives/,
  },
  {
    name: "report-to without its endpoint",
    refused: { ...(csp({ "report-to": ["csp"] }) as object), reportingEndpoints: { other: "https://r.example" } },
    allowed: { ...(csp({ "report-to": ["csp"] }) as object), reportingEndpoints: { csp: "https://r.example" } },
    code: "contradiction",
    path: `${D}.report-to`,
    message: /an endpoint that reportingEndpoints does not contain/,
  },
  {
    name: "two endpoints in report-to",
    refused: {
      ...(csp({ "report-to": ["a", "b"] }) as object),
      reportingEndpoints: { a: "https://r.example", b: "https://r.example" },
    },
    allowed: {
      ...(csp({ "report-to": ["a"] }) as object),
      reportingEndpoints: { a: "https://r.example", b: "https://r.example" },
    },
    code: "wrong-value",
    path: `${D}.report-to`,
    message: /one value/,
  },
  {
    name: "report-only policy that would enforce",
    refused: watched({ sandbox: [] }),
    allowed: watched({ "frame-ancestors": ["'self'"] }),
    code: "contradiction",
    path: "contentSecurityPolicyReportOnly.directives.sandbox",
    message: /ignore this directive/,
  },
  {
    name: "empty report-only policy",
    refused: watched({}, { useDefaults: false }),
    allowed: watched({ "require-trusted-types-for": ["'script'"] }, { useDefaults: false }),
    code: "missing-setting",
    path: "contentSecurityPolicyReportOnly.directives",
    message: /no directives/,
  },
  {
    name: "DENY against frame-ancestors",
    refused: { ...(csp({ "frame-ancestors": ["'self'"] }) as object), frameOptions: "DENY" },
    allowed: { ...(csp({ "frame-ancestors": ["'self'"] }) as object), frameOptions: "SAMEORIGIN" },
    code: "contradiction",
    path: "frameOptions",
    message: /DENY contradicts/,
  },
  {
    name: "SAMEORIGIN against frame-ancestors",
    refused: { ...(csp({ "frame-ancestors": ["'none'"] }) as object), frameOptions: "SAMEORIGIN" },
    allowed: { ...(csp({ "frame-ancestors": ["'none'"] }) as object), frameOptions: "DENY" },
    code: "contradiction",
    path: "frameOptions",
    message: /SAMEORIGIN contradicts/,
  },
  {
    name: "X-Frame-Options against a list it cannot express",
    refused: { ...(csp({ "frame-ancestors": ["https://a.example"] }) as object), frameOptions: "SAMEORIGIN" },
    allowed: { ...(csp({ "frame-ancestors": ["https://a.example"] }) as object), frameOptions: false },
    code: "contradiction",
    path: "frameOptions",
    message: /contradicts/,
  },
  {
    name: "frameOptions in lower case",
    refused: { frameOptions: "deny" },
    allowed: { frameOptions: "DENY" },
    code: "wrong-value",
    path: "frameOptions",
    message: /This value is not allowed\./,
    remedy: /Use one of: "DENY", "SAMEORIGIN"/,
  },
  {
    name: "preload for less than a year",
    refused: { strictTransportSecurity: { preload: true, maxAge: 31_535_999 } },
    allowed: { strictTransportSecurity: { preload: true, maxAge: 31_536_000 } },
    code: "contradiction",
    path: "strictTransportSecurity.maxAge",
    message: /at least a year/,
  },
  {
    name: "preload without subdomains",
    refused: { strictTransportSecurity: { preload: true, includeSubDomains: false } },
    allowed: { strictTransportSecurity: { preload: true, includeSubDomains: true } },
    code: "contradiction",
    path: "strictTransportSecurity.includeSubDomains",
    message: /requires includeSubDomains/,
  },
  {
    name: "negative maxAge",
    refused: { strictTransportSecurity: { maxAge: -1 } },
    allowed: { strictTransportSecurity: { maxAge: 0 } },
    code: "wrong-value",
    path: "strictTransportSecurity.maxAge",
    message: /must (?:be|have) at least/,
  },
  {
    name: "maxAge that is no whole number",
    refused: { strictTransportSecurity: { maxAge: 1.5 } },
    allowed: { strictTransportSecurity: { maxAge: 1 } },
    code: "wrong-type",
    path: "strictTransportSecurity.maxAge",
    message: /This must be a whole number\./,
  },
  {
    name: "helmet's misspelt key",
    refused: { strictTransportSecurity: { includeSubdomains: true } },
    allowed: { strictTransportSecurity: { includeSubDomains: true } },
    code: "unknown-setting",
    path: "strictTransportSecurity.includeSubdomains",
    message: /Did you mean "includeSubDomains"/,
  },
  {
    name: "feature name",
    refused: { permissionsPolicy: { "geo location": [] } },
    allowed: { permissionsPolicy: { geolocation: [] } },
    code: "wrong-value",
    path: "permissionsPolicy.?",
    message: /feature name/,
  },
  {
    name: "feature in capitals",
    refused: { permissionsPolicy: { Camera: [] } },
    allowed: { permissionsPolicy: { camera: [] } },
    code: "wrong-value",
    path: "permissionsPolicy.Camera",
    message: /feature name/,
  },
  {
    name: "feature with a name of JavaScript's own",
    refused: { permissionsPolicy: JSON.parse('{"__proto__": []}') as object },
    allowed: { permissionsPolicy: JSON.parse('{"proto": []}') as object },
    code: "wrong-value",
    path: "permissionsPolicy.__proto__",
    message: /feature name/,
  },
  {
    name: "quoted self",
    refused: { permissionsPolicy: { camera: ["'self'"] } },
    allowed: { permissionsPolicy: { camera: ["self"] } },
    code: "wrong-value",
    path: "permissionsPolicy.camera[0]",
    message: /have no quotes/,
  },
  {
    name: "star in a list",
    refused: { permissionsPolicy: { camera: ["*"] } },
    allowed: { permissionsPolicy: { camera: "*" } },
    code: "wrong-value",
    path: "permissionsPolicy.camera[0]",
    message: /cannot be part of a list/,
  },
  {
    name: "none",
    refused: { permissionsPolicy: { camera: ["none"] } },
    allowed: { permissionsPolicy: { camera: [] } },
    code: "wrong-value",
    path: "permissionsPolicy.camera[0]",
    message: /no keyword none/,
  },
  {
    name: "origin with a path",
    refused: { permissionsPolicy: { camera: ["https://a.example/"] } },
    allowed: { permissionsPolicy: { camera: ["https://a.example"] } },
    code: "wrong-value",
    path: "permissionsPolicy.camera[0]",
    message: /not an origin/,
  },
  {
    name: "origin with its default port",
    refused: { permissionsPolicy: { camera: ["https://a.example:443"] } },
    allowed: { permissionsPolicy: { camera: ["https://a.example:8443"] } },
    code: "wrong-value",
    path: "permissionsPolicy.camera[0]",
    message: /not an origin/,
  },
  {
    name: "wildcard in the middle",
    refused: { permissionsPolicy: { camera: ["https://a.*.example"] } },
    allowed: { permissionsPolicy: { camera: ["https://*.a.example"] } },
    code: "wrong-value",
    path: "permissionsPolicy.camera[0]",
    message: /not an origin/,
  },
  {
    name: "allowlist as text",
    refused: { permissionsPolicy: { camera: "self" } },
    allowed: { permissionsPolicy: { camera: ["self"] } },
    code: "wrong-type",
    path: "permissionsPolicy.camera",
    message: /a list or/,
  },
  {
    name: "endpoint without https",
    refused: { reportingEndpoints: { csp: "http://r.example/" } },
    allowed: { reportingEndpoints: { csp: "https://r.example/" } },
    code: "unsafe-setting",
    path: "reportingEndpoints.csp",
    message: /only to https endpoints/,
  },
  {
    name: "endpoint on a host that begins like the loopback",
    refused: { reportingEndpoints: { csp: "http://localhost.evil.example/" } },
    allowed: { reportingEndpoints: { csp: "http://localhost:8080/" } },
    code: "unsafe-setting",
    path: "reportingEndpoints.csp",
    message: /only to https endpoints/,
  },
  {
    name: "endpoint that is no URL",
    refused: { reportingEndpoints: { csp: "/reports" } },
    allowed: { reportingEndpoints: { csp: "https://r.example/reports" } },
    code: "wrong-value",
    path: "reportingEndpoints.csp",
    message: /absolute URL/,
  },
  {
    name: "endpoint with credentials",
    refused: { reportingEndpoints: { csp: "https://u:p@r.example/" } },
    allowed: { reportingEndpoints: { csp: "https://r.example/" } },
    code: "unsafe-setting",
    path: "reportingEndpoints.csp",
    message: /credentials/,
  },
  {
    name: "endpoint name in capitals",
    refused: { reportingEndpoints: { CSP: "https://r.example/" } },
    allowed: { reportingEndpoints: { csp: "https://r.example/" } },
    code: "wrong-value",
    path: "reportingEndpoints.CSP",
    message: /endpoint name/,
  },
  {
    name: "unknown referrer policy",
    refused: { referrerPolicy: "strict-orign" },
    allowed: { referrerPolicy: "strict-origin" },
    code: "wrong-value",
    path: "referrerPolicy",
    message: /This is not a referrer policy\./,
  },
  {
    name: "referrer policy twice",
    refused: { referrerPolicy: ["origin", "origin"] },
    allowed: { referrerPolicy: ["no-referrer", "origin"] },
    code: "wrong-value",
    path: "referrerPolicy",
    message: /twice/,
  },
  {
    name: "no referrer policy in the list",
    refused: { referrerPolicy: [] },
    allowed: { referrerPolicy: false },
    code: "wrong-value",
    path: "referrerPolicy",
    message: /empty/,
  },
  {
    name: "xssProtection as a number",
    refused: { xssProtection: 0 },
    allowed: { xssProtection: "0" },
    code: "wrong-value",
    path: "xssProtection",
    message: /This value is not allowed\./,
    remedy: /Use one of: "/,
  },
  {
    name: "opener policy",
    refused: { crossOriginOpenerPolicy: "same-site" },
    allowed: { crossOriginOpenerPolicy: "same-origin-allow-popups" },
    code: "wrong-value",
    path: "crossOriginOpenerPolicy",
    message: /This value is not allowed\./,
    remedy: /Use one of: "/,
  },
  {
    name: "resource policy",
    refused: { crossOriginResourcePolicy: "same-origin-allow-popups" },
    allowed: { crossOriginResourcePolicy: "same-site" },
    code: "wrong-value",
    path: "crossOriginResourcePolicy",
    message: /This value is not allowed\./,
    remedy: /Use one of: "/,
  },
  {
    name: "embedder policy",
    refused: { crossOriginEmbedderPolicy: true },
    allowed: { crossOriginEmbedderPolicy: "require-corp" },
    code: "wrong-value",
    path: "crossOriginEmbedderPolicy",
    message: /This value is not allowed\./,
    remedy: /Use one of: "/,
  },
  {
    name: "unknown setting",
    refused: { contentSecurityPolcy: false },
    allowed: { contentSecurityPolicy: false },
    code: "unknown-setting",
    path: "contentSecurityPolcy",
    message: /Did you mean "contentSecurityPolicy"/,
  },
  {
    name: "unknown setting of a policy",
    refused: csp({}, { nosuch: true }),
    allowed: csp({}, { useDefaults: true }),
    code: "unknown-setting",
    path: "contentSecurityPolicy.nosuch",
    message: /Known: directives, useDefaults/,
  },
  {
    name: "mode",
    refused: { mode: "off" },
    allowed: { mode: "report" },
    code: "wrong-value",
    path: "mode",
    message: /This value is not allowed\./,
    remedy: /Use one of: "/,
  },
];

describe("settings that are wrong are refused with one issue, while their corrected twins pass", () => {
  it.each(ROWS)("$name", ({ refused, allowed, code, path, message, remedy = /\S{3,}/ }) => {
    const issues = issuesOf(refused);
    expect(issues).toEqual([
      {
        code,
        path,
        message: expect.stringMatching(message) as string,
        remedy: expect.stringMatching(remedy) as string,
      },
    ]);
    expect(issuesOf(allowed)).toEqual([]);
  });

  it("reports all issues at once", () => {
    const paths = issuesOf({
      ...(csp({ "script-src": ["self", "'nonce-1'"], scriptSrc: [], "img-src": ["a b"] }) as object),
      permissionsPolicy: { Camera: [], usb: ["*"] },
      reportingEndpoints: { csp: "ftp://r.example" },
      referrerPolicy: ["x"],
      hsts: false,
    }).map(({ path }) => path);
    expect(paths.sort()).toEqual(
      [
        `${D}.img-src[0]`,
        `${D}.script-src[0]`,
        `${D}.script-src[1]`,
        `${D}.scriptSrc`,
        "hsts",
        "permissionsPolicy.Camera",
        "permissionsPolicy.usb[0]",
        "referrerPolicy[0]",
        "reportingEndpoints.csp",
      ].sort(),
    );
  });

  it("is a SettingsError from the factory, never an error while serving", () => {
    expect(() => securityHeaders(csp({ "img-src": ["a\nb"] }) as HeadersSettings)).toThrow(SettingsError);
  });
});

describe("settings that are right", () => {
  const everything: HeadersSettings = {
    mode: "report",
    contentSecurityPolicy: {
      directives: {
        "script-src": ["'nonce'", "'strict-dynamic'", HASH],
        "style-src": false,
        "connect-src": ["wss://*.example.com:*"],
      },
      useDefaults: true,
    },
    contentSecurityPolicyReportOnly: { directives: { "report-to": ["csp"] }, useDefaults: false },
    strictTransportSecurity: { maxAge: 1 },
    permissionsPolicy: { geolocation: ["self", "https://maps.example.com"], camera: [], fullscreen: "*", midi: false },
    referrerPolicy: ["no-referrer", "strict-origin-when-cross-origin"],
    frameOptions: false,
    reportingEndpoints: { csp: "https://r.example/csp" },
  };

  it.each([
    ["nothing", {}],
    ["everything", everything],
  ])("parsing twice changes nothing: %s", (_name, settings) => {
    const once = parse(headersSchema, settings);
    expect(parse(headersSchema, once)).toEqual(once);
  });

  it("accepts no argument, {}, frozen and null-prototype objects, and undefined for optional settings", () => {
    const bare = parse(headersSchema, {});
    expect(parse(headersSchema, Object.freeze({}))).toEqual(bare);
    expect(parse(headersSchema, Object.create(null))).toEqual(bare);
    expect(
      parse(headersSchema, Object.fromEntries(Object.keys(headersSchema.shape).map((name) => [name, undefined]))),
    ).toEqual(bare);
    expect(
      parse(headersSchema, {
        contentSecurityPolicy: { directives: { "img-src": undefined }, useDefaults: undefined },
        permissionsPolicy: { camera: undefined },
      }),
    ).toEqual(bare);
    for (const settings of [undefined, {}, Object.freeze({}), Object.create(null) as HeadersSettings])
      expect(securityHeaders(settings)).toBeTypeOf("function");
    expect(securityHeaders().name).toBe("securityHeadersMiddleware");
  });

  const VALUES: [string, unknown[]][] = [
    ["mode", ["enforce", "report"]],
    ["frameOptions", ["DENY", "SAMEORIGIN", false]],
    ["xssProtection", ["0", "block", false]],
    [
      "crossOriginOpenerPolicy",
      ["same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none", false],
    ],
    ["crossOriginResourcePolicy", ["same-origin", "same-site", "cross-origin", false]],
    ["crossOriginEmbedderPolicy", ["require-corp", "credentialless", "unsafe-none", false]],
    ["strictTransportSecurity", [false]],
    ["permissionsPolicy", [false]],
    ["referrerPolicy", ["origin", false]],
    ["contentSecurityPolicy", [false]],
    ["contentSecurityPolicyReportOnly", [false]],
  ];
  it.each(VALUES)("%s accepts every documented value, in a layer and in a patch", (name, values) => {
    for (const value of values) {
      expect(parse(headersSchema, { [name]: value })).toMatchObject({ [name]: value });
      if (name !== "mode") expect(parse(headersPatchSchema, { [name]: value })).toEqual({ [name]: value });
    }
  });

  it("have these defaults", () => {
    expect(parse(headersSchema, {})).toEqual({
      mode: "enforce",
      contentSecurityPolicy: { directives: {}, useDefaults: true },
      strictTransportSecurity: { maxAge: 31_536_000, includeSubDomains: true, preload: false },
      permissionsPolicy: {},
      referrerPolicy: "no-referrer",
      xssProtection: "0",
      crossOriginOpenerPolicy: "same-origin",
      crossOriginResourcePolicy: "same-origin",
      crossOriginEmbedderPolicy: false,
      reportingEndpoints: {},
    });
    expect(parse(headersPatchSchema, {})).toEqual({});
    expect(parse(headersPatchSchema, csp({ sandbox: [] }))).toEqual({
      contentSecurityPolicy: { directives: { sandbox: [] } },
    });
    expect(
      parse(headersPatchSchema, {
        contentSecurityPolicy: {},
        contentSecurityPolicyReportOnly: {},
        reportingEndpoints: { a: "https://a.example" },
      }),
    ).toEqual({
      contentSecurityPolicy: { directives: {} },
      contentSecurityPolicyReportOnly: { directives: {} },
      reportingEndpoints: { a: "https://a.example" },
    });
  });

  testEdges(headersSchema, [{ name: "strictTransportSecurity.maxAge", lowest: 0, highest: 2 ** 31 - 1 }]);

  it("are copied", () => {
    const sources = ["'self'"];
    const settings = { contentSecurityPolicy: { directives: { "img-src": sources } } };
    const parsed = parse(headersSchema, settings);
    sources.push("data:");
    expect(parsed.contentSecurityPolicy).toMatchObject({ directives: { "img-src": ["'self'"] } });
  });
});

describe("a patch follows the same rules", () => {
  it.each([
    ["unknown directive", csp({ scriptSrc: [] }), `${D}.scriptSrc`],
    ["unquoted keyword", csp({ "script-src": ["self"] }), `${D}.script-src[0]`],
    ["default-src taken away", csp({ "default-src": false }), `${D}.default-src`],
    [
      "what browsers ignore when they only report",
      watched({ sandbox: [] }),
      "contentSecurityPolicyReportOnly.directives.sandbox",
    ],
    ["useDefaults, which means nothing there", csp({}, { useDefaults: true }), "contentSecurityPolicy.useDefaults"],
    ["mode, which belongs to the layer", { mode: "report" }, "mode"],
  ])("%s", (_name, patch, path) =>
    expect(issuesOf(patch, headersPatchSchema as never).map((issue) => issue.path)).toEqual([path]),
  );
});
