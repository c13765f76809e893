import { describe, expect, it } from "vitest";
import { AddressList } from "../../src/core/http/address-list.js";
import { parseAuthorization } from "../../src/core/http/authorization.js";
import { MANAGE_SCOPE } from "../../src/core/scopes.js";
import {
  choosePresented,
  exceededGrant,
  graceEnd,
  checkKey,
  type KeyState,
  type Grants,
  type Presented,
  stateProblem,
} from "../../src/api-key/decide.js";

const NOW = 1_000_000;

describe("which key a request presents", () => {
  const bare: Presented = { keyHeader: undefined, authorization: { kind: "none" }, hasSession: false };
  const header: Presented = { ...bare, keyHeader: "mcp_k" };
  const bearer: Presented = { ...bare, authorization: parseAuthorization("Bearer mcp_k") };
  const rows: { name: string; input: Presented; verdict: string }[] = [
    { name: "nothing", input: bare, verdict: "none" },
    { name: "the header", input: header, verdict: "key ApiKey mcp_k" },
    { name: "the header, empty", input: { ...header, keyHeader: "" }, verdict: "key ApiKey " },
    {
      name: "the header, of another prefix",
      input: { ...header, keyHeader: "other_k" },
      verdict: "key ApiKey other_k",
    },
    { name: "the header twice", input: { ...header, keyHeader: "mcp_k, mcp_k" }, verdict: "ambiguous repeated-header" },
    { name: "bearer", input: bearer, verdict: "key Bearer mcp_k" },
    {
      name: "bearer in capitals",
      input: { ...bearer, authorization: parseAuthorization("BEARER mcp_k") },
      verdict: "key Bearer mcp_k",
    },
    {
      name: "bearer twice",
      input: { ...bearer, authorization: { kind: "repeated" } },
      verdict: "ambiguous repeated-header",
    },
    {
      name: "bearer of a token that is no key",
      input: { ...bearer, authorization: parseAuthorization("Bearer ey.a.b") },
      verdict: "none",
    },
    {
      name: "the header beside two authorizations",
      input: { ...header, authorization: { kind: "repeated" } },
      verdict: "ambiguous repeated-header",
    },
    {
      name: "the header beside the scheme bearer alone",
      input: { ...header, authorization: parseAuthorization("Bearer") },
      verdict: "key ApiKey mcp_k",
    },
    { name: "basic", input: { ...bearer, authorization: parseAuthorization("Basic x") }, verdict: "none" },
    {
      name: "header beside basic",
      input: { ...header, authorization: parseAuthorization("Basic x") },
      verdict: "key ApiKey mcp_k",
    },
    {
      name: "header beside bearer",
      input: { ...header, authorization: parseAuthorization("Bearer mcp_k") },
      verdict: "ambiguous two-methods",
    },
    {
      name: "header beside another bearer",
      input: { ...header, authorization: parseAuthorization("Bearer ey.a.b") },
      verdict: "ambiguous two-methods",
    },
    { name: "header in a session", input: { ...header, hasSession: true }, verdict: "ambiguous session-and-key" },
    { name: "bearer in a session", input: { ...bearer, hasSession: true }, verdict: "ambiguous session-and-key" },
    { name: "a session alone", input: { ...bare, hasSession: true }, verdict: "none" },
  ];
  it.each(rows)("$name: $verdict", ({ input, verdict }) => {
    const choice = choosePresented(input, "mcp_");
    const text =
      choice.verdict === "key"
        ? `key ${choice.scheme} ${choice.key}`
        : choice.verdict === "ambiguous"
          ? `ambiguous ${choice.reason}`
          : choice.verdict;
    expect(text).toBe(verdict);
  });
});

