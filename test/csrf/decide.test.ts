import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OriginPatterns } from "../../src/core/http/origin.js";
import { type CsrfPolicy, type CsrfReason, type CsrfRequest, decideCsrf, isSafeMethod } from "../../src/csrf/decide.js";

const OWN = "https://example.com";
const TRUSTED = "https://trusted.example";
const EVIL = "https://attacker.example";
const EXTENSION = "safari-web-extension://6F1C2A4B-9D3E-4C5F-8A7B-0123456789AB";
const trusted = new OriginPatterns([TRUSTED, "https://*.partner.example", EXTENSION.toLowerCase()]);

interface Case {
  sameSite?: CsrfPolicy["sameSite"];
  unmarked?: CsrfPolicy["unmarked"];
  site?: string | string[];
  origin?: string | string[];
  host?: string | undefined;
  secure?: boolean;
  forwardedPort?: number;
}

const lines = (value: string | string[] | undefined): string[] => (value === undefined ? [] : [value].flat());

function verdict(given: Case): CsrfReason | "pass" {
  const policy: CsrfPolicy = { trusted, sameSite: given.sameSite ?? "refuse", unmarked: given.unmarked ?? "allow" };
  const request: CsrfRequest = {
    site: lines(given.site),
    origin: lines(given.origin),
    host: "host" in given ? given.host : "example.com",
    forwardedPort: given.forwardedPort,
    secure: given.secure ?? true,
  };
  const refusal = decideCsrf(policy, request);
  if (refusal === undefined) return "pass";
  expect(refusal.code).toBe("cross-origin-refused");
  return refusal.reason as CsrfReason;
}

