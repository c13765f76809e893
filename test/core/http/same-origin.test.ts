import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OriginPatterns, parseOrigin } from "../../../src/core/http/origin.js";
import { type Destination, isSameOrigin } from "../../../src/core/http/same-origin.js";
import { type CorsRules, decide } from "../../../src/cors/decide.js";
import { type CsrfPolicy, decideCsrf } from "../../../src/csrf/decide.js";

const TLS: Destination = { host: "api.example.com", forwardedPort: undefined, secure: true };
const PLAIN: Destination = { ...TLS, secure: false };
const HTTPS = "https://api.example.com";
const HTTP = "http://api.example.com";
const LONGEST_NAME = `${`${"a".repeat(63)}.`.repeat(3)}${"a".repeat(61)}`;

interface Row {
  name: string;
  origin: string;
  to: Destination;
  same: boolean;
}

const rows: Row[] = [
  { name: "https at home", origin: HTTPS, to: TLS, same: true },
  { name: "http at home", origin: HTTP, to: PLAIN, same: true },
  { name: "an https page, TLS ended before us", origin: HTTPS, to: PLAIN, same: true },
  { name: "an http page on a secure host", origin: HTTP, to: TLS, same: false },
  { name: "a scheme of its own", origin: "app://api.example.com", to: TLS, same: false },
  { name: "ws, which no page has", origin: "ws://api.example.com", to: PLAIN, same: false },
  { name: "Host in capitals", origin: HTTPS, to: { ...TLS, host: "API.Example.com" }, same: true },
  { name: "another host", origin: HTTPS, to: { ...TLS, host: "api.example.net" }, same: false },
  { name: "a longer host", origin: HTTPS, to: { ...TLS, host: "api.example.com.evil" }, same: false },
  { name: "a subdomain", origin: "https://www.api.example.com", to: TLS, same: false },
  { name: "the parent domain", origin: "https://example.com", to: TLS, same: false },
  { name: "a closing dot in both", origin: `${HTTPS}.`, to: { ...TLS, host: "api.example.com." }, same: true },
  { name: "a closing dot in Origin alone", origin: `${HTTPS}.`, to: TLS, same: true },
  { name: "a closing dot in Host alone", origin: HTTPS, to: { ...TLS, host: "api.example.com." }, same: true },
  { name: "a closing dot on another host", origin: "https://example.com.", to: TLS, same: false },
  { name: "port 443 in Host", origin: HTTPS, to: { ...TLS, host: "api.example.com:443" }, same: true },
  { name: "port 80 in Host of an https page", origin: HTTPS, to: { ...TLS, host: "api.example.com:80" }, same: false },
  { name: "port 80 in Host of an http page", origin: HTTP, to: { ...PLAIN, host: "api.example.com:80" }, same: true },
  {
    name: "port 443 in Host of an http page",
    origin: HTTP,
    to: { ...PLAIN, host: "api.example.com:443" },
    same: false,
  },
  { name: "the same port", origin: `${HTTPS}:8443`, to: { ...TLS, host: "api.example.com:8443" }, same: true },
  { name: "another port", origin: `${HTTPS}:8444`, to: { ...TLS, host: "api.example.com:8443" }, same: false },
  { name: "a port in Origin alone", origin: `${HTTPS}:8443`, to: TLS, same: false },
  { name: "a port in Host alone", origin: HTTPS, to: { ...TLS, host: "api.example.com:8443" }, same: false },
  { name: "the port a proxy names", origin: `${HTTPS}:8443`, to: { ...TLS, forwardedPort: 8443 }, same: true },
  {
    name: "another port than the proxy names",
    origin: `${HTTPS}:8443`,
    to: { ...TLS, forwardedPort: 8444 },
    same: false,
  },
  { name: "no port, whatever the proxy names", origin: HTTPS, to: { ...TLS, forwardedPort: 8443 }, same: true },
  {
    name: "443 named by a proxy that lost the port",
    origin: HTTPS,
    to: { ...TLS, host: "api.example.com:80", forwardedPort: 443 },
    same: true,
  },
  {
    name: "the port a proxy names, on another host",
    origin: "https://api.example.net:8443",
    to: { ...TLS, forwardedPort: 8443 },
    same: false,
  },
  {
    name: "an http page of the port a proxy names",
    origin: `${HTTP}:8443`,
    to: { ...TLS, forwardedPort: 8443 },
    same: false,
  },
  {
    name: "localhost of a developer",
    origin: "http://localhost:3000",
    to: { ...PLAIN, host: "localhost:3000" },
    same: true,
  },
  {
    name: "localhost of another developer",
    origin: "http://localhost:3001",
    to: { ...PLAIN, host: "localhost:3000" },
    same: false,
  },
  { name: "an IPv6 address", origin: "https://[::1]", to: { ...TLS, host: "[0:0:0:0:0:0:0:1]" }, same: true },
  { name: "another IPv6 address", origin: "https://[::2]", to: { ...TLS, host: "[::1]" }, same: false },
  { name: "the longest name", origin: `https://${LONGEST_NAME}`, to: { ...TLS, host: LONGEST_NAME }, same: true },
  {
    name: "another long name",
    origin: `https://${LONGEST_NAME}`,
    to: { ...TLS, host: `b${LONGEST_NAME.slice(1)}` },
    same: false,
  },
  { name: "no Host", origin: HTTPS, to: { ...TLS, host: undefined }, same: false },
  { name: "an empty Host", origin: HTTPS, to: { ...TLS, host: "" }, same: false },
  { name: "a Host with userinfo", origin: HTTPS, to: { ...TLS, host: "evil@api.example.com" }, same: false },
  { name: "two Hosts in one", origin: HTTPS, to: { ...TLS, host: "api.example.com, api.example.com" }, same: false },
];

