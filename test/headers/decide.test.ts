import { describe, expect, it } from "vitest";
import { decideHeaders, patchHeaders, type HeaderModel, withoutEnforcedOnly } from "../../src/headers/decide.js";
import { defaultPolicy, type DirectiveName } from "../../src/headers/directives.js";
import { headersPatchSchema, type HeadersPatch, type HeadersSettings } from "../../src/headers/settings.js";
import { headersSchema } from "../../src/headers/schema.js";
import { parse } from "../../src/settings/object.js";

const model = (settings: HeadersSettings = {}, debug = false): HeaderModel =>
  decideHeaders(parse(headersSchema, settings), debug);
const patched = (settings: HeadersSettings, patch: HeadersPatch, debug = false): HeaderModel =>
  patchHeaders(model(settings, debug), parse(headersPatchSchema, patch), debug);
const sources = ({ csp }: HeaderModel, name: DirectiveName) => (csp === false ? undefined : csp.get(name));
const csp = (directives: object) => ({ contentSecurityPolicy: { directives } });
const UNUSUAL: HeadersSettings = {
  contentSecurityPolicyReportOnly: { directives: { "img-src": ["https:"] } },
  strictTransportSecurity: { maxAge: 7 },
  permissionsPolicy: { camera: ["self"] },
  referrerPolicy: ["no-referrer", "origin"],
  xssProtection: "block",
  crossOriginOpenerPolicy: "unsafe-none",
  crossOriginResourcePolicy: "cross-origin",
  crossOriginEmbedderPolicy: "require-corp",
  reportingEndpoints: { a: "https://a.example" },
};

