import { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { SettingsError } from "../../src/settings/errors.js";
import { SetupError } from "../../src/core/setup-error.js";
import { nearest } from "../../src/core/nearest.js";
import { addIssue, parse, parseFactory, pathText, settingsObject, toggleable } from "../../src/settings/object.js";
import { issuesOf as issuesOfSchema } from "./edges.js";

const schema = settingsObject({
  limit: z.int().min(1),
  mode: z.enum(["enforce", "report"]).default("enforce"),
  inner: toggleable(() =>
    settingsObject({ maxAge: z.int().max(10), list: z.array(z.string()).default([]) }),
  ).optional(),
});

function issuesOf(value: unknown) {
  try {
    parse(settingsObject({ layer: schema }), { layer: value });
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

describe("parse", () => {
  it("reports all issues at once, each with code, path, message and remedy", () => {
    expect(issuesOf({ limit: 0, mod: "x", inner: { maxAge: "9", maxAgee: 1, list: ["a", 7] } })).toEqual([
      {
        code: "wrong-value",
        path: "layer.limit",
        message: "This must be at least 1.",
        remedy: "Use at least 1.",
      },
      {
        code: "wrong-type",
        path: "layer.inner.maxAge",
        message: "This must be a number.",
        remedy: "Write a number, without quotes.",
      },
      {
        code: "wrong-type",
        path: "layer.inner.list[1]",
        message: "This must be a string.",
        remedy: "Write a string.",
      },
      {
        code: "unknown-setting",
        path: "layer.inner.maxAgee",
        message: 'There is no setting "maxAgee". Did you mean "maxAge"?',
        remedy: "Correct the name or remove the setting.",
      },
      {
        code: "unknown-setting",
        path: "layer.mod",
        message: 'There is no setting "mod". Did you mean "mode"?',
        remedy: "Correct the name or remove the setting.",
      },
    ]);
  });

  it("reports a missing setting as missing", () => {
    expect(issuesOf({})).toMatchObject([{ code: "missing-setting", path: "layer.limit" }]);
  });

  it("turns a protection off by false, and only by false", () => {
    expect(parse(schema, { limit: 1, inner: false })).toEqual({ limit: 1, mode: "enforce", inner: false });
    expect(issuesOf({ limit: 1, inner: true })).toMatchObject([{ code: "wrong-type", path: "layer.inner" }]);
    expect(issuesOf({ limit: 1, inner: null })).toMatchObject([{ path: "layer.inner" }]);
  });

  it("accepts frozen and null-prototype objects and explicit undefined", () => {
    const given = Object.assign(Object.create(null) as object, { limit: 3, mode: undefined });
    expect(parse(schema, Object.freeze(given))).toEqual({ limit: 3, mode: "enforce" });
  });

  it("refuses __proto__ as an own key", () => {
    expect(issuesOf(JSON.parse('{"limit":1,"__proto__":{"x":1}}')).map(({ code }) => code)).toEqual([
      "unknown-setting",
    ]);
  });

  it("does not repeat a strange key", () => {
    expect(issuesOf({ limit: 1, "<script>": 1 })[0]?.message).not.toContain("<script>");
  });

  it("shows every issue in the error's message", () => {
    expect(() => parse(schema, { limit: 0, mod: 1 })).toThrowErrorMatchingInlineSnapshot(`
      [SettingsError: 2 settings are wrong:
        - limit: This must be at least 1. [wrong-value]
          Use at least 1.
        - mod: There is no setting "mod". Did you mean "mode"? [unknown-setting]
          Correct the name or remove the setting.]
    `);
  });
});

describe("every kind of mistake has a remedy", () => {
  const kinds = settingsObject({
    list: z.array(z.string()).max(2).optional(),
    inner: settingsObject({}).optional(),
    flag: z.boolean().optional(),
    size: z.number().max(5).optional(),
    choice: z.literal(["a", 1, false]).optional(),
    pattern: z.string().regex(/^a/, "Not an a").optional(),
    closed: z.string().regex(/^a/, "Not an a.").optional(),
    custom: z.custom((value) => value === 1, "Not one.").optional(),
    either: z.union([z.literal("a"), z.literal("b")]).optional(),
  });
  it.each<[string, unknown, string, string, string]>([
    ["list", "a", "wrong-type", "This must be a list.", 'Write a list, even for one entry: ["…"].'],
    ["list", ["a", "b", "c"], "wrong-value", "The list must have at most 2 entries.", "List at most 2 entries."],
    ["inner", "a", "wrong-type", "This must be an object.", "Write an object; {} uses the defaults."],
    ["flag", "a", "wrong-type", "This must be true or false.", "Write true or false."],
    ["size", 6, "wrong-value", "This must be at most 5.", "Use at most 5."],
    ["choice", 2, "wrong-value", "This value is not allowed.", 'Use one of: "a", 1, false.'],
    [
      "pattern",
      "b",
      "wrong-value",
      "Not an a.",
      "See its row in the tables that README.md of this package has or links.",
    ],
    [
      "closed",
      "b",
      "wrong-value",
      "Not an a.",
      "See its row in the tables that README.md of this package has or links.",
    ],
    ["custom", 2, "wrong-value", "Not one.", "See its row in the tables that README.md of this package has or links."],
    [
      "either",
      "c",
      "wrong-type",
      "This value is not allowed.",
      "See its row in the tables that README.md of this package has or links.",
    ],
  ])("%s: %j", (path, value, code, message, remedy) => {
    expect(issuesOfSchema(kinds, { [path]: value })).toEqual([{ code, path, message, remedy }]);
  });

  it("true in place of settings", () => {
    expect(issuesOf({ limit: 1, inner: true })).toEqual([
      {
        code: "wrong-type",
        path: "layer.inner",
        message: "true is not allowed; this must be an object or false.",
        remedy: "Write {} to use the defaults, or false to turn it off.",
      },
    ]);
  });

  it("a missing setting", () => {
    expect(issuesOf({ limit: 1, inner: {} })).toEqual([
      {
        code: "missing-setting",
        path: "layer.inner.maxAge",
        message: "This setting is required.",
        remedy: "Set it, or remove the object that contains it.",
      },
    ]);
  });

  it("a name unlike any known one: the remedy lists the known names, and does not repeat a strange name", () => {
    expect(
      issuesOf({ limit: 1, zzzzzz: 1, "a b": 1, ["k".repeat(64)]: 1, ["k".repeat(65)]: 1 }).map(
        ({ message }) => message,
      ),
    ).toEqual([
      'There is no setting "zzzzzz". Known: limit, mode, inner.',
      "There is no setting with this name. Known: limit, mode, inner.",
      `There is no setting "${"k".repeat(64)}". Known: limit, mode, inner.`,
      "There is no setting with this name. Known: limit, mode, inner.",
    ]);
  });

  it("an error thrown while a setting is read, which is an issue and its cause", () => {
    const thrown = new Error("no such file");
    const given = {
      get limit(): never {
        throw thrown;
      },
    };
    try {
      parse(schema, given);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError);
      expect(error).toMatchObject({
        cause: thrown,
        issues: [
          {
            code: "wrong-value",
            path: "",
            message: expect.stringMatching(/threw/) as string,
            remedy: expect.stringMatching(/getter/) as string,
          },
        ],
      });
    }
  });
});

describe("a request or a response in the place of settings", () => {
  const request = new IncomingMessage(new Socket());
  it.each([
    ["request", request],
    ["response", new ServerResponse(request)],
  ])("is reported as a factory that was mounted without being called: %s", (_name, value) => {
    const mount = () => parseFactory("corsPolicy", schema, value);
    expect(mount).toThrowError(SetupError);
    expect(mount).toThrowError("Write app.use(corsPolicy()) instead of app.use(corsPolicy).");
  });
});

describe("addIssue", () => {
  it("keeps code and remedy", () => {
    const refined = schema.superRefine((_value, context) =>
      addIssue(context, { code: "contradiction", path: ["mode"], message: "No.", remedy: "Yes." }),
    );
    try {
      parse(refined, { limit: 1 });
      expect.unreachable();
    } catch (error) {
      expect((error as SettingsError).issues).toEqual([
        { code: "contradiction", path: "mode", message: "No.", remedy: "Yes." },
      ]);
    }
  });
});

describe("names and paths", () => {
  it.each([
    ["limt", "limit"],
    ["contentSecurityPolcy", "contentSecurityPolicy"],
    ["zzz", undefined],
    ["x".repeat(65), undefined],
    ["LIMIT", "limit"],
    ["limits", "limit"],
    ["imit", "limit"],
    ["lmiit", "limit"],
    ["lxxit", "limit"],
    ["lxxxt", undefined],
    ["contentSecuritXXXXXXX", "contentSecurityPolicy"],
    ["contentSecuriXXXXXXXX", undefined],
    ["", undefined],
    [`contentSecurityPolicy${"x".repeat(44)}`, undefined],
  ])("the name nearest to %s is %s", (name, near) => {
    expect(nearest(name, ["limit", "contentSecurityPolicy"])).toBe(near);
  });
  it("the nearest of several names is chosen, or the first of equally near ones", () => {
    expect(nearest("maxAges", ["maxAged", "maxAge", "maxAgent"])).toBe("maxAged");
    expect(nearest("maxAg", ["maxAgent", "maxAge"])).toBe("maxAge");
    expect(nearest("x".repeat(64), ["x".repeat(63)])).toBe("x".repeat(63));
    expect(nearest("x".repeat(65), ["x".repeat(64)])).toBeUndefined();
  });
  it("a path is written as in code", () => {
    expect(pathText([0, "a"])).toBe("[0].a");
    expect(pathText(["a", "", "b"])).toBe('a."".b');
    expect(pathText([""])).toBe('""');
    expect(pathText(["cors", "origins", 1, "x"])).toBe("cors.origins[1].x");
    expect(pathText([])).toBe("");
    expect(pathText(["a", "line\nbreak\u001b[31m", "k".repeat(1000)])).toBe(`a.line?break?[31m.${"k".repeat(64)}`);
  });
});
