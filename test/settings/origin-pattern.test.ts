import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_ORIGIN_LENGTH, OriginPatterns } from "../../src/core/http/origin.js";
import { parse } from "../../src/settings/object.js";
import { originPatternProblem, originPatternSchema } from "../../src/settings/origin-pattern.js";

describe("originPatternSchema", () => {
  it.each([
    "https://app.example.com",
    "https://app.example.com:8443",
    "http://localhost:5173",
    "http://127.0.0.1",
    "http://[::1]:3000",
    "https://*.example.com",
    "https://*.example.com:8443",
    "http://*.localhost:3000",
    "https://*.example.co.uk",
    "https://*.me.github.io",
    "https://github.io",
    "tauri://localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "https://xn--bcher-kva.example",
  ])("accepts %s", (text) => {
    expect(parse(originPatternSchema, text)).toBe(text);
  });

  const example = "Write scheme://host[:port], for example https://app.example.com.";
  const wildcard = "Write https://*.example.com, and https://example.com beside it if that is meant too.";
  const suffix = [
    "unsafe-setting",
    "public suffix",
    "Name the domain that is yours: https://*.example.com instead of https://*.com.",
  ];
  it.each([
    [
      "*",
      "wrong-value",
      '"*" is not an origin',
      'Name the origins. Where a protection can take every origin, its setting is "*" itself, not a list.',
    ],
    ["null", "wrong-value", "origin null", "Serve the page from an http or https origin and name that."],
    ["", "wrong-value", "no scheme", example],
    ["app.example.com", "wrong-value", "no scheme", example],
    ["https://", "wrong-value", "not an origin", example],
    ...["https://-", "https://.", "http://.", "https://-a.example", "app://-a", "app://..", "app://-:1x"].map(
      (text): [string, string, string, string] => [text, "wrong-value", "not an origin", example],
    ),
    ["https://app.example.com/", "wrong-value", "no path", "Write https://app.example.com."],
    ["https://app.example.com/path?token=1", "wrong-value", "no path", "Write https://app.example.com."],
    ["https://*.example.com/", "wrong-value", "no path", "Write https://*.example.com."],
    ["https://user:pass@app.example.com", "wrong-value", "no user name", "Write https://app.example.com."],
    ["https://App.example.com", "wrong-value", "lower case", "Write https://app.example.com."],
    ["HTTPS://App.example.com", "wrong-value", "lower case", "Write https://app.example.com."],
    ["https://app.example.com/Path", "wrong-value", "no path", "Write https://app.example.com."],
    ["HTTPS://app.example.com/", "wrong-value", "no path", "Write https://app.example.com."],
    ["HTTPS://app.example.com:443", "wrong-value", "default port", "Write https://app.example.com."],
    ["FILE://app", "wrong-value", "scheme", "Write the http or https origin of the page that sends the request."],
    ["App.example.com", "wrong-value", "no scheme", example],
    ["SAFARI-WEB-EXTENSION://ABC/", "wrong-value", "no path", example],
    ["safari-web-extension://", "wrong-value", "not an origin", example],
    ["safari-web-extension://*.ABC", "wrong-value", "http or https", "Name the origins of this scheme one by one."],
    ["https://bücher.example", "wrong-value", "punycode", "Write https://xn--bcher-kva.example."],
    ["https://app.example.com:443", "wrong-value", "default port", "Write https://app.example.com."],
    ["http://app.example.com:80", "wrong-value", "default port", "Write http://app.example.com."],
    ["https://app.example.com:99999", "wrong-value", "not an origin", example],
    ["http://127.1", "wrong-value", "not an origin", "Write http://127.0.0.1."],
    ["http://[0::1]", "wrong-value", "not an origin", "Write http://[::1]."],
    ["https://example.com.", "wrong-value", "ends in a dot", "Leave the dot out."],
    ["https://*example.com", "wrong-value", "whole labels", wildcard],
    ["https://app-*.example.com", "wrong-value", "whole labels", wildcard],
    ["https://a.*.example.com", "wrong-value", "whole labels", wildcard],
    ["https://*.*.example.com", "wrong-value", "whole labels", wildcard],
    ["*.example.com", "wrong-value", "whole labels", wildcard],
    ["https://*", "wrong-value", "whole labels", wildcard],
    ["tauri://*.localhost", "wrong-value", "http or https", "Name the origins of this scheme one by one."],
    [
      "ws://app.example.com",
      "wrong-value",
      "scheme",
      "Write the http or https origin of the page that sends the request.",
    ],
    ["file://app", "wrong-value", "scheme", "Write the http or https origin of the page that sends the request."],
    [
      "file://",
      "wrong-value",
      "opened from a file",
      "Serve the page from an http or https origin, or from a scheme of your own (app://-), and name that.",
    ],
    [`https://${"a".repeat(400)}`, "wrong-value", `${MAX_ORIGIN_LENGTH} characters`, "Write scheme://host[:port]."],
    ["https://*.com", ...suffix],
    ["https://*.co.uk", ...suffix],
    ["https://*.github.io", ...suffix],
    ["https://*.herokuapp.com:8443", ...suffix],
    ["https://*.internal", ...suffix],
  ])("refuses %j", (text, code, message, remedy) => {
    const problem = originPatternProblem(text);
    expect(problem).toMatchObject({ code, remedy });
    expect(problem?.message).toContain(message);
    expect(() => parse(originPatternSchema, text)).toThrow(
      expect.objectContaining({ issues: [{ path: "", ...problem }] }),
    );
  });

  it("judges invalid punycode as the URL standard of this Node does: refused up to Node 22, plain ASCII since", () => {
    const text = "https://xn--zzzzzzz99999.example";
    const problem = originPatternProblem(text);
    if (URL.canParse(text)) expect(problem).toBeUndefined();
    else
      expect(problem).toMatchObject({
        code: "wrong-value",
        remedy: "Copy the origin from the browser: location.origin.",
      });
  });

  it("accepts no text that OriginPatterns refuses, and an accepted origin matches itself", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.webUrl().map((url) => new URL(url).origin),
          fc.string({ unit: "binary" }),
          fc.domain().map((domain) => `https://*.${domain}`),
          fc
            .tuple(
              fc.constantFrom("app", "APP", "Safari-Web-Extension", "HTTPS", "http"),
              fc.string({ unit: fc.constantFrom("a", "Z", "0", "-", ".", ":", "/") }),
            )
            .map((parts) => parts.join("://")),
        ),
        (text) => {
          if (originPatternProblem(text) !== undefined) return;
          const sent = text.replace("*", "a").replace(/^[^:]*/, (scheme) => scheme.toLowerCase());
          expect(new OriginPatterns([text]).has(sent)).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