describe("a policy from settings", () => {
  it.each<[string, HeadersSettings, DirectiveName, string[] | undefined]>([
    ["the default", {}, "script-src", ["'self'"]],
    ["a directive replaces its default", csp({ "script-src": ["https:"] }), "script-src", ["https:"]],
    ["and leaves the others", csp({ "script-src": ["https:"] }), "style-src", ["'self'"]],
    ["false leaves a default out", csp({ "font-src": false }), "font-src", undefined],
    [
      "without the defaults there is only what is written",
      { contentSecurityPolicy: { directives: { "default-src": ["'none'"] }, useDefaults: false } },
      "base-uri",
      undefined,
    ],
    ["X-Frame-Options alone speaks for frame-ancestors", { frameOptions: "SAMEORIGIN" }, "frame-ancestors", ["'self'"]],
    [
      "but adds no directive to a policy of its own",
      {
        frameOptions: "SAMEORIGIN",
        contentSecurityPolicy: { directives: { "default-src": ["'none'"] }, useDefaults: false },
      },
      "frame-ancestors",
      undefined,
    ],
    [
      "nor to one that leaves it out",
      { frameOptions: "DENY", ...csp({ "frame-ancestors": false }) },
      "frame-ancestors",
      undefined,
    ],
    ["X-Frame-Options taken away leaves it", { frameOptions: false }, "frame-ancestors", ["'none'"]],
    ["DENY is what it says by itself", { frameOptions: "DENY" }, "frame-ancestors", ["'none'"]],
    ["no policy", { contentSecurityPolicy: false, frameOptions: "SAMEORIGIN" }, "default-src", undefined],
    ["undefined leaves a default", csp({ "font-src": undefined }), "font-src", ["'self'"]],
  ])("%s", (_name, settings, directive, expected) => expect(sources(model(settings), directive)).toEqual(expected));

  it.each<[string, HeadersSettings, Partial<HeaderModel>]>([
    ["enforced", {}, { reportOnly: false, cspReportOnly: false }],
    ["only reported on", { mode: "report" }, { reportOnly: true }],
    ["none", { contentSecurityPolicy: false }, { csp: false, frame: "DENY" }],
    ["no second one", { contentSecurityPolicyReportOnly: false }, { cspReportOnly: false }],
    [
      "a second one of its own",
      { contentSecurityPolicyReportOnly: { directives: { "img-src": ["https:"] }, useDefaults: false } },
      { cspReportOnly: new Map([["img-src", ["https:"]]]) },
    ],
    ["X-Frame-Options follows 'none'", csp({ "frame-ancestors": ["'none'"] }), { frame: "DENY" }],
    ["X-Frame-Options follows 'self'", csp({ "frame-ancestors": ["'self'"] }), { frame: "SAMEORIGIN" }],
    ["X-Frame-Options cannot name a host", csp({ "frame-ancestors": ["https://a.example"] }), { frame: false }],
    ["X-Frame-Options cannot name two", csp({ "frame-ancestors": ["'self'", "https://a.example"] }), { frame: false }],
    ["X-Frame-Options where nothing speaks of frames", csp({ "frame-ancestors": false }), { frame: "DENY" }],
    ["X-Frame-Options taken away", { frameOptions: false }, { frame: false }],
    ["no permissions", { permissionsPolicy: false }, { permissions: false }],
    ["one referrer policy", { referrerPolicy: "origin" }, { referrer: ["origin"] }],
    [
      "several referrer policies",
      { referrerPolicy: ["no-referrer", "origin"] },
      { referrer: ["no-referrer", "origin"] },
    ],
    ["no referrer policy", { referrerPolicy: false }, { referrer: false }],
    [
      "endpoints",
      { reportingEndpoints: { a: "https://a.example" } },
      { endpoints: new Map([["a", "https://a.example"]]) },
    ],
  ])("%s", (_name, settings, expected) => expect(model(settings)).toMatchObject(expected));

  it("reports violations of the defaults, except for directives that browsers can only enforce", () => {
    const { csp: enforced, cspReportOnly: watched } = model({ contentSecurityPolicyReportOnly: {} });
    expect(enforced && [...enforced.keys()].filter((name) => !(watched && watched.has(name)))).toEqual([
      "upgrade-insecure-requests",
    ]);
    expect(watched && watched.get("img-src")).toEqual(["'self'", "data:"]);
  });

  it("denies the listed features that are not set, after those that are", () => {
    const { permissions } = model({ permissionsPolicy: { fullscreen: "*", camera: ["self"], usb: false } });
    const names = permissions === false ? [] : [...permissions.keys()];
    expect(names.slice(0, 2)).toEqual(["fullscreen", "camera"]);
    expect(names).toContain("microphone");
    expect(names).not.toContain("usb");
    expect(permissions && permissions.get("microphone")).toEqual([]);
    expect(permissions && permissions.get("camera")).toEqual(["self"]);
  });

  it("that is off stays off in debug", () => {
    expect(model({ contentSecurityPolicy: false }, true).csp).toBe(false);
    expect(patched({}, { contentSecurityPolicy: false }, true).csp).toBe(false);
    expect(patched({ contentSecurityPolicy: false }, {}, true).csp).toBe(false);
  });

  it("omits what breaks plain http in debug, and only then", () => {
    expect([model({}, true).transport, sources(model({}, true), "upgrade-insecure-requests")]).toEqual([
      false,
      undefined,
    ]);
    expect([model({}, false).transport, sources(model({}, false), "upgrade-insecure-requests")]).toEqual([
      { maxAge: 31_536_000, includeSubDomains: true, preload: false },
      [],
    ]);
  });
});

