import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import ts from "typescript";

/** One import statement between two files below `src`; both paths are relative to it. */
export interface Import {
  readonly from: string;
  readonly to: string;
}

/** The TypeScript files below a folder, relative to it, in a fixed order. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".ts"))
    .sort();
}

/** Every import from one file of the folder to another: of values and of types, re-exports, `import()` and `import("…").Type`. */
export function importsBelow(folder: string): Import[] {
  return sourceFiles(folder).flatMap((from) =>
    specifiers(from, readFileSync(join(folder, from), "utf8"))
      .filter((specifier) => specifier.startsWith("."))
      .map((specifier) => ({
        from,
        to: posix.join(posix.dirname(from), specifier).replace(/\.js$/, ".ts"),
      })),
  );
}

/** What a file imports, as written. */
export function specifiers(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node);
    if (specifier !== undefined && ts.isStringLiteralLike(specifier)) found.push(specifier.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function specifierOf(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier;
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return node.argument.literal;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) return node.arguments[0];
  return undefined;
}