/** A refusal and its allowed twin, which differs from it in one field. */
const rows: { name: string; refused: Case; reason: CsrfReason; allowed: Case }[] = [
  { name: "cross-site", refused: { site: "cross-site" }, reason: "cross-site", allowed: { site: "same-origin" } },
  {
    name: "cross-site, Origin not trusted",
    refused: { site: "cross-site", origin: EVIL },
    reason: "cross-site",
    allowed: { site: "cross-site", origin: TRUSTED },
  },
  {
    name: "cross-site, Origin our own",
    refused: { site: "cross-site", origin: OWN },
    reason: "cross-site",
    allowed: { site: "same-origin", origin: OWN },
  },
  {
    name: "cross-site, Origin null",
    refused: { site: "cross-site", origin: "null" },
    reason: "cross-site",
    allowed: { site: "same-origin", origin: "null" },
  },
  {
    name: "same-site",
    refused: { site: "same-site" },
    reason: "same-site",
    allowed: { site: "same-site", sameSite: "allow" },
  },
  {
    name: "same-site, Origin not trusted",
    refused: { site: "same-site", origin: "https://a.example.com" },
    reason: "same-site",
    allowed: { site: "same-site", origin: "https://a.partner.example" },
  },
  {
    name: "same-site allowed is not cross-site",
    refused: { site: "cross-site", sameSite: "allow" },
    reason: "cross-site",
    allowed: { site: "same-site", sameSite: "allow" },
  },
  {
    name: "same-site allowed is not another Origin",
    refused: { origin: "https://a.example.com", sameSite: "allow" },
    reason: "origin-mismatch",
    allowed: { origin: OWN, sameSite: "allow" },
  },
  {
    name: "a site of another case",
    refused: { site: "Same-Origin" },
    reason: "malformed",
    allowed: { site: "same-origin" },
  },
  {
    name: "another Safari extension",
    refused: { site: "cross-site", origin: EXTENSION.replace("6F", "7F") },
    reason: "cross-site",
    allowed: { site: "cross-site", origin: EXTENSION },
  },
  {
    name: "an unknown site",
    refused: { site: "sibling", origin: OWN },
    reason: "malformed",
    allowed: { site: "sibling", origin: TRUSTED },
  },
  { name: "an empty site", refused: { site: "" }, reason: "malformed", allowed: {} },
  {
    name: "two sites",
    refused: { site: ["same-origin", "same-origin"] },
    reason: "malformed",
    allowed: { site: ["same-origin"] },
  },
  {
    name: "two sites in one line",
    refused: { site: "same-origin, cross-site" },
    reason: "malformed",
    allowed: { site: "same-origin" },
  },
  { name: "two origins", refused: { origin: [OWN, OWN] }, reason: "malformed", allowed: { origin: [OWN] } },
  {
    name: "two trusted origins",
    refused: { site: "cross-site", origin: [TRUSTED, EVIL] },
    reason: "malformed",
    allowed: { site: "cross-site", origin: [TRUSTED] },
  },
  {
    name: "same-origin, but Origin says another (a Safari reload)",
    refused: { site: "same-origin", origin: EVIL },
    reason: "origin-mismatch",
    allowed: { site: "same-origin", origin: OWN },
  },
  {
    name: "none, but Origin says another",
    refused: { site: "none", origin: EVIL },
    reason: "origin-mismatch",
    allowed: { site: "none" },
  },
  {
    name: "none, with Origin null",
    refused: { site: "none", origin: "null" },
    reason: "null-origin",
    allowed: { site: "none", origin: OWN },
  },
  {
    name: "same-origin with an Origin that is none",
    refused: { site: "same-origin", origin: "example.com" },
    reason: "malformed",
    allowed: { site: "same-origin", origin: TRUSTED },
  },
  { name: "no site, another Origin", refused: { origin: EVIL }, reason: "origin-mismatch", allowed: { origin: OWN } },
  { name: "no site, Origin null", refused: { origin: "null" }, reason: "null-origin", allowed: { origin: TRUSTED } },
  { name: "no site, an empty Origin", refused: { origin: "" }, reason: "malformed", allowed: {} },
  {
    name: "neither, where that is refused",
    refused: { unmarked: "refuse" },
    reason: "unmarked",
    allowed: { unmarked: "allow" },
  },
  {
    name: "an http Origin on https",
    refused: { origin: "http://example.com", secure: true },
    reason: "origin-mismatch",
    allowed: { origin: "http://example.com", secure: false },
  },
  {
    name: "an http Origin on https, though same-origin",
    refused: { site: "same-origin", origin: "http://example.com" },
    reason: "origin-mismatch",
    allowed: { site: "same-origin", origin: OWN },
  },
  {
    name: "an Origin of another scheme",
    refused: { origin: "ws://example.com", secure: false },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com", secure: false },
  },
  {
    name: "an Origin of another scheme on our port",
    refused: { origin: "ws://example.com:8080", host: "example.com:8080", secure: false },
    reason: "origin-mismatch",
    allowed: { origin: "http://example.com:8080", host: "example.com:8080", secure: false },
  },
  {
    name: "an extension with our name",
    refused: { origin: "chrome-extension://example.com" },
    reason: "origin-mismatch",
    allowed: { origin: OWN },
  },
  {
    name: "another port",
    refused: { origin: "https://example.com:8444", host: "example.com:8443" },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com:8443", host: "example.com:8443" },
  },
  {
    name: "a port where Host has none",
    refused: { origin: "https://example.com:8443" },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com:8443", host: "example.com:8443" },
  },
  {
    name: "same-origin with another port on another host",
    refused: { site: "same-origin", origin: "https://attacker.example:8443" },
    reason: "origin-mismatch",
    allowed: { site: "same-origin", origin: "https://example.com:8443" },
  },
  {
    name: "same-site with another port",
    refused: { site: "same-site", origin: "https://example.com:9000" },
    reason: "same-site",
    allowed: { site: "same-origin", origin: "https://example.com:9000" },
  },
  {
    name: "none with a port where Host has none",
    refused: { site: "none", origin: "https://example.com:8443" },
    reason: "origin-mismatch",
    allowed: { site: "none", origin: "https://example.com:8443", forwardedPort: 8443 },
  },
  {
    name: "another forwarded port",
    refused: { origin: "https://example.com:8443", forwardedPort: 8444 },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com:8443", forwardedPort: 8443 },
  },
  {
    name: "a forwarded port on another host",
    refused: { origin: "https://attacker.example:8443", forwardedPort: 8443 },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com:8443", forwardedPort: 8443 },
  },
  {
    name: "an http Origin of the forwarded port on https",
    refused: { origin: "http://example.com:8443", forwardedPort: 8443 },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com:8443", forwardedPort: 8443 },
  },
  {
    name: "the port of an inner proxy",
    refused: { origin: OWN, host: "example.com:80" },
    reason: "origin-mismatch",
    allowed: { origin: OWN, host: "example.com:80", forwardedPort: 443 },
  },
  {
    name: "the port of an inner proxy, cross-site",
    refused: { site: "cross-site", origin: OWN, host: "example.com:80" },
    reason: "cross-site",
    allowed: { site: "same-origin", origin: OWN, host: "example.com:80" },
  },
  {
    name: "no port where Host has one",
    refused: { origin: OWN, host: "example.com:8443" },
    reason: "origin-mismatch",
    allowed: { origin: OWN, host: "example.com:443" },
  },
  {
    name: "the other scheme's default port",
    refused: { origin: OWN, host: "example.com:80" },
    reason: "origin-mismatch",
    allowed: { origin: "http://example.com", host: "example.com:80", secure: false },
  },
  {
    name: "userinfo (golang/go#78563)",
    refused: { origin: "https://evil@example.com" },
    reason: "malformed",
    allowed: { origin: OWN },
  },
  { name: "a path", refused: { origin: "https://example.com/" }, reason: "malformed", allowed: { origin: OWN } },
  {
    name: "our name as a suffix",
    refused: { origin: "https://evilexample.com" },
    reason: "origin-mismatch",
    allowed: { origin: OWN, host: "EXAMPLE.com." },
  },
  {
    name: "a subdomain",
    refused: { origin: "https://a.example.com" },
    reason: "origin-mismatch",
    allowed: { origin: "https://a.example.com", host: "a.example.com" },
  },
  {
    name: "a trusted name by http (CVE-2025-47909)",
    refused: { origin: "http://trusted.example" },
    reason: "origin-mismatch",
    allowed: { origin: TRUSTED },
  },
  {
    name: "the parent of a trusted wildcard",
    refused: { origin: "https://partner.example" },
    reason: "origin-mismatch",
    allowed: { origin: "https://x.partner.example" },
  },
  {
    name: "no Host",
    refused: { origin: OWN, host: undefined },
    reason: "origin-mismatch",
    allowed: { origin: TRUSTED, host: undefined },
  },
  {
    name: "a malformed Host",
    refused: { origin: OWN, host: "evil@example.com" },
    reason: "origin-mismatch",
    allowed: { origin: OWN, host: "example.com" },
  },
  {
    name: "another name with a closing dot",
    refused: { origin: "https://attacker.example.", host: "example.com." },
    reason: "origin-mismatch",
    allowed: { origin: "https://example.com.", host: "example.com." },
  },
  {
    name: "another IPv6 address",
    refused: { origin: "https://[::2]", host: "[::1]" },
    reason: "origin-mismatch",
    allowed: { origin: "https://[::1]", host: "[0:0:0:0:0:0:0:1]" },
  },
];

