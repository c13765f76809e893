// What is measured is the package as it is published: dist/esm, never the TypeScript source.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { options } from "./options.mjs";

const require = createRequire(import.meta.url);

/** A module of the built package, by its path below dist/esm. */
export function built(path) {
  const file = join(options.dist, "esm", path);
  if (!existsSync(file)) throw new Error(`${file} is not there: npm run build first`);
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