describe("the state of a key", () => {
  const good: KeyState = { expiresAt: null, revokedAt: null, rotatedTo: null, graceUntil: null };
  const rows: { name: string; input: KeyState; verdict: string | undefined }[] = [
    { name: "fresh", input: good, verdict: undefined },
    { name: "expiring later", input: { ...good, expiresAt: NOW + 1 }, verdict: undefined },
    { name: "expiring now", input: { ...good, expiresAt: NOW }, verdict: "expired" },
    { name: "revoked", input: { ...good, revokedAt: NOW - 1 }, verdict: "revoked" },
    { name: "revoked by a clock ahead of ours", input: { ...good, revokedAt: NOW + 60_000 }, verdict: "revoked" },
    { name: "rotated, in grace", input: { ...good, rotatedTo: "x", graceUntil: NOW + 1 }, verdict: undefined },
    { name: "rotated, grace over", input: { ...good, rotatedTo: "x", graceUntil: NOW }, verdict: "rotated" },
    { name: "rotated without grace", input: { ...good, rotatedTo: "x" }, verdict: "rotated" },
    {
      name: "rotated in grace and revoked",
      input: { ...good, rotatedTo: "x", graceUntil: NOW + 1, revokedAt: NOW },
      verdict: "revoked",
    },
    {
      name: "rotated in grace and expired",
      input: { ...good, rotatedTo: "x", graceUntil: NOW + 1, expiresAt: NOW },
      verdict: "expired",
    },
  ];
  it.each(rows)("$name: $verdict", ({ input, verdict }) => expect(stateProblem(input, NOW)).toBe(verdict));

  const list = new AddressList(["192.0.2.0/24", "2001:db8::/32"]);
  const addresses: {
    name: string;
    address: string | undefined;
    list: AddressList | undefined;
    verdict: string | undefined;
  }[] = [
    { name: "in the range", address: "192.0.2.9", list, verdict: undefined },
    { name: "outside the range", address: "192.0.3.9", list, verdict: "address-not-allowed" },
    { name: "IPv6 in the range", address: "2001:db8::1", list, verdict: undefined },
    { name: "IPv6 outside", address: "2001:db9::1", list, verdict: "address-not-allowed" },
    { name: "unknown", address: undefined, list, verdict: "address-not-allowed" },
    { name: "no address text", address: "unknown", list, verdict: "address-not-allowed" },
    { name: "outside, without a list", address: "192.0.3.9", list: undefined, verdict: undefined },
    { name: "unknown, without a list", address: undefined, list: undefined, verdict: undefined },
  ];
  it.each(addresses)("address $name: $verdict", ({ address, list: allow, verdict }) =>
    expect(checkKey(good, allow, NOW, address)).toBe(verdict),
  );

  it("the state of a key is reported before its address restriction", () => {
    expect(checkKey({ ...good, revokedAt: 1 }, list, NOW, "10.0.0.1")).toBe("revoked");
  });
});

it.each([
  [0, null, 0],
  [0, NOW + 30_000, 0],
  [60, null, NOW + 60_000],
  [60, NOW + 30_000, NOW + 30_000],
  [60, NOW + 90_000, NOW + 60_000],
])("grace of %i s, expiry %s ends at %i", (grace, expiresAt, end) => expect(graceEnd(NOW, grace, expiresAt)).toBe(end));

it("the scope for managing keys is api-keys:manage", () => {
  expect(MANAGE_SCOPE).toBe("api-keys:manage");
});

describe("what a caller may grant to a new key", () => {
  const own: Grants = {
    scopes: ["read", "orders:*"],
    roles: ["editor"],
    expiresAt: NOW,
    allow: ["192.0.2.0/24", "10.0.0.1"],
    rateLimit: { limit: 60, windowSeconds: 60 },
  };
  const within: Grants = {
    scopes: ["read", "orders:write"],
    roles: ["editor"],
    expiresAt: NOW,
    allow: ["192.0.2.7"],
    rateLimit: { limit: 60, windowSeconds: 60 },
  };
  const rows: { name: string; input: Grants; verdict: string | undefined }[] = [
    { name: "within", input: within, verdict: undefined },
    { name: "the same", input: own, verdict: undefined },
    { name: "another scope", input: { ...within, scopes: ["write"] }, verdict: "scope" },
    { name: "a wider scope", input: { ...within, scopes: ["read:*"] }, verdict: "scope" },
    { name: "another role", input: { ...within, roles: ["admin"] }, verdict: "role" },
    { name: "one more role", input: { ...within, roles: ["editor", "admin"] }, verdict: "role" },
    { name: "no role", input: { ...within, roles: [] }, verdict: undefined },
    { name: "longer", input: { ...within, expiresAt: NOW + 1 }, verdict: "expiry" },
    { name: "for ever", input: { ...within, expiresAt: null }, verdict: "expiry" },
    { name: "another address", input: { ...within, allow: ["10.0.0.2"] }, verdict: "address" },
    { name: "one more address", input: { ...within, allow: ["192.0.2.7", "10.0.0.2"] }, verdict: "address" },
    { name: "a wider range", input: { ...within, allow: ["192.0.0.0/16"] }, verdict: "address" },
    { name: "a tighter limit", input: { ...within, rateLimit: { limit: 1, windowSeconds: 60 } }, verdict: undefined },
    { name: "another window", input: { ...within, rateLimit: { limit: 1, windowSeconds: 1 } }, verdict: "limit" },
    { name: "more at once", input: { ...within, rateLimit: { limit: 61, windowSeconds: 86_400 } }, verdict: "limit" },
    { name: "more in the long run", input: { ...within, rateLimit: { limit: 2, windowSeconds: 1 } }, verdict: "limit" },
    { name: "without a limit", input: { ...within, rateLimit: null }, verdict: "limit" },
    { name: "anywhere", input: { ...within, allow: [] }, verdict: "address" },
  ];
  it.each(rows)("$name: $verdict", ({ input, verdict }) =>
    expect(exceededGrant(own, input, new AddressList(own.allow))).toBe(verdict),
  );
  it("a caller without restrictions grants any expiry, address and limit", () => {
    const unbound = { expiresAt: null, allow: [], rateLimit: null };
    expect(exceededGrant({ ...own, ...unbound }, { ...within, ...unbound }, undefined)).toBeUndefined();
  });
});
