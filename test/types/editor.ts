import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../support/code-blocks.js";

/** What an editor shows on hovering a name: its type, and its documentation as plain text. */
export interface Hover {
  readonly type: string;
  readonly text: string;
}

/** The files that are not the user's own are parsed once for all editors. */
const registry = ts.createDocumentRegistry();

/** An editor with one file of a user open, who has installed the built package. */
export class Editor {
  readonly #path: string;
  readonly #service: ts.LanguageService;

  constructor(name: "user.ts" | "user.js", text: string, dist = join(ROOT, "dist/esm")) {
    // Inside the repository, so that express is found; nothing is written there.
    const path = (this.#path = join(ROOT, name));
    const options: ts.CompilerOptions = {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      strict: true,
      allowJs: true,
      checkJs: false,
      esModuleInterop: true,
      skipLibCheck: true,
      noEmit: true,
      types: ["node"],
      paths: { portcullis: [join(dist, "index.d.ts")], "portcullis/*": [join(dist, "*.d.ts")] },
    };
    this.#service = ts.createLanguageService(
      {
        getCompilationSettings: () => options,
        getScriptFileNames: () => [path],
        getScriptVersion: (file) => (file === path ? text : "1"),
        getScriptSnapshot: (file) => {
          const content = file === path ? text : existsSync(file) ? readFileSync(file, "utf8") : undefined;
          return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content);
        },
        getCurrentDirectory: () => ROOT,
        getDefaultLibFileName: (given) => ts.getDefaultLibFilePath(given),
        fileExists: (file) => file === path || ts.sys.fileExists(file),
        readFile: (file) => (file === path ? text : ts.sys.readFile(file)),
        directoryExists: ts.sys.directoryExists,
      },
      registry,
    );
  }

  hover(position: number): Hover {
    const info = this.#service.getQuickInfoAtPosition(this.#path, position);
    return {
      type: ts.displayPartsToString(info?.displayParts),
      text: ts.displayPartsToString(info?.documentation),
    };
  }

  /** The errors of the file, by the line they are on (from 1). */
  errors(): { readonly line: number; readonly message: string }[] {
    const found = [
      ...this.#service.getSyntacticDiagnostics(this.#path),
      ...this.#service.getSemanticDiagnostics(this.#path),
    ];
    return found.map(({ file, start = 0, messageText }) => ({
      line: (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1,
      message: ts.flattenDiagnosticMessageText(messageText, "\n"),
    }));
  }
}