describe("a patch of the policy", () => {
  it.each<[string, HeadersSettings, HeadersPatch, DirectiveName, string[] | undefined]>([
    [
      "adds to a directive",
      {},
      csp({ "img-src": ["https://i.example"] }),
      "img-src",
      ["'self'", "data:", "https://i.example"],
    ],
    ["adds nothing twice", {}, csp({ "img-src": ["data:"] }), "img-src", ["'self'", "data:"]],
    ["drops 'none' when it adds", {}, csp({ "object-src": ["'self'"] }), "object-src", ["'self'"]],
    ["can empty a directive", {}, csp({ "img-src": ["'none'"] }), "img-src", ["'none'"]],
    ["can remove one", {}, csp({ "font-src": false }), "font-src", undefined],
    ["leaves what it does not name", {}, csp({ "img-src": ["https:"] }), "script-src", ["'self'"]],
    [
      "adds to the fallback of a directive that is not there",
      {},
      csp({ "connect-src": ["https://a.example"] }),
      "connect-src",
      ["'self'", "https://a.example"],
    ],
    [
      "adds to the nearest fallback",
      csp({ "script-src": ["'nonce'"] }),
      csp({ "script-src-elem": ["https://a.example"] }),
      "script-src-elem",
      ["'nonce'", "https://a.example"],
    ],
    [
      "frames fall back to child-src first",
      csp({ "child-src": ["blob:"] }),
      csp({ "frame-src": ["https://a.example"] }),
      "frame-src",
      ["blob:", "https://a.example"],
    ],
    [
      "workers fall back to child-src, then to scripts",
      csp({ "script-src": ["'self'", "blob:"] }),
      csp({ "worker-src": ["https://a.example"] }),
      "worker-src",
      ["'self'", "blob:", "https://a.example"],
    ],
    [
      "form-action has no fallback",
      { contentSecurityPolicy: { directives: { "default-src": ["'self'"] }, useDefaults: false } },
      csp({ "form-action": ["https://a.example"] }),
      "form-action",
      ["https://a.example"],
    ],
    [
      "report-to takes one name, so it is replaced",
      { ...csp({ "report-to": ["a"] }), reportingEndpoints: { a: "https://r.example", b: "https://r.example" } },
      csp({ "report-to": ["b"] }),
      "report-to",
      ["b"],
    ],
    [
      "adds to the defaults where no policy was enforced",
      { contentSecurityPolicy: false },
      csp({ "img-src": ["https:"] }),
      "img-src",
      ["'self'", "data:", "https:"],
    ],
    ["frameOptions takes frame-ancestors along", {}, { frameOptions: "SAMEORIGIN" }, "frame-ancestors", ["'self'"]],
    [
      "unless that is patched too",
      {},
      { frameOptions: "DENY", ...csp({ "frame-ancestors": ["https://a.example"] }) },
      "frame-ancestors",
      ["https://a.example"],
    ],
    [
      "also beside a patch of another directive",
      {},
      { frameOptions: "SAMEORIGIN", ...csp({ "img-src": ["https:"] }) },
      "frame-ancestors",
      ["'self'"],
    ],
    ["and back", { frameOptions: "SAMEORIGIN" }, { frameOptions: "DENY" }, "frame-ancestors", ["'none'"]],
    [
      "and removed it leaves frame-ancestors",
      { frameOptions: "SAMEORIGIN" },
      { frameOptions: false },
      "frame-ancestors",
      ["'self'"],
    ],
    [
      "and adds it to no policy that has none",
      csp({ "frame-ancestors": false }),
      { frameOptions: "SAMEORIGIN" },
      "frame-ancestors",
      undefined,
    ],
    [
      "nor where there is no policy",
      { contentSecurityPolicy: false },
      { frameOptions: "SAMEORIGIN" },
      "frame-ancestors",
      undefined,
    ],
    [
      "webrtc takes one word, so it is replaced",
      csp({ webrtc: ["'allow'"] }),
      csp({ webrtc: ["'block'"] }),
      "webrtc",
      ["'block'"],
    ],
    ["undefined leaves a directive", {}, csp({ "font-src": undefined }), "font-src", ["'self'"]],
    ["a single source is added too", {}, csp({ "font-src": ["data:"] }), "font-src", ["'self'", "data:"]],
    ["several sources", {}, csp({ "font-src": ["data:", "https:"] }), "font-src", ["'self'", "data:", "https:"]],
  ])("%s", (_name, settings, patch, directive, expected) =>
    expect(sources(patched(settings, patch), directive)).toEqual(expected),
  );

  it("can remove the policy", () => expect(patched({}, { contentSecurityPolicy: false }).csp).toBe(false));

  it("does not restore what debug omits", () => {
    const result = patched(
      {},
      { strictTransportSecurity: { maxAge: 1 }, ...csp({ "upgrade-insecure-requests": [] }) },
      true,
    );
    expect([result.transport, sources(result, "upgrade-insecure-requests")]).toEqual([false, undefined]);
  });

  it("patches the report-only policy alone", () => {
    const result = patched(
      { contentSecurityPolicyReportOnly: {} },
      { contentSecurityPolicyReportOnly: { directives: { "img-src": ["https:"] } } },
    );
    expect(result.cspReportOnly === false ? undefined : result.cspReportOnly.get("img-src")).toEqual([
      "'self'",
      "data:",
      "https:",
    ]);
    expect(sources(result, "img-src")).toEqual(["'self'", "data:"]);
    expect(
      patched({ contentSecurityPolicyReportOnly: {} }, { contentSecurityPolicyReportOnly: false }).cspReportOnly,
    ).toBe(false);
  });

  it("changes neither the model nor the patch", () => {
    const before = model();
    const copy = structuredClone(before);
    patchHeaders(
      before,
      parse(headersPatchSchema, {
        ...csp({ "img-src": ["https:"] }),
        frameOptions: "SAMEORIGIN",
        permissionsPolicy: { camera: ["self"] },
      }),
      true,
    );
    expect(before).toEqual(copy);
  });
});

