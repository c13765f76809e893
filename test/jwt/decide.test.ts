import { describe, expect, it } from "vitest";
import { parseAuthorization } from "../../src/core/http/authorization.js";
import { decideRefresh } from "../../src/jwt/refresh/decide-refresh.js";
import {
  choosePresented,
  decideClaims,
  isAccessTokenType,
  scopesOf,
  type AccessTokenClaims,
  type ClaimsPolicy,
  type Presented,
} from "../../src/jwt/decide.js";
import type { StoredRefreshToken } from "../../src/stores/contracts.js";

const POLICY: ClaimsPolicy = {
  issuer: "https://issuer.test",
  audiences: new Set(["api", "admin"]),
  maxLifeSeconds: 1800,
  leewaySeconds: 5,
};
const NOW = 1_800_000_000.25;
const IAT = 1_800_000_000;

const GOOD: Record<string, unknown> = {
  iss: "https://issuer.test",
  sub: "user-1",
  aud: "api",
  iat: IAT,
  exp: IAT + 1800,
  jti: "t1",
  scope: "read",
  roles: ["admin"],
  fam: "f1",
  iat_ms: IAT * 1000,
};

describe("decideClaims: each refusal has an accepted twin that differs in one claim", () => {
  it("accepts valid claims unchanged", () => {
    expect(decideClaims(GOOD, POLICY, NOW)).toEqual({ ok: true, claims: GOOD });
  });

  const rows: { claim: string; refused: unknown; code: string; taken: unknown }[] = [
    { claim: "sub", refused: undefined, code: "claims", taken: "user-2" },
    { claim: "sub", refused: "", code: "claims", taken: " " },
    { claim: "sub", refused: 7, code: "claims", taken: "7" },
    { claim: "jti", refused: undefined, code: "claims", taken: "x" },
    { claim: "jti", refused: "", code: "claims", taken: "0" },
    { claim: "jti", refused: "x".repeat(256), code: "claims", taken: "x".repeat(255) },
    { claim: "exp", refused: undefined, code: "claims", taken: IAT + 60 },
    { claim: "exp", refused: null, code: "claims", taken: IAT + 60 },
    { claim: "exp", refused: String(IAT + 60), code: "claims", taken: IAT + 60 },
    { claim: "exp", refused: Infinity, code: "claims", taken: IAT + 60 },
    { claim: "exp", refused: IAT + 60.5, code: "claims", taken: IAT + 60 },
    { claim: "exp", refused: -1, code: "lifetime", taken: IAT + 60 },
    { claim: "exp", refused: IAT, code: "lifetime", taken: IAT + 1 },
    { claim: "exp", refused: IAT + 1806, code: "lifetime", taken: IAT + 1805 },
    { claim: "exp", refused: IAT + 31_556_952_000_000_000, code: "claims", taken: IAT + 1800 },
    { claim: "exp", refused: IAT + 31_556_952_000_000, code: "lifetime", taken: IAT + 1800 },
    { claim: "iat", refused: undefined, code: "claims", taken: IAT },
    { claim: "iat", refused: "1800000000", code: "claims", taken: IAT },
    { claim: "iat", refused: -Infinity, code: "claims", taken: IAT - 0.5 },
    { claim: "iat", refused: IAT - 6, code: "lifetime", taken: IAT - 5 },
    { claim: "iat", refused: IAT + 6, code: "not-yet-valid", taken: IAT + 5 },
    { claim: "iat", refused: IAT + 5.5, code: "not-yet-valid", taken: IAT + 5.25 },
    { claim: "nbf", refused: IAT + 5.5, code: "not-yet-valid", taken: IAT + 5.25 },
    { claim: "nbf", refused: IAT + 6, code: "not-yet-valid", taken: IAT + 5 },
    { claim: "nbf", refused: "0", code: "claims", taken: 0 },
    { claim: "nbf", refused: null, code: "claims", taken: undefined },
    { claim: "iss", refused: "https://issuer.test/", code: "issuer", taken: "https://issuer.test" },
    { claim: "iss", refused: undefined, code: "issuer", taken: "https://issuer.test" },
    { claim: "iss", refused: ["https://issuer.test"], code: "issuer", taken: "https://issuer.test" },
    { claim: "aud", refused: "other", code: "audience", taken: "admin" },
    { claim: "aud", refused: "", code: "audience", taken: "api" },
    { claim: "aud", refused: undefined, code: "audience", taken: "api" },
    { claim: "aud", refused: [], code: "audience", taken: ["api"] },
    { claim: "aud", refused: ["other"], code: "audience", taken: ["other", "api"] },
    { claim: "aud", refused: ["api", 1], code: "audience", taken: ["api", "1"] },
    { claim: "aud", refused: { api: true }, code: "audience", taken: "api" },
    { claim: "scope", refused: ["read"], code: "claims", taken: "read write" },
    { claim: "scope", refused: null, code: "claims", taken: undefined },
    { claim: "roles", refused: null, code: "claims", taken: undefined },
    { claim: "roles", refused: "admin", code: "claims", taken: [] },
    { claim: "roles", refused: [1], code: "claims", taken: ["1"] },
    { claim: "fam", refused: "", code: "claims", taken: undefined },
    { claim: "iat_ms", refused: "1", code: "claims", taken: undefined },
    { claim: "iat_ms", refused: 0.5, code: "claims", taken: 0 },
  ];
  it.each(rows)("$claim: $refused → $code, $taken → accepted", ({ claim, refused, code, taken }) => {
    expect(decideClaims({ ...GOOD, [claim]: refused }, POLICY, NOW)).toEqual({ ok: false, code });
    expect(decideClaims({ ...GOOD, [claim]: taken }, POLICY, NOW).ok).toBe(true);
  });

  it.each([
    { name: "a list", payload: [GOOD] },
    { name: "null", payload: null },
    { name: "a string", payload: JSON.stringify(GOOD) },
    { name: "a number", payload: 1 },
    { name: "nothing", payload: undefined },
  ])("refuses $name as payload", ({ payload }) => {
    expect(decideClaims(payload, POLICY, NOW)).toEqual({ ok: false, code: "malformed" });
  });

  it("ends exactly at exp + leeway, and begins exactly at nbf − leeway", () => {
    const end = IAT + 1800 + 5;
    expect(decideClaims(GOOD, POLICY, end - 0.001).ok).toBe(true);
    expect(decideClaims(GOOD, POLICY, end)).toEqual({ ok: false, code: "expired" });
    expect(decideClaims({ ...GOOD, nbf: IAT + 100 }, POLICY, IAT + 95).ok).toBe(true);
    expect(decideClaims({ ...GOOD, nbf: IAT + 100 }, POLICY, IAT + 94.999)).toEqual({
      ok: false,
      code: "not-yet-valid",
    });
  });

  it("splits scope at spaces", () => {
    const scopes = (scope: string | undefined): readonly string[] => scopesOf({ ...GOOD, scope } as AccessTokenClaims);
    expect(scopes("read orders:write")).toEqual(["read", "orders:write"]);
    expect(scopes("")).toEqual([]);
    expect(scopes(undefined)).toEqual([]);
    expect(scopes("  a  b ")).toEqual(["a", "b"]);
  });
});