describe.each(rows)("$name", ({ refused, reason, allowed }) => {
  it(`is refused as ${reason}`, () => {
    expect(verdict(refused)).toBe(reason);
  });
  it("while its twin, which differs in one thing, is allowed", () => {
    expect(verdict(allowed)).toBe("pass");
  });
});

describe("the cases of Go's net/http CrossOriginProtection", () => {
  it.each<[string, Case, boolean]>([
    ["same-origin allowed", { site: "same-origin" }, true],
    ["none allowed", { site: "none" }, true],
    ["cross-site blocked", { site: "cross-site" }, false],
    ["same-site blocked", { site: "same-site" }, false],
    ["no header with no origin", {}, true],
    ["no header with matching origin", { origin: OWN }, true],
    ["no header with mismatched origin", { origin: EVIL }, false],
    ["no header with null origin", { origin: "null" }, false],
    ["trusted origin without sec-fetch-site", { origin: TRUSTED }, true],
    ["trusted origin with cross-site", { origin: TRUSTED, site: "cross-site" }, true],
    ["untrusted origin without sec-fetch-site", { origin: EVIL }, false],
    ["untrusted origin with cross-site", { origin: EVIL, site: "cross-site" }, false],
  ])("%s", (_name, given, passes) => {
    expect(verdict(given) === "pass").toBe(passes);
  });
});

