import { describe, expect, it } from "vitest";
import { csrfProtection } from "../../src/csrf/middleware.js";
import { csrfSchema, type CsrfSettings } from "../../src/csrf/settings.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";

const TRUSTED = "https://trusted.example";
const DEFAULTS = { trustedOrigins: [], exemptPaths: [], sameSite: "refuse", unmarked: "allow", mode: "enforce" };

function issues(settings: unknown): readonly SettingsIssue[] {
  try {
    parse(csrfSchema, settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

describe("accepted settings", () => {
  it.each<[string, unknown, unknown]>([
    ["nothing", {}, DEFAULTS],
    ["a frozen object", Object.freeze({ unmarked: "refuse" }), { ...DEFAULTS, unmarked: "refuse" }],
    [
      "an object without prototype",
      Object.assign(Object.create(null), { sameSite: "allow" }),
      { ...DEFAULTS, sameSite: "allow" },
    ],
    [
      "undefined values",
      { trustedOrigins: undefined, exemptPaths: undefined, sameSite: undefined, unmarked: undefined, mode: undefined },
      DEFAULTS,
    ],
    [
      "everything",
      {
        trustedOrigins: [TRUSTED, "https://*.example.com"],
        exemptPaths: ["/callback"],
        sameSite: "allow",
        unmarked: "refuse",
        mode: "report",
      },
      {
        trustedOrigins: [TRUSTED, "https://*.example.com"],
        exemptPaths: ["/callback"],
        sameSite: "allow",
        unmarked: "refuse",
        mode: "report",
      },
    ],
  ])("%s", (_name, settings, options) => {
    expect(parse(csrfSchema, settings)).toEqual(options);
    expect(parse(csrfSchema, parse(csrfSchema, settings))).toEqual(options);
  });

  it("are accepted by the factory, which needs no argument", () => {
    expect(csrfProtection().name).toBe("csrfMiddleware");
    expect(csrfProtection(undefined).name).toBe("csrfMiddleware");
    expect(csrfProtection({}).name).toBe("csrfMiddleware");
  });

  it("are not changed", () => {
    const settings: CsrfSettings = { trustedOrigins: [TRUSTED] };
    parse(csrfSchema, settings).trustedOrigins.push("https://other.example");
    expect(settings).toEqual({ trustedOrigins: [TRUSTED] });
  });
});

describe("refused settings", () => {
  it.each<[string, unknown, Partial<SettingsIssue>]>([
    [
      "an unknown value",
      { sameSite: "lax" },
      { code: "wrong-value", path: "sameSite", remedy: 'Use one of: "refuse", "allow".' },
    ],
    [
      "a misspelt key",
      { trustedOrigin: [] },
      {
        code: "unknown-setting",
        path: "trustedOrigin",
        message: 'There is no setting "trustedOrigin". Did you mean "trustedOrigins"?',
      },
    ],
    ["a string for the list", { trustedOrigins: TRUSTED }, { code: "wrong-type", path: "trustedOrigins" }],
    ...["/webhooks/*", "/pay/:id/return", "/{*rest}", "/a\\d"].map((path): [string, unknown, object] => [
      `${path} for a path`,
      { exemptPaths: ["/a:b", "/b(1)", path] },
      { code: "wrong-value", path: "exemptPaths[2]" },
    ]),
    ["a pattern for a path", { exemptPaths: ["callback"] }, { code: "wrong-value", path: "exemptPaths[0]" }],
    // From here on the cases of Go's AddTrustedOrigin.
    ["missing scheme", { trustedOrigins: ["example.com"] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    ["missing host", { trustedOrigins: ["https://"] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    [
      "trailing slash",
      { trustedOrigins: ["https://example.com/"] },
      { code: "wrong-value", path: "trustedOrigins[0]" },
    ],
    ["with path", { trustedOrigins: ["https://example.com/path"] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    [
      "with query",
      { trustedOrigins: ["https://example.com?query=value"] },
      { code: "wrong-value", path: "trustedOrigins[0]" },
    ],
    [
      "with fragment",
      { trustedOrigins: ["https://example.com#fragment"] },
      { code: "wrong-value", path: "trustedOrigins[0]" },
    ],
    ["invalid url", { trustedOrigins: ["https://ex ample.com"] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    ["empty string", { trustedOrigins: [""] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    ["null", { trustedOrigins: ["null"] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    ["all", { trustedOrigins: ["*"] }, { code: "wrong-value", path: "trustedOrigins[0]" }],
    ["a public suffix", { trustedOrigins: ["https://*.com"] }, { code: "unsafe-setting", path: "trustedOrigins[0]" }],
  ])("%s", (_name, settings, issue) => {
    expect(issues(settings)).toEqual([expect.objectContaining(issue)]);
    expect(issues(settings).every(({ message, remedy }) => message !== "" && remedy !== "")).toBe(true);
  });
});
