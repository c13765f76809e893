// What is measured is the source as the build compiles it, but each module as a file of its own, so that parts can be
// measured which the published bundle does not export.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { options } from "./options.mjs";

const require = createRequire(import.meta.url);
let compiled;

/** Compiles every module into a folder below node_modules, where Node finds the packages. */
async function compile() {
  const modules = fileURLToPath(new URL("../../../../node_modules/", import.meta.url));
  const folder = mkdtempSync(join(modules, ".bench-micro-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const bundle = await rolldown({
    input: readdirSync(options.src, { recursive: true })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => join(options.src, path)),
    platform: "node",
    external: (id) => !id.startsWith(".") && !id.startsWith("/"),
    tsconfig: false,
  });
  await bundle.write({
    dir: folder,
    format: "esm",
    preserveModules: true,
    preserveModulesRoot: options.src,
    entryFileNames: "[name].mjs",
  });
  return folder;
}

/** A module of the library, by its path below src with the ending .js. */
export async function built(path) {
  const folder = await (compiled ??= compile());
  const file = join(folder, path.replace(/\.js$/, ".mjs"));
  if (!existsSync(file)) throw new Error(`there is no module ${path}`);
  return import(pathToFileURL(file).href);
}

/** The version of an installed package, read beside its entry because not every package exports its package.json. */
export function versionOf(name) {
  let folder = dirname(require.resolve(name));
  for (;;) {
    const file = join(folder, "package.json");
    if (existsSync(file)) {
      const { name: found, version } = JSON.parse(readFileSync(file, "utf8"));
      if (found === name && version !== undefined) return version;
    }
    if (folder === dirname(folder)) throw new Error(`no package.json of ${name}`);
    folder = dirname(folder);
  }
}
