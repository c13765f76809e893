import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The quick tests of what is mutated, for `stryker.config.json`, which runs them a few thousand times. */
export default defineConfig({
  root: at("../.."),
  test: {
    include: [
      "test/*/decide.test.ts",
      "test/accounts/*/decide*.test.ts",
      "test/accounts/passwords/policy.test.ts",
      "test/accounts/factors/{attempts,codes}.test.ts",
      "test/*/settings.test.ts",
      "test/settings/*.test.ts",
      "test/app-settings/*.test.ts",
    ],
    // Loads the whole library and starts servers; `test/settings` says the same of the settings alone.
    exclude: ["test/pipeline/**"],
    setupFiles: [at("quick.ts")],
    // Stryker has a time limit of its own, which tells an endless loop from a busy machine.
    testTimeout: 60_000,
  },
});
