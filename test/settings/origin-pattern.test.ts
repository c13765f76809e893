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
  const wildcard = "Write https://*.example.com. To include example.com itself, add https://example.com.";
  const suffix = [
    "unsafe-setting",
    "public suffix",
    "Use your own domain: https://*.example.com instead of https://*.com.",
  ];
  it.each([
    [
      "*",
      "wrong-value",
      '"*" is not an origin',
      'List the origins. Where a setting can allow every origin, write "*" without a list.',
    ],
    ["null", "wrong-value", "origin null", "Serve the page from an http or https origin, and list that origin."],
    ["", "wrong-value", "The scheme is missing.", example],
    ["app.example.com", "wrong-value", "The scheme is missing.", example],
    ["https://", "wrong-value", "not an origin", example],
    ...["https://-", "https://.", "http://.", "https://-a.example", "app://-a", "app://..", "app://-:1x"].map(
      (text): [string, string, string, string] => [text, "wrong-value", "not an origin", example],
    ),
    [
      "https://app.example.com/",
      "wrong-value",
      "An origin cannot have a path, a query, a fragment or a trailing slash.",
      "Write https://app.example.com.",
    ],
    [
      "https://app.example.com/path?token=1",
      "wrong-value",
      "An origin cannot have a path, a query, a fragment or a trailing slash.",
      "Write https://app.example.com.",
    ],
    [
      "https://*.example.com/",
      "wrong-value",
      "An origin cannot have a path, a query, a fragment or a trailing slash.",
      "Write https://*.example.com.",
    ],
    [
      "https://user:pass@app.example.com",
      "wrong-value",
      "An origin cannot contain a user name.",
      "Write https://app.example.com.",
    ],
    ["https://App.example.com", "wrong-value", "lower case", "Write https://app.example.com."],
    ["HTTPS://App.example.com", "wrong-value", "lower case", "Write https://app.example.com."],
    [
      "https://app.example.com/Path",
      "wrong-value",
      "An origin cannot have a path, a query, a fragment or a trailing slash.",
      "Write https://app.example.com.",
    ],
    [
      "HTTPS://app.example.com/",
      "wrong-value",
      "An origin cannot have a path, a query, a fragment or a trailing slash.",
      "Write https://app.example.com.",
    ],
    ["HTTPS://app.example.com:443", "wrong-value", "default port", "Write https://app.example.com."],
    ["FILE://app", "wrong-value", "scheme", "Write the http or https origin of the page that sends the request."],
    ["App.example.com", "wrong-value", "The scheme is missing.", example],
    [
      "SAFARI-WEB-EXTENSION://ABC/",
      "wrong-value",
      "An origin cannot have a path, a query, a fragment or a trailing slash.",
      example,
    ],
    ["safari-web-extension://", "wrong-value", "not an origin", example],
    ["safari-web-extension://*.ABC", "wrong-value", "http or https", "List the origins with this scheme one by one."],
    ["https://bücher.example", "wrong-value", "punycode", "Write https://xn--bcher-kva.example."],
    ["https://app.example.com:443", "wrong-value", "default port", "Write https://app.example.com."],
    ["http://app.example.com:80", "wrong-value", "default port", "Write http://app.example.com."],
    ["https://app.example.com:99999", "wrong-value", "not an origin", example],
    ["http://127.1", "wrong-value", "not an origin", "Write http://127.0.0.1."],
    ["http://[0::1]", "wrong-value", "not an origin", "Write http://[::1]."],
    [
      "https://example.com.",
      "wrong-value",
      "The host ends with a dot, which makes it a different origin.",
      "Remove the dot.",
    ],
    ["https://*example.com", "wrong-value", "A wildcard must be the whole first label of the host.", wildcard],
    ["https://app-*.example.com", "wrong-value", "A wildcard must be the whole first label of the host.", wildcard],
    ["https://a.*.example.com", "wrong-value", "A wildcard must be the whole first label of the host.", wildcard],
    ["https://*.*.example.com", "wrong-value", "A wildcard must be the whole first label of the host.", wildcard],
    ["*.example.com", "wrong-value", "A wildcard must be the whole first label of the host.", wildcard],
    ["https://*", "wrong-value", "A wildcard must be the whole first label of the host.", wildcard],
    ["tauri://*.localhost", "wrong-value", "http or https", "List the origins with this scheme one by one."],
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
      "Serve the page from an http or https origin, or from a scheme of your own (app://-), and list that origin.",
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
