import { parseSettings } from "portcullis";
import { describe, expect, it } from "vitest";
import { allSettings, type SettingPath } from "../support/known-settings.js";
import { Editor, type Hover } from "./editor.js";

const SETTINGS = allSettings();
const textOf = (path: SettingPath): string => path.join(".");

/** What a number is a number of. */
const UNITS = /\b(?:milliseconds|seconds|minutes|days|units|bits|characters|number of)\b/i;

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
      else text += "undefined";
      text += ", ";
    }
    text += "}";
  };
  write([]);
  return { text, positions };
}

/** Hovers every setting of one call. */
function hoverAll(name: "user.ts" | "user.js"): Map<string, Hover> {
  const before = `import express from "express";\nimport { applySecurity } from "portcullis";\napplySecurity(express(), `;
  const { text, positions } = sourceOf(SETTINGS);
  const editor = new Editor(name, `${before}${text});\n`);
  return new Map([...positions].map(([path, at]) => [path, editor.hover(before.length + at)]));
}

/** The value in effect where an app sets nothing but what switches the protections on. */
const DEFAULTS = parseSettings({
  trustedHosts: ["a.example"],
  secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  cors: { origins: ["https://a.example"] },
  session: {},
  apiKeys: {},
  jwt: {},
});
const defaultOf = (path: SettingPath): unknown =>
  path.reduce<unknown>((tree, part) => (tree as Record<string, unknown> | undefined)?.[part], DEFAULTS);

describe.each(["user.ts", "user.js"] as const)("hovering a setting in %s", (name) => {
  const hovers = hoverAll(name);
  const hover = (path: SettingPath): Hover => hovers.get(textOf(path)) ?? { type: "", text: "" };

  it("covers every setting of the schema", () => {
    expect(SETTINGS.length).toBeGreaterThan(150);
    expect([...hovers.keys()].sort()).toEqual(SETTINGS.map(textOf).sort());
  });

  it("shows the documentation of every one", () => {
    expect(SETTINGS.filter((path) => hover(path).text.length < 15).map(textOf)).toEqual([]);
  });

  it("names the unit of every number", () => {
    const numbers = SETTINGS.filter((path) => /\bnumber\b/.test(hover(path).type));
    expect(numbers.length).toBeGreaterThan(25);
    expect(numbers.filter((path) => !UNITS.test(hover(path).text)).map(textOf)).toEqual([]);
  });

  it("names the default of every setting that may be left out", () => {
    const optional = SETTINGS.filter((path) => !path.includes("directives") || path.at(-1) === "directives").filter(
      (path) => hover(path).type.includes("?:"),
    );
    expect(optional.length).toBeGreaterThan(100);
    const wrong = optional.filter((path) => {
      const value = defaultOf(path);
      const said = /Default:\s(.+?)\.(?:\s|$)/s.exec(hover(path).text)?.[1];
      if (said === undefined) return true;
      return ["string", "number", "boolean"].includes(typeof value) && !said.startsWith(`\`${JSON.stringify(value)}\``);
    });
    expect(wrong.map((path) => [textOf(path), hover(path).text])).toEqual([]);
  });
});
