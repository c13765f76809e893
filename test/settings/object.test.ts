import { describe, expect, it } from "vitest";
import { z } from "zod";
import { SettingsError } from "../../src/settings/errors.js";
import { addIssue, nearest, parse, pathText, settingsObject, switchable } from "../../src/settings/object.js";

const schema = settingsObject({
  limit: z.int().min(1),
  mode: z.enum(["enforce", "report"]).default("enforce"),
  inner: switchable(settingsObject({ maxAge: z.int().max(10), list: z.array(z.string()).default([]) })).optional(),
});

function issuesOf(value: unknown) {
  try {
    parse(schema, value, ["layer"]);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

describe("parse", () => {
  it("reports everything at once, each with code, path, message and remedy", () => {
    expect(issuesOf({ limit: 0, mod: "x", inner: { maxAge: "9", maxAgee: 1, list: ["a", 7] } })).toEqual([
      { code: "wrong-value", path: "layer.limit", message: "Too small: expected number to be >=1.", remedy: "Use at least 1." },
      { code: "wrong-type", path: "layer.inner.maxAge", message: "Invalid input: expected number, received string.", remedy: "Give a value of type number." },
      { code: "wrong-type", path: "layer.inner.list[1]", message: "Invalid input: expected string, received number.", remedy: "Give a value of type string." },
      { code: "unknown-setting", path: "layer.inner.maxAgee", message: 'There is no setting "maxAgee". Did you mean "maxAge"?', remedy: "Correct the name or remove the setting." },
      { code: "unknown-setting", path: "layer.mod", message: 'There is no setting "mod". Did you mean "mode"?', remedy: "Correct the name or remove the setting." },
    ]);
  });

  it("says missing for what is missing", () => {
    expect(issuesOf({})).toMatchObject([{ code: "missing-setting", path: "layer.limit" }]);
  });

  it("turns off by false, and only by false", () => {
    expect(parse(schema, { limit: 1, inner: false })).toEqual({ limit: 1, mode: "enforce", inner: false });
    expect(issuesOf({ limit: 1, inner: true })).toMatchObject([{ code: "wrong-type", path: "layer.inner" }]);
    expect(issuesOf({ limit: 1, inner: null })).toMatchObject([{ path: "layer.inner" }]);
  });

  it("takes frozen and null-prototype objects and explicit undefined", () => {
    const given = Object.assign(Object.create(null) as object, { limit: 3, mode: undefined });
    expect(parse(schema, Object.freeze(given))).toEqual({ limit: 3, mode: "enforce" });
  });

  it("refuses __proto__ as an own key", () => {
    expect(issuesOf(JSON.parse('{"limit":1,"__proto__":{"x":1}}')).map(({ code }) => code)).toEqual(["unknown-setting"]);
  });

  it("does not repeat a strange key", () => {
    expect(issuesOf({ limit: 1, "<script>": 1 })[0]?.message).not.toContain("<script>");
  });

  it("shows every issue in the error's message", () => {
    expect(() => parse(schema, { limit: 0, mod: 1 })).toThrowErrorMatchingInlineSnapshot(`
      [SettingsError: 2 settings are wrong:
        - limit: Too small: expected number to be >=1. [wrong-value]
          Use at least 1.
        - mod: There is no setting "mod". Did you mean "mode"? [unknown-setting]
          Correct the name or remove the setting.]
    `);
  });
});

describe("addIssue", () => {
  it("keeps code and remedy", () => {
    const refined = schema.superRefine((_value, context) => addIssue(context, { code: "contradiction", path: ["mode"], message: "No.", remedy: "Yes." }));
    try {
      parse(refined, { limit: 1 });
      expect.unreachable();
    } catch (error) {
      expect((error as SettingsError).issues).toEqual([{ code: "contradiction", path: "mode", message: "No.", remedy: "Yes." }]);
    }
  });
});

describe("names and paths", () => {
  it.each([
    ["limt", "limit"],
    ["contentSecurityPolcy", "contentSecurityPolicy"],
    ["zzz", undefined],
    ["x".repeat(65), undefined],
  ])("nearest to %s is %s", (name, near) => {
    expect(nearest(name, ["limit", "contentSecurityPolicy"])).toBe(near);
  });
  it("writes a path as one would in code", () => {
    expect(pathText(["cors", "origins", 1, "x"])).toBe("cors.origins[1].x");
    expect(pathText([])).toBe("");
    expect(pathText(["a", "line\nbreak\u001b[31m", "k".repeat(1000)])).toBe(`a.line?break?[31m.${"k".repeat(64)}`);
  });
});
