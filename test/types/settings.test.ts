import express from "express";
import { applySecurity, parseSettings } from "portcullis";
import { createAccounts } from "portcullis/accounts";
import { testSecret } from "portcullis/testing";
import { describe, expect, it } from "vitest";
import { allSettings, type SettingPath } from "../support/known-settings.js";
import { Editor, type Hover } from "./editor.js";

/** A call that takes settings. */
interface Call {
  readonly name: string;
  readonly settings: readonly SettingPath[];
  /** The source before its settings. */
  readonly before: string;
  /** The value in effect where an app sets nothing but what it must. */
  readonly defaults: unknown;
  /** At least so many settings, optional ones and numbers there are. */
  readonly least: { readonly all: number; readonly optional: number; readonly numbers: number };
}

const secured = () => applySecurity(express(), { trustedHosts: ["a.example"], secretKey: testSecret(), session: {} });
const unfinished = secured();
const withAccounts = secured();
createAccounts(withAccounts, {
  baseUrl: "https://a.example",
  users: { findByLogin: () => undefined, findById: () => undefined },
});

const CALLS: readonly Call[] = [
  {
    name: "applySecurity",
    settings: allSettings(),
    before: `import express from "express";\nimport { applySecurity } from "portcullis";\napplySecurity(express(), `,
    defaults: parseSettings({
      trustedHosts: ["a.example"],
      secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
      cors: { origins: ["https://a.example"] },
      session: {},
      apiKeys: {},
      jwt: {},
    }),
    least: { all: 150, optional: 100, numbers: 25 },
  },
  {
    name: "createAccounts",
    settings: allSettings([], (settings) => createAccounts(unfinished, settings as never)),
    before: `import type { Security } from "portcullis";\nimport { createAccounts } from "portcullis/accounts";\ncreateAccounts({} as Security, `,
    defaults: withAccounts.describe().find(({ id }) => id === "accounts")?.settings,
    least: { all: 35, optional: 25, numbers: 6 },
  },
];
const textOf = (path: SettingPath): string => path.join(".");

/** What a number is a number of. */
const UNITS = /\b(?:milliseconds|seconds|minutes|days|units|bits|bytes|characters|number of)\b/i;

/** The object that holds every setting, as source text, and where in it the name of each setting begins. */
function sourceOf(paths: readonly SettingPath[]): { text: string; positions: Map<string, number> } {
  const positions = new Map<string, number>();
  let text = "";
  const write = (parent: SettingPath): void => {
    const inner = paths.filter(
      (path) => path.length === parent.length + 1 && parent.every((part, index) => path[index] === part),
    );
    text += "{";
    for (const path of inner) {
      positions.set(textOf(path), text.length + 1);
      text += `${JSON.stringify(path.at(-1))}: `;
      const list = [...path, 0];
      const isInside = (at: SettingPath) =>
        paths.some((other) => other.length > at.length && textOf(other).startsWith(`${textOf(at)}.`));
      if (isInside(list)) {
        text += "[";
        write(list);
        text += "]";
      } else if (isInside(path)) write(path);
      // Of type any: a value of one type could select a member of a union.
      else text += "Object()";
      text += ", ";
    }
    text += "}";
  };
  write([]);
  return { text, positions };
}

/** Hovers every setting of one call. */
function hoverAll({ settings, before }: Call, name: "user.ts" | "user.js"): Map<string, Hover> {
  const { text, positions } = sourceOf(settings);
  const editor = new Editor(name, `${before}${text});\n`);
  return new Map([...positions].map(([path, at]) => [path, editor.hover(before.length + at)]));
}

const valueAt = (tree: unknown, path: SettingPath): unknown =>
  path.reduce<unknown>((inner, part) => (inner as Record<string, unknown> | undefined)?.[part], tree);

describe.each(CALLS.flatMap((call) => (["user.ts", "user.js"] as const).map((file) => ({ ...call, call, file }))))(
  "hovering a setting of $name in $file",
  ({ call, file, settings, defaults, least }) => {
    const hovers = hoverAll(call, file);
    const hover = (path: SettingPath): Hover => hovers.get(textOf(path)) ?? { type: "", text: "" };

    it("covers every setting of the schema", () => {
      expect(settings.length).toBeGreaterThan(least.all);
      expect([...hovers.keys()].sort()).toEqual(settings.map(textOf).sort());
    });

    it("shows the documentation of every one", () => {
      expect(settings.filter((path) => hover(path).text.length < 15).map(textOf)).toEqual([]);
    });

    it("names the unit of every number", () => {
      const numbers = settings.filter((path) => /\bnumber\b/.test(hover(path).type));
      expect(numbers.length).toBeGreaterThan(least.numbers);
      expect(numbers.filter((path) => !UNITS.test(hover(path).text)).map(textOf)).toEqual([]);
    });

    it("names the default of every setting that may be left out", () => {
      const optional = settings
        .filter((path) => !path.includes("directives") || path.at(-1) === "directives")
        .filter((path) => /^\(property\) [^:]+\?:/.test(hover(path).type));
      expect(optional.length).toBeGreaterThan(least.optional);
      const wrong = optional.filter((path) => {
        const value = valueAt(defaults, path);
        const said = /Default:\s(.+?)\.(?:\s|$)/s.exec(hover(path).text)?.[1];
        if (said === undefined) return true;
        return (
          ["string", "number", "boolean"].includes(typeof value) && !said.startsWith(`\`${JSON.stringify(value)}\``)
        );
      });
      expect(wrong.map((path) => [textOf(path), hover(path).text])).toEqual([]);
    });
  },
);
