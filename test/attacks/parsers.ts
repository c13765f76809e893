import { readSessionCookie } from "../../src/session/decide.js";
import { bearerToken } from "../../src/core/http/authorization.js";
import { parseAuthority, parseTarget } from "../../src/core/http/authority.js";
import { AddressList } from "../../src/core/http/address-list.js";
import { normaliseAddress } from "../../src/core/http/client-address.js";
import { OriginPatterns, parseOrigin } from "../../src/core/http/origin.js";
import { originPatternProblem } from "../../src/settings/origin-pattern.js";
import { sfString } from "../../src/core/http/structured-fields.js";
import { readHostEntry } from "../../src/trusted-host/host-entry.js";
import { HostPatterns } from "../../src/trusted-host/host-patterns.js";
import { decideHost } from "../../src/trusted-host/decide.js";
import { decide } from "../../src/cors/decide.js";
import { checksum, keyIdOf } from "../../src/api-key/keys/format.js";
import { createSchema } from "../../src/api-key/keys/input.js";
import { inspectToken } from "../../src/jwt/access/inspect-token.js";
import { parseRefreshToken } from "../../src/jwt/refresh/refresh-secrets.js";
import { settingsFromEnv } from "portcullis";
import { COOKIE } from "./app.js";
import { type Attack, type Group, MARK, type Outcome, SERVED, wire } from "./attack.js";

const SIZE = 65_536;
/** Loose enough for a machine that does other things; quadratic time at this size is seconds. */
const BOUND_MS = 250;

/** The shapes that backtracking, repeated searching and repeated copying are slow on. */
const SHAPES: readonly ((size: number) => string)[] = [
  (size) => "a".repeat(size),
  (size) => ".".repeat(size),
  (size) => "a.".repeat(size / 2),
  (size) => `${"1".repeat(size)}x`,
  (size) => ",".repeat(size),
  (size) => ", ".repeat(size / 2),
  (size) => " ".repeat(size) + "x",
  (size) => ";".repeat(size),
  (size) => `${COOKIE}; `.repeat(size / 20),
  (size) => "[".repeat(size),
  (size) => ":".repeat(size),
  (size) => `https://${"a-".repeat(size / 2)}`,
  (size) => `https://*.${"*.".repeat(size / 2)}`,
  (size) => `http://${"a@".repeat(size / 2)}`,
  (size) => `Bearer ${" ".repeat(size)}x`,
  (size) => `mcp_${"A".repeat(size)}!`,
  (size) => `${"a:".repeat(size / 2)}*!`,
  (size) => '\\"'.repeat(size / 2),
  (size) => "eyJ9.".repeat(size / 5),
  (size) => "1.2.3.4, ".repeat(size / 9),
];

/** Best of three for the slowest shape: what else the machine does makes a run slow, not all three of it. */
function slowest(parse: (text: string) => unknown): { within: boolean; shape: number } {
  let worst = { ms: 0, shape: -1 };
  SHAPES.forEach((make, shape) => {
    const text = make(SIZE);
    const times = [0, 1, 2].map(() => {
      const start = performance.now();
      try {
        parse(text);
      } catch {
        // To refuse by an exception is an answer too; only the time counts here.
      }
      return performance.now() - start;
    });
    const ms = Math.min(...times);
    if (ms > worst.ms) worst = { ms, shape };
  });
  return worst.ms < BOUND_MS ? { within: true, shape: -1 } : { within: false, shape: worst.shape };
}

/** 64 KB of every shape for one parser; its twin is something it reads, so that one that refuses all fails. */
const parser = (name: string, parse: (text: string) => unknown, good: string, read: unknown): Attack => ({
  name: `64 KB for the reader of ${name}`,
  reference: "CWE-1333",
  sequence: async (_lab, twin) => (twin ? parse(good) : slowest(parse)),
  outcome: { holds: "linear time", evidence: { within: true, shape: -1 } },
  twin: { differs: "text of the right form", outcome: { holds: "it is read", evidence: read } },
});

const BODY = `mcp_${"A".repeat(12)}${"q".repeat(32)}`;
const GOOD_KEY = BODY + checksum(BODY);
const hostPolicy = { hosts: new HostPatterns(["a.example"]), exemptPaths: new Set<string>() };
const corsRules = {
  origins: "*",
  methods: "*",
  allowedHeaders: new Set(["x-a"]),
  credentials: false,
  privateNetwork: false,
} as const;
const preflight = (requestedHeaders: string) =>
  decide(corsRules, {
    method: "OPTIONS",
    origin: "https://a.example",
    requestedMethod: "GET",
    requestedHeaders,
    requestedPrivateNetwork: undefined,
    fetchSite: undefined,
    host: "b.example",
    forwardedPort: undefined,
    secure: true,
  });
const header = Buffer.from('{"alg":"ES256","typ":"at+jwt"}').toString("base64url");
const issueCount = (value: unknown): number =>
  createSchema.safeParse({ ownerId: "a", name: "b", ...(value as object) }).error?.issues.length ?? 0;

