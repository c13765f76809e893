import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../support/code-blocks.js";

/** An entry point of the package, by its name in `exports`, with what it exports. */
export interface Entry {
  readonly name: string;
  readonly exports: ReadonlyMap<string, ts.Symbol>;
}

const DIST = join(ROOT, "dist/esm");

/** The declarations of the built package, as the TypeScript compiler of a user reads them. */
export class PublicFace {
  readonly checker: ts.TypeChecker;
  readonly entries: readonly Entry[];

  constructor() {
    const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
      exports: Record<string, string | { import: { types: string } }>;
    };
    const files = Object.entries(exports).flatMap(([name, target]) =>
      typeof target === "string" ? [] : [{ name: join("portcullis", name), path: join(ROOT, target.import.types) }],
    );
    const program = ts.createProgram(
      files.map(({ path }) => path),
      {
        module: ts.ModuleKind.NodeNext,
        target: ts.ScriptTarget.ES2022,
        strict: true,
        esModuleInterop: true,
        skipLibCheck: true,
        types: ["node"],
      },
    );
    this.checker = program.getTypeChecker();
    this.entries = files.map(({ name, path }) => {
      const source = program.getSourceFile(path);
      const module = source && this.checker.getSymbolAtLocation(source);
      if (module === undefined) throw new Error(`${path} exports nothing.`);
      const found = this.checker
        .getExportsOfModule(module)
        .map((symbol) => [symbol.name, this.resolve(symbol)] as const);
      return { name, exports: new Map(found) };
    });
  }

  /** What a name stands for: the symbol behind imports and re-exports. */
  resolve(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(symbol) : symbol;
  }

  /** Whether the file that declares it exports it. */
  isExported(symbol: ts.Symbol): boolean {
    const file = symbol.declarations?.[0]?.getSourceFile();
    const module = file && this.checker.getSymbolAtLocation(file);
    return module?.exports?.has(symbol.escapedName) ?? false;
  }
}

/** Whether it is declared in the package itself; `zod.d.ts` holds declarations of another one. */
export function isOurs(symbol: ts.Symbol): boolean {
  const files = symbol.declarations?.map((declaration) => declaration.getSourceFile().fileName) ?? [];
  return files.some((file) => file.startsWith(DIST) && !file.endsWith("/zod.d.ts"));
}
