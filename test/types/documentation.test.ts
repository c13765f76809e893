import ts from "typescript";
import { describe, expect, it } from "vitest";
import { Editor } from "./editor.js";
import { isOurs, PublicFace } from "./public-face.js";

const face = new PublicFace();

/** Everything that can be imported, with the entry it comes from. Entries share some. */
const EXPORTS = face.entries.flatMap(({ name, exports }) =>
  [...exports].map(([exported, symbol]) => ({ entry: name, name: exported, symbol })),
);

const textOf = (symbol: ts.Symbol): string => ts.displayPartsToString(symbol.getDocumentationComment(face.checker));

/** The members of a class or interface that are declared here, statics included; without private ones and constructors. */
function membersOf(symbol: ts.Symbol): ts.Symbol[] {
  if (!(symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface))) return [];
  const members = [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])];
  return members.filter(
    ({ name, flags }) =>
      !name.startsWith("__") &&
      !name.startsWith("#") &&
      flags & (ts.SymbolFlags.Method | ts.SymbolFlags.Property | ts.SymbolFlags.Accessor),
  );
}

/** Rows of tables, whose columns bear the names of the fields of `StoredApiKey` and `StoredRefreshToken`. */
const ROWS = /^(?:\w+Table|PortcullisTables)$/;

describe("documentation", () => {
  it("exists for everything that can be imported", () => {
    expect(EXPORTS.length).toBeGreaterThan(150);
    expect(
      EXPORTS.filter(({ symbol }) => textOf(symbol).length < 15).map(({ entry, name }) => `${entry}: ${name}`),
    ).toEqual([]);
  });

  it("exists for every method and property of a class or interface that can be imported", () => {
    const members = EXPORTS.filter(({ name }) => !ROWS.test(name)).flatMap(({ name, symbol }) =>
      membersOf(symbol).map((member) => ({ name, member })),
    );
    expect(members.length).toBeGreaterThan(200);
    const bare = members.filter(({ member }) => isOurs(member) && textOf(member).length < 10);
    expect([...new Set(bare.map(({ name, member }) => `${name}.${member.name}`))]).toEqual([]);
  });
});

/** What an app calls or constructs. Errors are for catching. */
const CALLABLE = EXPORTS.filter(
  ({ name, symbol }) => symbol.flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Class) && !name.endsWith("Error"),
);

const examplesOf = (symbol: ts.Symbol): string[] =>
  symbol
    .getJsDocTags(face.checker)
    .filter(({ name }) => name === "example")
    .map(({ text }) => /```ts\n([^]*?)```/.exec(ts.displayPartsToString(text))?.[1] ?? "no code block");

describe("an example", () => {
  it("exists for every function and class that can be imported", () => {
    expect(CALLABLE.length).toBeGreaterThan(35);
    expect(
      CALLABLE.filter(({ symbol }) => examplesOf(symbol).length === 0).map(({ entry, name }) => `${entry}: ${name}`),
    ).toEqual([]);
  });

  it("compiles, each by itself", { timeout: 120_000 }, () => {
    const examples = new Set(EXPORTS.flatMap(({ symbol }) => examplesOf(symbol)));
    // In one program for speed: each in a function of its own, with the imports of all at the top.
    const imports = new Map<string, Set<string>>();
    const bodies = [...examples].map((code, index) => {
      const body = code.replace(
        /^import (?:(\w+)|\{ ([^}]+) \}) from "([^"]+)";\n/gm,
        (_all, whole: string, names: string, from: string) => {
          const found = imports.get(from) ?? new Set<string>();
          imports.set(from, found);
          if (whole !== undefined) found.add(`default as ${whole}`);
          for (const name of names?.split(", ") ?? []) found.add(name);
          return "\n";
        },
      );
      return `export async function example${index}() {\n${body}\n}`;
    });
    const header = [...imports]
      .map(([from, names]) => `import { ${[...names].join(", ")} } from "${from}";`)
      .join("\n");
    const text = `${header}\n${bodies.join("\n")}`;
    const lines = text.split("\n");
    const errors = new Editor("user.ts", text).errors();
    expect(errors.map(({ line, message }) => `${lines[line - 1]}: ${message}`)).toEqual([]);
  });
});
