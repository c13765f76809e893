import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { specifiers } from "./imports.js";

/** A file of `src` to the files of `src` that it imports, by `import type` and `import()` too. */
type Imports = ReadonlyMap<string, readonly string[]>;

const LAYERS = ["headers", "trusted-host", "cors", "rate-limit", "csrf", "session", "api-key", "jwt"];
/** From the lowest to the highest. Folders of one row import neither each other nor a row above them. */
const ROWS: readonly (readonly string[])[] = [
  ["core"],
  ["settings"],
  ["stores"],
  LAYERS,
  ["app-settings", "mcp", "server", "testing"],
  ["."],
  ["accounts"],
];

function importsOf(read: ReadonlyMap<string, string>): Imports {
  const imports = new Map<string, string[]>();
  for (const [file, text] of read) {
    const own = specifiers(text).filter((name) => name.startsWith("."));
    imports.set(
      file,
      own.map((name) => posix.join(posix.dirname(file), name).replace(/\.js$/, ".ts")),
    );
  }
  return imports;
}

/** One way round for each file that can be reached from itself by the files after it: "a → b → a". */
function cycles(imports: Imports): string[] {
  const found: string[] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at !== -1) found.push([...path.slice(at), file].join(" → "));
    if (at !== -1 || finished.has(file)) return;
    path.push(file);
    for (const next of imports.get(file) ?? []) visit(next);
    path.pop();
    finished.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return found;
}

/** The folder of `ROWS` that a file is in. */
function folderOf(file: string): string {
  return ROWS.flat().find((folder) => file.startsWith(`${folder}/`)) ?? ".";
}

const rowOf = (folder: string): number => ROWS.findIndex((row) => row.includes(folder));

/** Imports that point up or to a neighbour: "core/a.ts → stores/b.ts". */
function wrongImports(imports: Imports): string[] {
  return [...imports].flatMap(([file, targets]) => {
    const folder = folderOf(file);
    return targets
      .filter((target) => folderOf(target) !== folder && rowOf(folderOf(target)) >= rowOf(folder))
      .map((target) => `${file} → ${target}`);
  });
}

const files = (readdirSync(join(ROOT, "src"), { recursive: true }) as string[]).filter((name) => name.endsWith(".ts"));
const source = new Map(
  files.map((name) => [name.replaceAll("\\", "/"), readFileSync(join(ROOT, "src", name), "utf8")]),
);

describe("the imports of the source", () => {
  const imports = importsOf(source);

  it("are all read by this test", () => {
    expect(imports.size).toBeGreaterThan(200);
    const targets = [...imports.values()].flat();
    expect(targets.length).toBeGreaterThan(imports.size);
    expect(targets.filter((target) => !imports.has(target))).toEqual([]);
  });

  it("form no cycle, not even of types", () => {
    expect(cycles(imports)).toEqual([]);
  });

  it("point down: never to a folder above, nor from one layer to another", () => {
    expect(wrongImports(imports)).toEqual([]);
  });

  it("come from folders that are in the order of this test", () => {
    const folders = new Set(files.filter((name) => name.includes("/")).map((name) => name.split("/")[0]));
    expect([...folders].filter((folder) => !ROWS.flat().includes(folder ?? ""))).toEqual([]);
  });
});

describe("a forbidden import is found", () => {
  const withImport = (file: string, line: string): Imports =>
    importsOf(new Map([...source, [file, `${source.get(file) ?? ""}\n${line}\n`]]));

  it.each([
    ["of a value", 'import { RequestState } from "./request-state.js";'],
    ["of a type", 'import type { RequestState } from "./request-state.js";'],
    ["of a type in an expression", 'export type S = import("./request-state.js").RequestState;'],
    ["while the program runs", 'export const later = () => import("./request-state.js");'],
    ["that is exported on", 'export type { RequestState } from "./request-state.js";'],
  ])("that closes a cycle: %s", (_kind, line) => {
    const cycle = "core/request-state.ts → core/runtime.ts → core/request-state.ts";
    const turned = "core/runtime.ts → core/request-state.ts → core/runtime.ts";
    const found = cycles(withImport("core/runtime.ts", line));
    expect(
      found.some((text) => text === cycle || text === turned),
      found.join("\n"),
    ).toBe(true);
  });

  it.each([
    ["of a file by itself", "core/clock.ts", "./clock.js", "core/clock.ts → core/clock.ts"],
    ["over three files", "core/clock.ts", "./request-state.js", "core/clock.ts"],
  ])("that closes a cycle: %s", (_kind, file, target, text) => {
    expect(cycles(withImport(file, `import "${target}";`)).join("\n")).toContain(text);
  });

  it.each([
    ["from core to a store", "core/clock.ts", "stores/contracts.ts"],
    ["from core to a layer", "core/http/authority.ts", "csrf/decide.ts"],
    ["from core to the toolkit of the settings", "core/clock.ts", "settings/object.ts"],
    ["from core to the errors of the settings", "core/clock.ts", "settings/errors.ts"],
    ["from the toolkit of the settings to a store", "settings/object.ts", "stores/contracts.ts"],
    ["from a store to a layer", "stores/redis/client.ts", "session/settings.ts"],
    ["from a layer to another", "csrf/decide.ts", "cors/decide.ts"],
    ["from a layer to the settings of the whole", "jwt/keys/key-ring.ts", "app-settings/parse.ts"],
    ["from a layer to the table of layers", "jwt/keys/key-ring.ts", "layers.ts"],
    ["from the settings of the whole to the table of layers", "app-settings/parse.ts", "layers.ts"],
    ["from the settings of the whole to the verifier for MCP", "app-settings/parse.ts", "mcp/verifier.ts"],
    ["from applySecurity to accounts", "apply-security.ts", "accounts/users.ts"],
  ])("that points up or sideways: %s", (_which, file, target) => {
    const path = posix.relative(posix.dirname(file), target).replace(/\.ts$/, ".js");
    const line = `import type {} from "${path.startsWith(".") ? path : `./${path}`}";`;
    expect(wrongImports(withImport(file, line))).toEqual([`${file} → ${target}`]);
  });
});
