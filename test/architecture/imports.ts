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
    specifiers(readFileSync(join(folder, from), "utf8"))
      .filter((specifier) => specifier.startsWith("."))
      .map((specifier) => ({
        from,
        to: posix.join(posix.dirname(from), specifier).replace(/\.js$/, ".ts"),
      })),
  );
}

/** What a file imports, as written. */
export function specifiers(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
}
