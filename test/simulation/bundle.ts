import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bundle, bundle } from "../support/bundle.js";

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/**
 * Bundles the simulation as `run.mjs` and, for tests, as `in-bundle.mjs`, with what replaces `pg`, `redis` and `lru-cache`.
 * In plain Node a seed takes about a fifth less than in vitest, where each use of an imported name is a look-up in an object.
 */
export async function bundleSimulation(): Promise<Bundle> {
  // The library imports these by a name in a variable, so Node has to find packages of these names.
  const packages = ["pg", "redis"];
  const replaced = packages.map((name) => [`node_modules/${name}/index`, `test/simulation/world/${name}.ts`]);
  const programs = ["run", "in-bundle"].map((name) => [name, `test/simulation/${name}.ts`]);
  const made = await bundle(Object.fromEntries([...programs, ...replaced]) as Record<string, string>, [
    { find: /^portcullis$/, replacement: at("src/index.ts") },
    { find: /^portcullis\/sql$/, replacement: at("src/stores/sql/index.ts") },
    { find: /^lru-cache$/, replacement: at("test/simulation/world/small-lru.ts") },
  ]);
  for (const name of packages)
    writeFileSync(join(made.folder, `node_modules/${name}/package.json`), JSON.stringify({ main: "index.mjs" }));
  return made;
}
