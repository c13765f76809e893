import { describe, expect, it } from "vitest";
import { missingScopes, scopeCovers } from "../../src/core/scopes.js";

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

  it("that are missing are listed in order", () => {
    expect(missingScopes(["orders:*", "read"], ["write", "orders:read", "admin"])).toEqual(["write", "admin"]);
  });
});