describe("the port cases of tower-http's csrf", () => {
  it.each<[string, string | undefined, string, boolean]>([
    ["default port both sides", "example.com", "https://example.com", true],
    ["same non-default port both sides", "example.com:8443", "https://example.com:8443", true],
    ["mismatched non-default ports", "example.com:8443", "https://example.com:8444", false],
    ["host has explicit default, origin implicit", "example.com:443", "https://example.com", true],
    ["host implicit, origin explicit non-default", "example.com", "https://example.com:8443", false],
    ["missing host", undefined, "https://example.com:8443", false],
    // Where we differ: no browser writes a default port into Origin, so it is none, and nothing stands in for Host.
    ["explicit default port both sides", "example.com:443", "https://example.com:443", false],
    ["missing host, origin without port", undefined, "https://example.com", false],
  ])("%s", (_name, host, origin, passes) => {
    expect(verdict({ host, origin }) === "pass").toBe(passes);
  });
});

describe("methods", () => {
  it.each(["GET", "HEAD", "OPTIONS"])("%s is not checked", (method) => {
    expect(isSafeMethod(method)).toBe(true);
  });
  it.each(["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY", "PROPFIND", "get", ""])(
    "%s is checked",
    (method) => {
      expect(isSafeMethod(method)).toBe(false);
    },
  );
});

describe("for all requests", () => {
  const site = fc.option(fc.constantFrom("same-origin", "same-site", "cross-site", "none", "", "x"), {
    nil: undefined,
  });
  const hosts = fc.constantFrom("example.com", "example.com:8443", "a.example.com", "attacker.example", "[::1]", "");
  const origin = fc.option(
    fc.oneof(
      fc
        .tuple(
          fc.constantFrom("https://", "http://", "HTTPS://", "", "ws://"),
          hosts,
          fc.constantFrom("", "/", "@attacker.example", ".", ":443"),
        )
        .map((parts) => parts.join("")),
      fc.constantFrom("null", TRUSTED, "https://x.partner.example"),
      fc.string({ unit: "binary", maxLength: 40 }),
    ),
    { nil: undefined },
  );

  it("a request with an Origin passes only if that is trusted, our own, or null from our own page", () => {
    fc.assert(
      fc.property(site, origin, hosts, fc.boolean(), (from, by, host, secure) => {
        const passed =
          verdict({
            ...(from === undefined ? {} : { site: from }),
            ...(by === undefined ? {} : { origin: by }),
            host,
            secure,
          }) === "pass";
        if (!passed || by === undefined || trusted.has(by) || (by === "null" && from === "same-origin")) return;
        const url = new URL(by);
        expect(from === undefined || from === "same-origin" || from === "none").toBe(true);
        expect(url.origin).toBe(by);
        // The browser has compared the ports where it says same-origin.
        const [own, to] =
          from === "same-origin" ? [url.hostname, new URL(`https://${host}`).hostname] : [url.host, host];
        expect(own.replace(/\.(?=$|:)/, "")).toBe(to);
        if (secure) expect(url.protocol).toBe("https:");
      }),
      { numRuns: 5000 },
    );
  });

  it("a request that a browser sends from another site never passes", () => {
    fc.assert(
      fc.property(origin, hosts, (by, host) => {
        fc.pre(by === undefined || !trusted.has(by));
        expect(verdict({ site: "cross-site", ...(by === undefined ? {} : { origin: by }), host })).toBe("cross-site");
      }),
      { numRuns: 1000 },
    );
  });
});
