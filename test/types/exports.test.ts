import ts from "typescript";
import { describe, expect, it } from "vitest";
import { isOurs, PublicFace } from "./public-face.js";

const face = new PublicFace();

/**
 * The types of our own that a declaration refers to and that cannot be imported. A schema (`z.input<typeof schema>`) is how a
 * type is computed and no name of its own: the types inside it count.
 */
function unexported(name: string, symbol: ts.Symbol, exported: ReadonlySet<ts.Symbol>): string[] {
  const found = new Set<string>();
  const seen = new Set<ts.Symbol>([symbol]);
  const visit = (node: ts.Node): void => {
    if (ts.isPrivateIdentifier(node)) return;
    if (ts.isModuleDeclaration(node)) return;
    if (ts.isIdentifier(node) && !isNameOfDeclaration(node)) refer(node);
    ts.forEachChild(node, visit);
  };
  const refer = (node: ts.Identifier): void => {
    const at = face.checker.getSymbolAtLocation(node);
    const target = at && face.resolve(at);
    if (target === undefined || !isOurs(target) || exported.has(target) || seen.has(target)) return;
    seen.add(target);
    const isType = target.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias);
    // An alias for use in its own file alone is a way of writing: the types inside it count.
    const isHelper = target.flags & ts.SymbolFlags.TypeAlias && !face.isExported(target);
    if (isHelper) target.declarations?.forEach(visit);
    else if (isType) found.add(`${name} → ${target.name}`);
    else if (target.flags & (ts.SymbolFlags.Variable | ts.SymbolFlags.Function)) target.declarations?.forEach(visit);
  };
  symbol.declarations?.forEach(visit);
  return [...found];
}

/** The name of what is declared here, or of a member or parameter, refers to nothing. */
function isNameOfDeclaration(node: ts.Identifier): boolean {
  return (node.parent as Partial<ts.NamedDeclaration>).name === node;
}

describe("every type in a public signature", () => {
  const root = face.entries[0];
  it.each(face.entries.map((entry) => [entry.name, entry] as const))(
    "%s exports it, or portcullis does",
    (_name, entry) => {
      const exported = new Set([...(root?.exports.values() ?? []), ...entry.exports.values()]);
      expect(entry.exports.size).toBeGreaterThan(0);
      expect([...entry.exports].flatMap(([name, symbol]) => unexported(name, symbol, exported))).toEqual([]);
    },
  );
});

describe("the name of a type", () => {
  it("ends in Settings, Resolved…Settings, Dependencies or Input, never in Options or Deps", () => {
    const names = face.entries.flatMap(({ exports }) => [...exports.keys()]);
    expect(names.filter((name) => /(?:Options|Option|Deps|Params|Config)$/.test(name))).toEqual([]);
    const resolved = names.filter((name) => name.startsWith("Resolved"));
    expect(resolved.length).toBeGreaterThan(8);
    // What was parsed is named after what was written.
    expect(resolved.filter((name) => !names.includes(name.slice("Resolved".length)))).toEqual([]);
  });
});
