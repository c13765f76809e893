import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^portcullis$/, replacement: source("index.ts") },
      { find: /^portcullis\/sql$/, replacement: source("stores/sql/index.ts") },
      { find: /^portcullis\/testing$/, replacement: source("testing/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    sequence: { shuffle: { files: false, tests: false } },
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
