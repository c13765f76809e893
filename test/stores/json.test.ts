import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deepFreeze } from "../../src/core/deep-freeze.js";
import { copyJson } from "../../src/stores/json.js";

const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);

describe("copyJson", () => {
  it("copies any JSON exactly, frozen at every depth", () => {
    const isFrozen = (value: unknown): boolean =>
      typeof value !== "object" || value === null || (Object.isFrozen(value) && Object.values(value).every(isFrozen));
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const wellFormed = JSON.stringify(value).replaceAll(/\\u[dD][89abAB][0-9a-fA-F]{2}/g, "?");
        const given = JSON.parse(wellFormed.replaceAll("__proto__", "proto")) as unknown;
        const copy = copyJson(given);
        expect(JSON.stringify(copy)).toBe(JSON.stringify(given));
        expect(isFrozen(copy)).toBe(true);
        expect(typeof given !== "object" || given === null || copy !== given).toBe(true);
      }),
    );
  });

  it("leaves out members that are undefined", () => expect(copyJson({ a: 1, b: undefined })).toEqual({ a: 1 }));
  it("accepts 8 levels", () => expect(copyJson(nested(8))).toEqual(nested(8)));

  it.each([
    ["9 levels", nested(9)],
    ["a date", { since: new Date(0) }],
    ["a map", new Map()],
    ["a function", { toJSON: () => 1 }],
    ["undefined in a list", [undefined]],
    ["a number that JSON lacks", { ratio: Number.POSITIVE_INFINITY }],
    ["a bigint", 1n],
    ["a symbol", Symbol("a")],
    ["a lone surrogate", "\ud800"],
    ["a member named __proto__", JSON.parse('{"a":{"__proto__":1}}')],
  ])("refuses %s", (_name, value) => expect(copyJson(value)).toBeUndefined());
});

describe("deepFreeze", () => {
  it("freezes lists and plain objects, and neither instances nor what is left out", () => {
    const client = new (class Client {
      state = 0;
    })();
    const store = { count: 0 };
    const value = deepFreeze({ list: [{ a: 1 }], client, inner: { store } }, "store");
    expect([value, value.list, value.list[0], value.inner].every((part) => Object.isFrozen(part))).toBe(true);
    expect([client, store].some((part) => Object.isFrozen(part))).toBe(false);
  });
});
