import ts from "typescript";
import { describe, expect, it } from "vitest";
import { isOurs, PublicFace } from "./public-face.js";

const face = new PublicFace();
const FLAGS = ts.TypeFormatFlags.NoTruncation | ts.TypeFormatFlags.UseStructuralFallback;

const textOf = (type: ts.Type): string => face.checker.typeToString(type, undefined, FLAGS);

/** The compiler lists the literals of a union in the order in which it first met each, in whatever file. */
const inOrder = (text: string): string =>
  text.replace(/"[^"|]*"(?: \| "[^"|]*")+/g, (literals) => literals.split(" | ").sort().join(" | "));

/** The members that this package declares, with their types: those of Node's classes and of Error are not listed. */
function membersOf(type: ts.Type): string[] {
  return face.checker
    .getPropertiesOfType(type)
    .filter((member) => !/^(?:__#|#)/.test(member.name) && (isOurs(member) || member.declarations === undefined))
    .map((member) => {
      const optional = member.flags & ts.SymbolFlags.Optional ? "?" : "";
      // The name of a member that a symbol names has a number that differs from run to run.
      return `  ${member.name.replace(/@\d+$/, "")}${optional}: ${textOf(face.checker.getTypeOfSymbol(member))}`;
    })
    .sort();
}

/** What an app can see of an export, without documentation and in a fixed order. */
function describeExport(name: string, symbol: ts.Symbol): string {
  const { checker } = face;
  if (symbol.flags & ts.SymbolFlags.Class) {
    const constructors = checker.getTypeOfSymbol(symbol).getConstructSignatures();
    const made = constructors.map((signature) => `  new ${checker.signatureToString(signature, undefined, FLAGS)}`);
    const statics = membersOf(checker.getTypeOfSymbol(symbol))
      .filter((line) => !line.startsWith("  prototype:"))
      .map((line) => `  static${line.slice(1)}`);
    return [`class ${name}`, ...made, ...statics, ...membersOf(checker.getDeclaredTypeOfSymbol(symbol))].join("\n");
  }
  if (symbol.flags & ts.SymbolFlags.Interface)
    return [`interface ${name}`, ...membersOf(checker.getDeclaredTypeOfSymbol(symbol))].join("\n");
  if (symbol.flags & ts.SymbolFlags.TypeAlias) {
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    return `type ${name} = ${checker.typeToString(type, undefined, FLAGS | ts.TypeFormatFlags.InTypeAlias)}`;
  }
  const kind = symbol.flags & ts.SymbolFlags.Function ? "function" : "const";
  return `${kind} ${name}: ${textOf(checker.getTypeOfSymbol(symbol))}`;
}

describe("the public API", () => {
  it.each(face.entries.map((entry) => [entry.name, entry] as const))(
    "of %s is that of its snapshot; npx vitest run -u test/types/api.test.ts takes an intended change",
    async (name, { exports }) => {
      const lines = [...exports]
        .map(([exported, symbol]) => describeExport(exported, symbol))
        .sort()
        .join("\n\n");
      await expect(`${inOrder(lines)}\n`).toMatchFileSnapshot(`api/${name.replace("/", "-")}.txt`);
    },
  );
});