/**
 * 64 KB in one header line over a socket, to the server whose Node lets that through: in the place of the ordinary line of
 * that name. The twin has another value there.
 */
const line = (name: string, field: string, value: string, good: string, outcome: Outcome): Attack => ({
  name: `64 KB of ${name}`,
  reference: "CWE-1333",
  wire: wire("GET /public HTTP/1.1", [`${field}: ${value}`]).replace(
    new RegExp(`^${field}: (?:api|\\{).*\\r\\n`, "m"),
    "",
  ),
  impatient: true,
  twin: [`${field}: ${value}`, good],
  outcome,
});

export const parsers: Group = {
  title: "Readers against 64 KB",
  attacks: [
    parser("Host", parseAuthority, "a.example:81", { host: "a.example", port: 81 }),
    parser("request targets", (text) => parseTarget(text)?.path, "http://a.example/b?c", "/b"),
    parser(
      "X-Forwarded-Host",
      (forwarded) => decideHost(hostPolicy, { method: "GET", target: "/", hostLines: ["a.example"], forwarded }),
      "a.example, a.example",
      undefined,
    ),
    parser("Origin", parseOrigin, "https://a.example", { scheme: "https", host: "a.example", port: 443 }),
    parser(
      "Origin against wildcards",
      (text) => new OriginPatterns(["https://*.a.example"]).has(text),
      "https://b.a.example",
      true,
    ),
    parser("Access-Control-Request-Headers", (text) => preflight(text).kind, " X-A , x-a", "preflight-allowed"),
    parser("addresses", normaliseAddress, "[::ffff:1.2.3.4]:80", "1.2.3.4"),
    parser("addresses on a list", (text) => new AddressList(["10.0.0.0/8"]).has(text), "10.1.2.3", true),
    parser(
      "Cookie",
      (text) => readSessionCookie(text, COOKIE).kind,
      `a=b; ${COOKIE}=s%3A${"a".repeat(32)}.${"A".repeat(43)}`,
      "present",
    ),
    parser("Authorization", bearerToken, "bEaReR abc ", "abc"),
    parser("API keys", (text) => keyIdOf(text, "mcp_"), GOOD_KEY, "AAAAAAAAAAAA"),
    parser("access tokens", (text) => inspectToken(text, "ES256").ok, `${header}.e30.AAAA`, true),
    parser(
      "refresh tokens",
      (text) => parseRefreshToken(text)?.id,
      `rt_${"A".repeat(22)}.${"B".repeat(43)}`,
      "A".repeat(22),
    ),
    parser("names of keys", (name) => issueCount({ name }), "a", 0),
    parser(
      "scopes, roles and addresses of keys",
      (text) => issueCount({ scopes: [text], roles: [text], allow: [text] }),
      "10.0.0.0",
      0,
    ),
    parser("times of keys", (expiresAt) => issueCount({ expiresAt }), "2030-01-31T12:00:00Z", 0),
    parser("hosts in settings", readHostEntry, "*.a.example", { entry: "*.a.example" }),
    parser("origins in settings", originPatternProblem, "https://a.example", undefined),
    parser(
      "the environment",
      (text) => settingsFromEnv({ ALLOWED_HOSTS: text, TRUST_PROXY: text }).trustedHosts,
      "10.0.0.1",
      ["10.0.0.1"],
    ),
    parser("structured fields", sfString, 'a"b', '"a\\"b"'),
    line("Host", "Host", `${"a.".repeat(32_000)}${MARK}`, "Host: api.example.com", { refused: "untrusted-host" }),
    line("Origin", "Origin", `https://${"a.".repeat(32_000)}${MARK}`, "Origin: https://app.example.com", {
      refused: "cross-origin-refused",
    }),
    line("API key", "X-API-Key", `mcp_${"A".repeat(65_000)}${MARK}`, "X-Other: a", { refused: "invalid-credentials" }),
    line("Bearer token", "Authorization", `Bearer ${"e.".repeat(32_000)}${MARK}`, "Authorization: Basic a", {
      refused: "invalid-credentials",
    }),
    line(
      "two session cookies among others",
      "Cookie",
      `${`${COOKIE}x=1; `.repeat(2800)}${COOKIE}=a; ${COOKIE}=${MARK}`,
      `Cookie: ${COOKIE}=a`,
      { refused: "ambiguous-credentials" },
    ),
    {
      name: "64 KB of headers asked for in a preflight",
      reference: "rs/cors#170",
      wire: wire("OPTIONS /public HTTP/1.1", [
        "Origin: https://app.example.com",
        "Access-Control-Request-Method: GET",
        `Access-Control-Request-Headers: ${"x-api-key,".repeat(6500)}`,
      ]),
      impatient: true,
      twin: ["x-api-key,".repeat(6500), "x-api-key,"],
      served: 204,
      outcome: { refused: "cross-origin-refused" },
    },
    line(
      "X-Forwarded-For",
      "X-Forwarded-For",
      `${"1.2.3.4, ".repeat(7000)}192.0.2.200`,
      "X-Forwarded-For: 192.0.2.201",
      SERVED,
    ),
  ],
};