const rules: CorsRules = {
  origins: new OriginPatterns([]),
  methods: "*",
  allowedHeaders: "*",
  credentials: true,
  privateNetwork: false,
};
const policy: CsrfPolicy = { trusted: new OriginPatterns([]), sameSite: "refuse", unmarked: "allow" };

const corsTakesForOwn = (origin: string, to: Destination): boolean =>
  decide(rules, {
    ...to,
    method: "POST",
    origin,
    requestedMethod: undefined,
    requestedHeaders: undefined,
    requestedPrivateNetwork: undefined,
    fetchSite: undefined,
  }).kind === "not-cors";
const csrfTakesForOwn = (origin: string, to: Destination): boolean =>
  decideCsrf(policy, { ...to, site: [], origin: [origin] }) === undefined;

describe("the same origin", () => {
  it.each(rows)("$name: $same, for CORS and CSRF alike", ({ origin, to, same }) => {
    const from = parseOrigin(origin);
    expect(from).toBeDefined();
    expect(from !== undefined && isSameOrigin(from, to)).toBe(same);
    expect(corsTakesForOwn(origin, to)).toBe(same);
    expect(csrfTakesForOwn(origin, to)).toBe(same);
  });

  it("ignores the port, and nothing else, when the browser has compared it", () => {
    const page = { scheme: "https", host: "api.example.com", port: 8443 };
    expect(isSameOrigin(page, TLS, { anyPort: true })).toBe(true);
    expect(isSameOrigin({ ...page, host: "api.example.net" }, TLS, { anyPort: true })).toBe(false);
    expect(isSameOrigin({ ...page, scheme: "http" }, TLS, { anyPort: true })).toBe(false);
  });

  it("is decided alike by CORS and CSRF for any Origin and any Host", () => {
    const host = fc.constantFrom("a.example", "A.example", "a.example.", "b.example", "[::1]", "", "a b");
    const port = fc.constantFrom("", ":80", ":443", ":8443", ":x");
    fc.assert(
      fc.property(
        fc.constantFrom("http", "https", "app"),
        host,
        port,
        host,
        port,
        fc.option(fc.constantFrom(80, 443, 8443), { nil: undefined }),
        fc.boolean(),
        (scheme, name, ownPort, otherName, otherPort, forwardedPort, secure) => {
          const origin = `${scheme}://${name}${ownPort}`;
          const to: Destination = { host: otherName + otherPort, forwardedPort, secure };
          expect(corsTakesForOwn(origin, to)).toBe(csrfTakesForOwn(origin, to));
        },
      ),
    );
  });
});
