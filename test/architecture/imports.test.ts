import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { type Import, importsBelow, sourceFiles } from "./imports.js";
import { folderOf, foldersOf, HOUSE, type Room } from "./rooms.js";

const src = join(ROOT, "src");
const files = sourceFiles(src);
const imports = importsBelow(src);
const folders = foldersOf(HOUSE);

/** The way round for each import that closes a cycle: "a → b → a". */
function cycles(all: readonly Import[]): string[] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of all) targets.set(from, [...(targets.get(from) ?? []), to]);
  const found: string[] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at !== -1) found.push([...path.slice(at), file].join(" → "));
    if (at !== -1 || finished.has(file)) return;
    path.push(file);
    for (const next of targets.get(file) ?? []) visit(next);
    path.pop();
    finished.add(file);
  };
  for (const file of targets.keys()) visit(file);
  return found;
}

/** Whether a file of one folder may not import a file of the other: it is above, or beside it where folders are separate. */
function isWrong(from: string, to: string, room: Room = HOUSE): boolean {
  const rows = room.rows ?? [];
  const place = (folder: string): Room | undefined => rows.flat().find((inner) => foldersOf(inner).includes(folder));
  const [above, below] = [place(from), place(to)];
  if (above === undefined || below === undefined) return false;
  if (above === below) return isWrong(from, to, above);
  const rowOf = (inner: Room): number => rows.findIndex((row) => row.includes(inner));
  return rowOf(below) < rowOf(above) || (rowOf(below) === rowOf(above) && room.areSeparate === true);
}

/** Imports that point up, or from a layer to another: "core/a.ts → stores/b.ts". */
function wrongImports(all: readonly Import[]): string[] {
  return all
    .filter(({ from, to }) => isWrong(folderOf(from, folders), folderOf(to, folders)))
    .map(({ from, to }) => `${from} → ${to}`);
}

describe("the imports of src", () => {
  it("go round nowhere, not even for a type", () => {
    expect(cycles(imports)).toEqual([]);
  });

  it("point down: to no room above, and from no layer to another", () => {
    expect(wrongImports(imports)).toEqual([]);
  });
});

describe("a wrong import is found", () => {
  it.each([
    ["over two files", "core/runtime.ts", "core/request-state.ts"],
    ["over many files", "core/clock.ts", "layers.ts"],
    ["of a file by itself", "core/clock.ts", "core/clock.ts"],
  ])("that closes a cycle %s", (_which, from, to) => {
    const found = cycles([...imports, { from, to }]);
    expect(found).not.toEqual([]);
    for (const text of found) {
      const way = text.split(" → ");
      expect(way.at(-1)).toBe(way[0]);
      expect(`${text} → ${way[1]}`).toContain(`${from} → ${to}`);
    }
  });

  it.each([
    ["from core to a store", "core/clock.ts", "stores/contracts.ts"],
    ["from core to a layer", "core/http/authority.ts", "csrf/decide.ts"],
    ["from core to the settings", "core/clock.ts", "settings/errors.ts"],
    ["from the settings to a store", "settings/object.ts", "stores/contracts.ts"],
    ["from a store to a layer", "stores/redis/client.ts", "session/settings.ts"],
    ["from the health of stores to a store", "stores/health/outage.ts", "stores/redis/client.ts"],
    ["from a layer to another", "csrf/decide.ts", "cors/decide.ts"],
    ["from a layer to the settings of the whole", "jwt/keys/key-ring.ts", "app-settings/parse.ts"],
    ["from a layer to the table of layers", "jwt/keys/key-ring.ts", "layers.ts"],
    ["from the settings of the whole to the table of layers", "app-settings/parse.ts", "layers.ts"],
    ["from the settings of the whole to MCP", "app-settings/parse.ts", "mcp/verifier.ts"],
  ])("that points %s", (_which, from, to) => {
    expect(files).toContain(from);
    expect(files).toContain(to);
    expect(wrongImports([...imports, { from, to }])).toEqual([`${from} → ${to}`]);
  });

  it.each([
    ["from a layer to a store", "csrf/decide.ts", "stores/contracts.ts"],
    ["from the settings to core", "settings/object.ts", "core/clock.ts"],
    ["from a room of a layer to the layer", "jwt/keys/key-ring.ts", "jwt/settings.ts"],
    ["from a folder of core to another", "core/http/json-body.ts", "core/response/refuse.ts"],
  ])("and none that points %s", (_which, from, to) => {
    expect(wrongImports([...imports, { from, to }])).toEqual([]);
  });
});