describe("isAccessTokenType", () => {
  it.each(["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])("accepts %s", (typ) =>
    expect(isAccessTokenType(typ)).toBe(true),
  );
  it.each([
    "JWT",
    "jwt",
    "",
    "at+jwt ",
    "text/at+jwt",
    "refresh+jwt",
    "application/application/at+jwt",
    undefined,
    null,
    1,
    ["at+jwt"],
    "x".repeat(9000),
  ])("refuses %s", (typ) => expect(isAccessTokenType(typ)).toBe(false));
});

describe("choosePresented", () => {
  const one: Presented = { authorization: parseAuthorization("Bearer abc"), byApiKey: false, hasPrincipal: false };
  const none = { verdict: "none" };
  const rows: { name: string; input: Presented; verdict: unknown }[] = [
    { name: "a token", input: one, verdict: { verdict: "token", token: "abc" } },
    {
      name: "the scheme without case",
      input: { ...one, authorization: parseAuthorization("bEARER abc") },
      verdict: { verdict: "token", token: "abc" },
    },
    {
      name: "several spaces after the scheme",
      input: { ...one, authorization: parseAuthorization("Bearer   abc") },
      verdict: { verdict: "token", token: "abc" },
    },
    { name: "no header", input: { ...one, authorization: { kind: "none" } }, verdict: none },
    { name: "another scheme", input: { ...one, authorization: parseAuthorization("Basic abc") }, verdict: none },
    {
      name: "another scheme as long as ours",
      input: { ...one, authorization: parseAuthorization("Digest abc") },
      verdict: none,
    },
    {
      name: "another scheme as long as ours, alone",
      input: { ...one, authorization: parseAuthorization("Digest") },
      verdict: none,
    },
    {
      name: "a scheme that begins like ours",
      input: { ...one, authorization: parseAuthorization("BearerX abc") },
      verdict: none,
    },
    {
      name: "the scheme alone is a token that cannot be right",
      input: { ...one, authorization: parseAuthorization("Bearer") },
      verdict: { verdict: "token", token: "" },
    },
    {
      name: "a tab is no separator",
      input: { ...one, authorization: parseAuthorization("Bearer\tabc") },
      verdict: { verdict: "token", token: "" },
    },
    {
      name: "two words stay together, and no token is like that",
      input: { ...one, authorization: parseAuthorization("Bearer a b") },
      verdict: { verdict: "token", token: "a b" },
    },
    {
      name: "two lines",
      input: { ...one, authorization: { kind: "repeated" } },
      verdict: { verdict: "ambiguous", reason: "repeated-header" },
    },
    { name: "a key the API key layer took", input: { ...one, byApiKey: true }, verdict: none },
    {
      name: "a session beside a token",
      input: { ...one, hasPrincipal: true },
      verdict: { verdict: "ambiguous", reason: "session-and-token" },
    },
    {
      name: "a session beside another scheme",
      input: { ...one, authorization: parseAuthorization("Basic x"), hasPrincipal: true },
      verdict: none,
    },
  ];
  it.each(rows)("$name", ({ input, verdict }) => expect(choosePresented(input)).toEqual(verdict));
});

describe("decideRefresh", () => {
  const now = 1_800_000_000_000;
  const fresh: StoredRefreshToken = {
    id: "a",
    hash: "h",
    familyId: "f",
    subject: "u",
    scopes: [],
    roles: [],
    claims: {},
    issuedAt: now - 1000,
    expiresAt: now + 1000,
    familyExpiresAt: now + 9000,
    usedAt: null,
    successorId: null,
    sealedSuccessor: null,
    revokedAt: null,
  };
  const used: StoredRefreshToken = { ...fresh, usedAt: now - 9_999, successorId: "b", sealedSuccessor: "s" };
  const next: StoredRefreshToken = { ...fresh, id: "b" };
  const rows: {
    name: string;
    token: StoredRefreshToken;
    successor?: StoredRefreshToken;
    grace?: number;
    verdict: string;
  }[] = [
    { name: "fresh", token: fresh, verdict: "rotate" },
    { name: "fresh in its last millisecond", token: { ...fresh, expiresAt: now + 1 }, verdict: "rotate" },
    { name: "fresh at its end", token: { ...fresh, expiresAt: now }, verdict: "expired" },
    { name: "the family in its last millisecond", token: { ...fresh, familyExpiresAt: now + 1 }, verdict: "rotate" },
    { name: "the family at its end", token: { ...fresh, familyExpiresAt: now }, verdict: "expired" },
    { name: "revoked", token: { ...fresh, revokedAt: now }, verdict: "revoked" },
    { name: "used in grace, successor unused", token: used, successor: next, verdict: "replay" },
    { name: "used at the end of grace", token: { ...used, usedAt: now - 10_000 }, successor: next, verdict: "reuse" },
    {
      name: "used in grace, successor used: an ancestor",
      token: used,
      successor: { ...next, usedAt: now - 1 },
      verdict: "reuse",
    },
    { name: "used in grace, successor gone", token: used, verdict: "reuse" },
    { name: "used in grace, successor revoked", token: used, successor: { ...next, revokedAt: now }, verdict: "reuse" },
    {
      name: "used a moment ago without grace",
      token: { ...used, usedAt: now },
      successor: next,
      grace: 0,
      verdict: "reuse",
    },
    {
      name: "used by a server whose clock is ahead, without grace",
      token: { ...used, usedAt: now + 3000 },
      successor: next,
      grace: 0,
      verdict: "reuse",
    },
    {
      name: "used by a server whose clock is ahead",
      token: { ...used, usedAt: now + 3000 },
      successor: next,
      verdict: "replay",
    },
    { name: "used far in the future", token: { ...used, usedAt: now + 60_000 }, successor: next, verdict: "reuse" },
    {
      name: "used, and past its own expiry: still theft",
      token: { ...used, usedAt: now - 60_000, expiresAt: now - 1 },
      successor: next,
      verdict: "reuse",
    },
    {
      name: "used, and the family is over",
      token: { ...used, familyExpiresAt: now },
      successor: next,
      verdict: "expired",
    },
    {
      name: "used and revoked: the family is dealt with",
      token: { ...used, revokedAt: now - 1 },
      successor: next,
      verdict: "revoked",
    },
  ];
  it.each(rows)("$name → $verdict", ({ token, successor, grace = 10_000, verdict }) =>
    expect(decideRefresh(token, successor, now, grace)).toBe(verdict),
  );
});
