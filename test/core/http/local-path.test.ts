import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isLocalPath, withReturnTo } from "../../../src/core/http/local-path.js";

describe("isLocalPath", () => {
  it.each([
    "/",
    "/login",
    "/login?lang=en&x=%2F%2Fevil.example",
    "/a/../b",
    "/.//evil.example",
    "/a//b",
    "/@evil.example",
  ])("accepts %s", (path) => expect(isLocalPath(path)).toBe(true));

  it.each([
    "",
    "login",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/a\r\nSet-Cookie: x",
    "/a#b",
    "/ä",
    " /a",
    "https://evil.example/",
    "javascript:alert(1)",
    `/${"a".repeat(2048)}`,
    undefined,
    ["/login"],
  ])("refuses %j", (path) => expect(isLocalPath(path)).toBe(false));

  it("means this origin to the URL standard, whatever the text", () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom("/", "\\", "\t", "\n", ".", ":", "@", "?", "#", "a", "evil.example", "%2f") }),
      fc.webPath(),
      fc.string(),
    );
    fc.assert(
      fc.property(text, (path) => {
        for (const tried of [path, `/${path}`, `//${path}`]) {
          if (isLocalPath(tried)) expect(new URL(tried, "https://app.example/a/b").origin).toBe("https://app.example");
        }
      }),
    );
  });
});

describe("withReturnTo", () => {
  it.each([
    ["/login", "/orders?page=2&x=/", "/login?returnTo=%2Forders%3Fpage%3D2%26x%3D%2F"],
    ["/login?lang=en", "/orders", "/login?lang=en&returnTo=%2Forders"],
    ["/login", "//evil.example/", "/login"],
    ["/login", "http://evil.example/", "/login"],
    ["/login", "*", "/login"],
  ])("%s from %s is %s", (path, from, location) => expect(withReturnTo(path, from)).toBe(location));
});
