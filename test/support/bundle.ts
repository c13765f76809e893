import { mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Alias, build } from "vite";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export interface Bundle {
  /** The folder with one `<name>.mjs` for each program. */
  readonly folder: string;
  remove(): void;
}

/** Packages of many ES modules, which take Node longer to find than to run. */
const BUNDLED = ["ipaddr.js", "jose", "kysely", "lru-cache", "zod"];

/**
 * Bundles TypeScript programs, with the source of the library, for plain Node. A process starts in a third of the time that it
 * takes where a loader compiles each file.
 *
 * @param programs file by name, both relative: the file to the repository, the name to the folder
 * @param alias modules to replace; other packages stay outside of the bundle
 */
export async function bundle(
  programs: Readonly<Record<string, string>>,
  alias: readonly Alias[] = [],
): Promise<Bundle> {
  // Below node_modules, where Node finds the packages.
  const folder = mkdtempSync(at("node_modules/.test-programs-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  // Also after Ctrl+C, when vitest ends nothing that has been set up.
  process.once("exit", remove);
  await build({
    configFile: false,
    root: at("."),
    logLevel: "warn",
    resolve: { alias: [...alias] },
    ssr: { noExternal: [...BUNDLED] },
    build: {
      ssr: true,
      target: "node20",
      outDir: folder,
      minify: false,
      rolldownOptions: {
        input: Object.fromEntries(Object.entries(programs).map(([name, file]) => [name, at(file)])),
        output: { entryFileNames: "[name].mjs", chunkFileNames: "[name].mjs" },
      },
    },
  });
  return { folder, remove };
}
