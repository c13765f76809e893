import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideHost, type HostPolicy, type HostReason, type HostRequest } from "../../src/trusted-host/decide.js";
import { HostPatterns } from "../../src/trusted-host/host-patterns.js";

const policy: HostPolicy = {
  hosts: new HostPatterns([
    "api.example.com",
    "localhost:8080",
    "*.apps.example.com",
    "*.dev.example.com:8443",
    "127.0.0.1",
    "[::1]",
  ]),
  exemptPaths: new Set(["/healthz"]),
};
const GOOD: HostRequest = { method: "GET", target: "/", hostLines: ["api.example.com"], forwarded: undefined };

/** A refusal and its allowed twin, which differs from it in one field. */
interface Row {
  name: string;
  refused: Partial<HostRequest>;
  reason: HostReason;
  allowed: Partial<HostRequest>;
}

const host = (line: string): Partial<HostRequest> => ({ hostLines: [line] });

const rows: Row[] = [
  { name: "no Host", refused: { hostLines: [] }, reason: "missing", allowed: host("api.example.com") },
  { name: "an empty Host", refused: host(""), reason: "malformed", allowed: host("api.example.com") },
  {
    name: "two Hosts",
    refused: { hostLines: ["api.example.com", "evil.com"] },
    reason: "duplicate",
    allowed: host("api.example.com"),
  },
  {
    name: "the same Host twice",
    refused: { hostLines: ["api.example.com", "api.example.com"] },
    reason: "duplicate",
    allowed: host("api.example.com"),
  },
  { name: "another name", refused: host("evil.com"), reason: "not-listed", allowed: host("api.example.com") },
  {
    name: "a name that ends alike",
    refused: host("evil-api.example.com"),
    reason: "not-listed",
    allowed: host("API.EXAMPLE.COM"),
  },
  {
    name: "a name that begins alike",
    refused: host("api.example.com.evil.com"),
    reason: "not-listed",
    allowed: host("api.example.com."),
  },
  {
    name: "a subdomain of a name",
    refused: host("x.api.example.com"),
    reason: "not-listed",
    allowed: host("x.apps.example.com"),
  },
  {
    name: "the parent of a wildcard",
    refused: host("apps.example.com"),
    reason: "not-listed",
    allowed: host("a.apps.example.com"),
  },
  {
    name: "a label that ends like a wildcard's parent",
    refused: host("a.evilapps.example.com"),
    reason: "not-listed",
    allowed: host("a.evil.apps.example.com"),
  },
  {
    name: "an empty label under a wildcard",
    refused: host(".apps.example.com"),
    reason: "malformed",
    allowed: host("a.apps.example.com"),
  },
  {
    name: "another port than the entry's",
    refused: host("localhost:8081"),
    reason: "not-listed",
    allowed: host("localhost:8080"),
  },
  {
    name: "no port where the entry has one",
    refused: host("localhost"),
    reason: "not-listed",
    allowed: host("LOCALHOST.:8080"),
  },
  {
    name: "another port than the wildcard's",
    refused: host("a.dev.example.com:8444"),
    reason: "not-listed",
    allowed: host("a.dev.example.com:8443"),
  },
  { name: "a bad port", refused: host("api.example.com:0"), reason: "malformed", allowed: host("api.example.com:1") },
  { name: "another address", refused: host("127.0.0.2"), reason: "not-listed", allowed: host("127.0.0.1:3000") },
  { name: "a short address", refused: host("127.1"), reason: "malformed", allowed: host("127.0.0.1") },
  { name: "IPv6 with text after", refused: host("[::1]evil"), reason: "malformed", allowed: host("[::1]:3000") },
  { name: "another IPv6 address", refused: host("[::2]"), reason: "not-listed", allowed: host("[0:0:0:0:0:0:0:1]") },
  {
    name: "userinfo",
    refused: host("evil.com@api.example.com"),
    reason: "malformed",
    allowed: host("api.example.com"),
  },
  {
    name: "a list",
    refused: host("api.example.com, api.example.com"),
    reason: "malformed",
    allowed: host("api.example.com"),
  },
  {
    name: "a target that disagrees",
    refused: { target: "http://evil.com/" },
    reason: "target-mismatch",
    allowed: { target: "http://api.example.com/" },
  },
  {
    name: "a target with userinfo",
    refused: { target: "http://api.example.com@evil.com/" },
    reason: "target-mismatch",
    allowed: { target: "HTTP://API.example.com:80/" },
  },
  {
    name: "a target without a host",
    refused: { target: "http:///" },
    reason: "target-mismatch",
    allowed: { target: "/" },
  },
  {
    name: "a target of another port",
    refused: { target: "http://api.example.com:81/" },
    reason: "target-mismatch",
    allowed: { target: "https://api.example.com:443/" },
  },
  {
    name: "a target of another scheme",
    refused: { target: "ftp://api.example.com/" },
    reason: "malformed",
    allowed: { target: "https://api.example.com/" },
  },
  {
    name: "a target in authority-form",
    refused: { target: "api.example.com:443" },
    reason: "malformed",
    allowed: { target: "*" },
  },
  {
    name: "agreement on another host",
    refused: { target: "http://evil.com/", hostLines: ["evil.com"] },
    reason: "not-listed",
    allowed: { target: "http://a.apps.example.com/", hostLines: ["a.apps.example.com"] },
  },
  {
    name: "another path",
    refused: { ...host("10.0.0.7"), target: "/healthz/" },
    reason: "not-listed",
    allowed: { ...host("10.0.0.7"), target: "/healthz" },
  },
  {
    name: "another spelling of the path",
    refused: { ...host("10.0.0.7"), target: "/Healthz" },
    reason: "not-listed",
    allowed: { ...host("10.0.0.7"), target: "/healthz?full=1" },
  },
  {
    name: "the exempt path in the query",
    refused: { ...host("10.0.0.7"), target: "/?/healthz" },
    reason: "not-listed",
    allowed: { ...host("10.0.0.7"), target: "/healthz?/" },
  },
  {
    name: "an exempt path in absolute-form",
    refused: { ...host("10.0.0.7"), target: "http://a;b/healthz" },
    reason: "target-mismatch",
    allowed: { ...host("10.0.0.7"), target: "/healthz" },
  },
  {
    name: "an unsafe method on an exempt path",
    refused: { ...host("10.0.0.7"), target: "/healthz", method: "POST" },
    reason: "not-listed",
    allowed: { ...host("10.0.0.7"), target: "/healthz", method: "HEAD" },
  },
  {
    name: "HTTP/1.0 without Host elsewhere",
    refused: { hostLines: [], target: "/" },
    reason: "missing",
    allowed: { hostLines: [], target: "/healthz" },
  },
  {
    name: "a forwarded host that is not listed",
    refused: { forwarded: "evil.com" },
    reason: "forwarded-not-listed",
    allowed: { forwarded: "api.example.com" },
  },
  {
    name: "one of several forwarded hosts",
    refused: { forwarded: "api.example.com, evil.com" },
    reason: "forwarded-not-listed",
    allowed: { forwarded: "api.example.com, a.apps.example.com" },
  },
  {
    name: "the first of several forwarded hosts",
    refused: { forwarded: "evil.com,api.example.com" },
    reason: "forwarded-not-listed",
    allowed: { forwarded: "API.example.com,api.example.com" },
  },
  {
    name: "an empty forwarded host",
    refused: { forwarded: "" },
    reason: "forwarded-not-listed",
    allowed: { forwarded: undefined },
  },
  {
    name: "a hole among forwarded hosts",
    refused: { forwarded: "api.example.com,,api.example.com" },
    reason: "forwarded-not-listed",
    allowed: { forwarded: "api.example.com,api.example.com" },
  },
  {
    name: "more forwarded hosts than are read",
    refused: { forwarded: Array(100).fill("api.example.com").join() },
    reason: "forwarded-not-listed",
    allowed: { forwarded: Array(10).fill("api.example.com").join() },
  },
  {
    name: "one character more of forwarded hosts than is read",
    refused: { forwarded: `${"api.example.com,".repeat(63)}api.example.com  ` },
    reason: "forwarded-not-listed",
    allowed: { forwarded: `${"api.example.com,".repeat(63)}api.example.com ` },
  },
  {
    name: "a malformed Host beside a good forwarded host",
    refused: { ...host("a b"), forwarded: "api.example.com" },
    reason: "malformed",
    allowed: { ...host("backend:3000"), forwarded: "api.example.com" },
  },
  {
    name: "the proxy's own name without a forwarded host",
    refused: { ...host("backend:3000"), forwarded: undefined },
    reason: "not-listed",
    allowed: { ...host("backend:3000"), forwarded: "api.example.com" },
  },
  {
    name: "a target that disagrees beside a good forwarded host",
    refused: { target: "http://evil.com/", forwarded: "api.example.com" },
    reason: "target-mismatch",
    allowed: { target: "/", forwarded: "api.example.com" },
  },
];