describe("a patch of the other headers", () => {
  it.each<[string, HeadersSettings, HeadersPatch, Partial<HeaderModel> | (() => Partial<HeaderModel>)]>([
    [
      "frame-ancestors takes X-Frame-Options along",
      {},
      csp({ "frame-ancestors": ["'self'"] }),
      { frame: "SAMEORIGIN" },
    ],
    ["as far as it can follow", {}, csp({ "frame-ancestors": ["https://a.example"] }), { frame: false }],
    ["X-Frame-Options removed", {}, { frameOptions: false }, { frame: false }],
    [
      "X-Frame-Options left alone",
      { frameOptions: "SAMEORIGIN" },
      csp({ "img-src": ["https:"] }),
      { frame: "SAMEORIGIN" },
    ],
    [
      "HSTS",
      {},
      { strictTransportSecurity: { maxAge: 7 } },
      { transport: { maxAge: 7, includeSubDomains: true, preload: false } },
    ],
    ["HSTS removed", {}, { strictTransportSecurity: false }, { transport: false }],
    ["referrer policy", {}, { referrerPolicy: "origin" }, { referrer: ["origin"] }],
    ["referrer policy removed", {}, { referrerPolicy: false }, { referrer: false }],
    [
      "the rest",
      {},
      {
        xssProtection: "block",
        crossOriginOpenerPolicy: false,
        crossOriginResourcePolicy: "cross-origin",
        crossOriginEmbedderPolicy: "require-corp",
      },
      { xss: "block", opener: false, resource: "cross-origin", embedder: "require-corp" },
    ],
    [
      "permissions are laid over",
      { permissionsPolicy: { fullscreen: "*", usb: false } },
      { permissionsPolicy: { fullscreen: [] } },
      () => ({
        permissions: new Map([
          ["fullscreen", []],
          ...[...(model({ permissionsPolicy: { usb: false } }).permissions || [])],
        ]),
      }),
    ],
    ["permissions removed", {}, { permissionsPolicy: false }, { permissions: false }],
    [
      "permissions where there were none",
      { permissionsPolicy: false },
      { permissionsPolicy: { camera: [] } },
      { permissions: new Map([["camera", []]]) },
    ],
    [
      "endpoints are added",
      { reportingEndpoints: { a: "https://a.example" } },
      { reportingEndpoints: { b: "https://b.example" } },
      {
        endpoints: new Map([
          ["a", "https://a.example"],
          ["b", "https://b.example"],
        ]),
      },
    ],
    ["nothing", { frameOptions: "DENY" }, {}, () => model({ frameOptions: "DENY" })],
    ["nothing of what was unusual", UNUSUAL, {}, () => model(UNUSUAL)],
    [
      "X-Frame-Options is its own where both are patched",
      {},
      { frameOptions: "SAMEORIGIN", ...csp({ "frame-ancestors": ["'self'"] }) },
      { frame: "SAMEORIGIN" },
    ],
    [
      "X-Frame-Options follows frame-ancestors that are removed",
      { frameOptions: "SAMEORIGIN" },
      csp({ "frame-ancestors": false }),
      { frame: "DENY" },
    ],
    [
      "X-Frame-Options stays when the policy goes",
      { frameOptions: "SAMEORIGIN" },
      { contentSecurityPolicy: false },
      { frame: "SAMEORIGIN", csp: false },
    ],
    [
      "a report-only policy where there was none begins with the defaults",
      {},
      { contentSecurityPolicyReportOnly: { directives: { "script-src": ["https:"] } } },
      () => ({ cspReportOnly: withoutEnforcedOnly(defaultPolicy().set("script-src", ["'self'", "https:"])) }),
    ],
    ["the mode of the layer stays", { mode: "report" }, {}, { reportOnly: true }],
  ])("%s", (_name, settings, patch, expected) =>
    expect(patched(settings, patch)).toMatchObject(typeof expected === "function" ? expected() : expected),
  );
});
