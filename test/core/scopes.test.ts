import { describe, expect, it } from "vitest";
import { missingScopes, scopeCovers, SCOPE_PATTERN } from "../../src/core/scopes.js";

describe("scopes", () => {
  it.each([
    ["read", "read", true],
    ["read", "write", false],
    ["orders:*", "orders:write", true],
    ["orders:*", "order:write", false],
    ["orders:*", "orders:items:write", true],
    ["orders:*", "orders", false],
    ["orders:*", "orders:", false],
    ["orders:*", "orders:*", true],
    ["orders:write", "orders:*", false],
    ["orders:items:*", "orders:*", false],
  ])("%s covers %s: %s", (granted, wanted, covered) => {
    expect(scopeCovers(granted, wanted)).toBe(covered);
  });

  it("lists what is missing, in order", () => {
    expect(missingScopes(["orders:*", "read"], ["write", "orders:read", "admin"])).toEqual(["write", "admin"]);
  });

  it.each(["*", "", ":*", "a:", ":a", "a:*:b", "a b", "ä", "a".repeat(65)])("%j is not a scope", (text) => {
    expect(SCOPE_PATTERN.test(text)).toBe(false);
  });
  it.each(["read", "orders:write", "orders:*", "a.b_c-d:e"])("%j is a scope", (text) => {
    expect(SCOPE_PATTERN.test(text)).toBe(true);
  });
});
