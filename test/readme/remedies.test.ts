import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  ApiKeyService,
  JwtManager,
  parseSettings,
  RedisSlidingWindowStore,
  requireAuth,
  requireSession,
  sessions,
  SettingsError,
  type SettingsIssue,
  SlidingWindowStore,
} from "portcullis";
import { testSecret } from "portcullis/testing";
import { ROOT } from "../support/code-blocks.js";
import { allSettings } from "../support/known-settings.js";

/** Values of every type, at the edges of most of them. */
const VALUES: readonly unknown[] = [
  ...[undefined, null, true, -1, 1.5, 1e12, NaN, 10n, Symbol("s"), new Date(NaN), () => 1],
  ...["", "x y", "\n", "{}", [], [null], [1], ["x y"], [{}], {}, { a: 1 }],
];
const issues: SettingsIssue[] = [];
for (const path of allSettings())
  for (const value of VALUES) {
    const inside = path.reduceRight<unknown>(
      (held, part) => (typeof part === "number" ? [held] : { [part]: held }),
      value,
    );
    const base = { trustedHosts: ["a.example"], secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E" };
    try {
      parseSettings({ ...base, ...(inside as object) });
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      issues.push(...error.issues);
    }
  }
function issuesOf(wrong: () => unknown): readonly SettingsIssue[] {
  try {
    wrong();
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  throw new Error("Nothing was wrong.");
}
const pointing = issues.filter(({ remedy }) => /README|table/.test(remedy));

/** The rows of the first table below a heading, by the names in their first cell. */
function rowsOf(page: string, heading: string): Map<string, string> {
  const section = readFileSync(join(ROOT, page), "utf8").split(new RegExp(`^## ${heading}$`, "m"))[1] ?? "";
  const table = /\n\|[^]*?\n\|---[^\n]*\n((?:\|.*\n)+)/.exec(section)?.[1] ?? "";
  return new Map([...table.matchAll(/^\| `([\w.]+)` \|.*$/gm)].map(([row, name = ""]) => [name, row]));
}

describe("the remedy of a wrong setting", () => {
  it("is one or more sentences, for every setting and every kind of value", () => {
    expect(issues.length).toBeGreaterThan(1000);
    expect(
      issues.filter(({ remedy }) => !/^[^\n]{10,}[.'"]$/.test(remedy)).map(({ path, remedy }) => [path, remedy]),
    ).toEqual([]);
  });

  it("points to README.md only for settings that have a row there, or on the page that their row links", () => {
    expect(pointing.length).toBeGreaterThan(10);
    const settings = rowsOf("README.md", "Settings");
    for (const { path, remedy } of pointing) {
      expect(remedy).toContain("in the tables that README.md of this package has or links");
      const [key = "", option, inner] = path.replace(/\[\d+\]/g, "").split(".");
      const row = settings.get(key);
      expect(row, path).toBeDefined();
      if (option === undefined) continue;
      const page = /\((src\/[\w-]+\/README\.md)#options\)/.exec(row ?? "")?.[1];
      expect(page, path).toBeDefined();
      const options = rowsOf(page ?? "", "Options");
      expect(options.has(option) || options.has(`${option}.${inner}`), `${path} on ${page}`).toBe(true);
    }
  });

  it.each([
    ["sessions", "src/session/README.md", () => sessions({ secret: 1 } as never)],
    ["JwtManager", "src/jwt/README.md", () => new JwtManager({ secret: testSecret(), issuer: "" })],
    ["ApiKeyService", "src/api-key/README.md", () => new ApiKeyService({ secret: 1 } as never)],
  ])("of %s used alone is described where README.md is or leads (%#)", (_name, page, wrong) => {
    const section = readFileSync(join(ROOT, page), "utf8").split(/^## Options$/m)[1] ?? "";
    const [issue] = issuesOf(wrong);
    expect(issue?.remedy).toContain("README.md");
    const name = /^\w+/.exec(issue?.path ?? "")?.[0] ?? "";
    const row = new RegExp(`^\\|.*\\b${name}\\b.*\\|$`, "m");
    expect(section.split("\n## ")[0]).toMatch(row);
    expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(`(${page}`);
  });

  it.each([
    [
      () => new RedisSlidingWindowStore({ client: {} } as never),
      'Write { redis: "redis://host:6379" }, or { redis: client }.',
    ],
    [() => new SlidingWindowStore({ clock: 1 } as never), "Pass a ManualClock from portcullis/testing"],
    [() => parseSettings({ trustedHosts: ["a.example"], trustProxy: ["10.0.0.300"] }), "Write an address (192.0.2.7"],
    [
      () => requireAuth({ scopes: ["*"] }),
      'Write "orders" or "orders:write"; "orders:*" includes every scope below orders.',
    ],
    [() => requireSession({ roles: ["a\nb"] }), 'Write "admin" or "billing:viewer".'],
    [() => new ApiKeyService({ realm: "" }), 'Write a short name of the service, such as "api".'],
  ])("says what to write where no table lists the setting (%#)", (wrong, remedy) => {
    expect(wrong).toThrow(remedy);
  });
});
