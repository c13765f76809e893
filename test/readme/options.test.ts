import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseSettings, type SettingsError } from "portcullis";
import { join } from "node:path";
import { ROOT } from "../support/code-blocks.js";

/** The layers' folders, their keys in the settings, and what of them is required. */
const LAYERS: [string, string, object][] = [
  ["headers", "headers", {}],
  ["trusted-host", "trustedHosts", { hosts: ["a.example"] }],
  ["cors", "cors", { origins: ["https://a.example"] }],
  ["rate-limit", "rateLimit", {}],
  ["csrf", "csrf", {}],
  ["session", "session", {}],
  ["api-key", "apiKeys", {}],
  ["jwt", "jwt", {}],
];
/** What a number is a number of. */
const UNITS = /seconds|milliseconds|minutes|days|units|bits|number of|characters/;

type Tree = Record<string, unknown>;
const base = { trustedHosts: ["a.example"], secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E" };

/** Every name an object of the settings knows, as the error for an unknown one lists them. */
function known(key: string, settings: Tree, inside?: string): string[] {
  const stranger = { "?": 1 };
  try {
    parseSettings({
      ...base,
      [key]: inside === undefined ? { ...settings, ...stranger } : { ...settings, [inside]: stranger },
    });
  } catch (error) {
    const issue = (error as SettingsError).issues.find(({ code }) => code === "unknown-setting");
    return /Known: (.+)\.$/.exec(issue?.message ?? "")?.[1]?.split(", ") ?? [];
  }
  return [];
}

function optionsOf(folder: string): { name: string; fallback: string; meaning: string }[] {
  const readme = readFileSync(join(ROOT, "src", folder, "README.md"), "utf8");
  const table = /\n## Options\n\n.*\n\|---\|---\|---\|\n((?:\|.*\n)+)/.exec(readme)?.[1] ?? "";
  return [...table.matchAll(/^\| `([\w.]+)` \| (.+?) \| (.+) \|$/gm)].map(
    ([, name = "", fallback = "", meaning = ""]) => ({ name, fallback, meaning }),
  );
}

describe.each(LAYERS)("the options table of src/%s", (folder, key, required) => {
  const options = optionsOf(folder);
  const parsed = (parseSettings({ ...base, [key]: required }) as unknown as Record<string, Tree>)[key];

  it("lists every option and no other", () => {
    const names = options.map(({ name }) => name).filter((name) => !name.includes("."));
    expect(names.sort()).toEqual(known(key, required as Tree).sort());
    for (const group of new Set(
      options.flatMap(({ name }) => (name.includes(".") ? [name.split(".")[0] ?? ""] : [])),
    )) {
      const inside = options.map(({ name }) => name).filter((name) => name.startsWith(`${group}.`));
      expect(inside.sort()).toEqual(
        known(key, required as Tree, group)
          .map((name) => `${group}.${name}`)
          .sort(),
      );
    }
  });

  it("gives the default that is used, and the unit of a number", () => {
    for (const { name, fallback, meaning } of options) {
      const value = name.split(".").reduce<unknown>((tree, part) => (tree as Tree | undefined)?.[part], parsed);
      if (typeof value === "number") expect(meaning, name).toMatch(UNITS);
      // An unset option may be filled in from others; its row says how in words.
      if (!fallback.startsWith("`") || ["undefined", "object"].includes(typeof value)) continue;
      expect(fallback, name).toBe(`\`${JSON.stringify(value)}\``);
    }
    expect(options.filter(({ fallback }) => /^`[^`]+`$/.test(fallback)).length).toBeGreaterThan(1);
  });
});
