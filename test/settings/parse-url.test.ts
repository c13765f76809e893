import { expect, it } from "vitest";
import { parseUrl } from "../../src/settings/parse-url.js";

it("parseUrl reads a Latin-1 host however often it is called", () => {
  // URL.canParse of Node 20 answers false after some thousand calls.
  let wrong = 0;
  for (let n = 0; n < 50_000; n += 1)
    if (parseUrl("https://bücher.example")?.host !== "xn--bcher-kva.example") wrong += 1;
  expect(wrong).toBe(0);
});

it("parseUrl returns undefined for a text that is no URL, and takes a base for a path", () => {
  expect(parseUrl("/path")).toBeUndefined();
  expect(parseUrl("/path", "https://a.example")?.href).toBe("https://a.example/path");
});