describe.each(rows)("$name", ({ refused, reason, allowed }) => {
  it(`is refused as ${reason}`, () => {
    expect(decideHost(policy, { ...GOOD, ...refused })).toEqual({ code: "untrusted-host", reason });
  });
  it("while its twin, which differs in one thing, is allowed", () => {
    expect(decideHost(policy, { ...GOOD, ...allowed })).toBeUndefined();
  });
});

describe("for all requests", () => {
  const label = fc.string({ unit: fc.constantFrom(..."abz09-_"), minLength: 1, maxLength: 8 });
  const bytes = fc.string({
    unit: fc.constantFrom(..."ab.-:@/\\ ,%[]*\0\xff", "example", "com", ".example.com", "evil"),
    maxLength: 12,
  });

  it("a wildcard accepts no name outside its suffix", () => {
    const wildcard: HostPolicy = { hosts: new HostPatterns(["*.example.com"]), exemptPaths: new Set() };
    const candidates = fc.oneof(
      bytes,
      fc
        .tuple(
          fc.array(label, { maxLength: 4 }),
          fc.constantFrom("example.com", "xexample.com", "example.com.evil.com", "example.comx", "com"),
          fc.constantFrom("", ".", ":80", ".:8080", "@evil.com", "/", "\\"),
        )
        .map(([labels, end, after]) => [...labels, end].join(".") + after),
    );
    let admitted = 0;
    fc.assert(
      fc.property(candidates, (text) => {
        if (decideHost(wildcard, { ...GOOD, hostLines: [text] }) !== undefined) return;
        admitted += 1;
        expect(new URL(`http://${text}`).hostname).toMatch(/^[a-z0-9_.-]+\.example\.com\.?$/);
      }),
      { numRuns: 5000 },
    );
    expect(admitted).toBeGreaterThan(50);
  });

  it("a name accepts itself alone, in any case, with any port, with or without one closing dot", () => {
    const exact: HostPolicy = { hosts: new HostPatterns(["api.example.com"]), exemptPaths: new Set() };
    fc.assert(
      fc.property(
        fc.oneof(
          bytes,
          fc
            .tuple(
              fc.mixedCase(fc.constant("api.example.com")),
              fc.constantFrom("", ".", "..", ":80", ".:80", ":", "x"),
            )
            .map((parts) => parts.join("")),
        ),
        (text) => {
          const admitted = decideHost(exact, { ...GOOD, hostLines: [text] }) === undefined;
          expect(admitted).toBe(/^api\.example\.com\.?(?::80)?$/i.test(text));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("nothing throws, and every refusal is one of the six", () => {
    const reasons = new Set<string>([
      "missing",
      "duplicate",
      "malformed",
      "target-mismatch",
      "not-listed",
      "forwarded-not-listed",
    ]);
    const any = fc.string({ unit: "binary", maxLength: 300 });
    fc.assert(
      fc.property(
        fc.constantFrom("GET", "POST"),
        fc.oneof(any, bytes),
        fc.array(fc.oneof(any, bytes), { maxLength: 3 }),
        fc.option(any, { nil: undefined }),
        (method, target, hostLines, forwarded) => {
          const refusal = decideHost(policy, { method, target, hostLines, forwarded });
          if (refusal !== undefined) expect(reasons).toContain("code" in refusal ? refusal.reason : "an open decision");
        },
      ),
      { numRuns: 3000 },
    );
  });
});
