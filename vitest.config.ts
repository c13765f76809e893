import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { findChromium } from "./test/browser/support/find-chromium.js";
import { filesWithoutTheirServer } from "./test/support/servers/needed.js";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What `import "portcullis"` means in a test: the source, or what was built from it. */
const aliases = (folder: "src" | "dist/esm", ending: "ts" | "js") => [
  { find: /^portcullis$/, replacement: at(`${folder}/index.${ending}`) },
  { find: /^portcullis\/redis$/, replacement: at(`${folder}/stores/redis/index.${ending}`) },
  { find: /^portcullis\/sql$/, replacement: at(`${folder}/stores/sql/index.${ending}`) },
  { find: /^portcullis\/mcp$/, replacement: at(`${folder}/mcp/index.${ending}`) },
  { find: /^portcullis\/testing$/, replacement: at(`${folder}/testing/index.${ending}`) },
];

const leftOut = filesWithoutTheirServer(at("."));
for (const { engine, file } of leftOut)
  process.stderr.write(`not run: ${file} (it starts and kills a private ${engine}, which is not installed)\n`);
const withoutServer = leftOut.map(({ file }) => file);

const withoutBrowser = findChromium() === undefined ? ["test/browser/**"] : [];
if (withoutBrowser.length > 0)
  process.stderr.write("not run: test/browser (it needs Chromium or Chrome; npm run setup installs it on Debian)\n");

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // One less than there are processors would be one of two.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        resolve: { alias: aliases("src", "ts") },
        test: {
          name: "source",
          include: ["test/**/*.test.ts"],
          exclude: ["test/packaging/**", "test/types/**", "test/fault/**", ...withoutServer, ...withoutBrowser],
          setupFiles: "test/property/seed.ts",
          globalSetup: "test/support/servers-present.ts",
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Servers are stopped and killed under load for two minutes, and answers are timed: run by itself, npm run test:faults.
        resolve: { alias: aliases("src", "ts") },
        test: {
          name: "faults",
          include: ["test/fault/**/*.test.ts"],
          exclude: withoutServer,
          globalSetup: "test/support/servers-present.ts",
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The public face once more, against the built package: a build step must not change what the source does.
        resolve: { alias: aliases("dist/esm", "js") },
        test: {
          name: "built",
          include: [
            "test/pipeline/**/*.test.ts",
            "test/packaging/**/*.test.ts",
            "test/types/**/*.test.ts",
            "test/contract/**/*.test.ts",
          ],
          exclude: withoutServer,
          globalSetup: ["test/support/servers-present.ts", "test/support/build.ts"],
          testTimeout: 20_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
