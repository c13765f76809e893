import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { findChromium } from "./test/browser/support/find-chromium.js";
import { filesWithoutTheirServer } from "./test/support/servers/needed.js";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What `import "portcullis"` means in a test: the source, or what was built from it. */
const source = [
  { find: /^portcullis$/, replacement: at("src/index.ts") },
  { find: /^portcullis\/redis$/, replacement: at("src/stores/redis/index.ts") },
  { find: /^portcullis\/sql$/, replacement: at("src/stores/sql/index.ts") },
  { find: /^portcullis\/mcp$/, replacement: at("src/mcp/index.ts") },
  { find: /^portcullis\/accounts$/, replacement: at("src/accounts/index.ts") },
  { find: /^portcullis\/testing$/, replacement: at("src/testing/index.ts") },
];
const built = [
  { find: /^portcullis$/, replacement: at("dist/esm/index.js") },
  { find: /^portcullis\/(redis|sql|mcp|accounts|testing)$/, replacement: at("dist/esm/$1.js") },
];

const leftOut = filesWithoutTheirServer(at("."));
for (const { engine, file } of leftOut)
  process.stderr.write(`not run: ${file} (it starts and kills a private ${engine}, which is not installed)\n`);
const withoutServer = leftOut.map(({ file }) => file);

const withoutBrowser = findChromium() === undefined ? ["test/browser/**"] : [];
if (withoutBrowser.length > 0)
  process.stderr.write("not run: test/browser (it needs Chromium or Chrome; npm run setup installs it on Debian)\n");

/** These ask the built package alone: users install it and run the READMEs' examples on it. */
const builtAlone = [
  "test/packaging/**/*.test.ts",
  "test/types/**/*.test.ts",
  "test/readme/quick-start.test.ts",
  "test/readme/readme.test.ts",
  "test/examples/migration.test.ts",
  "test/examples/nginx.test.ts",
  "test/examples/other-logins.test.ts",
  "test/examples/production.test.ts",
  "test/examples/serverless.test.ts",
  "test/examples/tenants.test.ts",
  "test/server/neighbours.test.ts",
];
/** Projects as users have them, each installed from the packed tarball: minutes, so `.ci/run` adds them to `npm test`. */
const stacks = [
  ...["typescript", "runners", "pnpm"].map((name) => `test/packaging/${name}.test.ts`),
  "test/readme/testing-page.test.ts",
];
/** These run on the source and once more on what was built from it. */
const alsoBuilt = [
  "test/contract/factories.test.ts",
  "test/contract/sqlite.test.ts",
  "test/pipeline/apply-security.test.ts",
  "test/pipeline/bad-input.test.ts",
  "test/pipeline/deny-by-default.test.ts",
  "test/pipeline/mounted-apps.test.ts",
  "test/pipeline/serverless-adapters.test.ts",
];

/** The files that took more than 15 s when each was measured, longest first. */
const LONGEST = [
  "accounts/model/gate-model",
  "attacks/attacks",
  "examples/fleet",
  "browser/accounts",
  "fleet/accounts-races",
  "fleet/single-use",
  "readme/readme",
  "fleet/two-processes",
  "stores/health/deadlines",
  "contract/sql-servers",
  "stores/sql/many-processes",
  "stores/sql/lost-commit",
  "stores/sql/killed-process",
  "session/sessions-of-one",
  "fleet/exactness",
  "property/limiter",
  "stores/memory/sliding-window/overflow",
  "stores/sql/revocation-cost",
].map((name) => at(`test/${name}.test.ts`));

/**
 * Long files begin first, so that no worker is left with one of them at the end. Files of a project stay together, because a
 * worker keeps the modules it has loaded as long as its next file is of the same project. The simulation comes last: its
 * files wait for processes that run beside all others.
 */
class LongestFirst extends BaseSequencer {
  override async sort(specifications: TestSpecification[]): Promise<TestSpecification[]> {
    const projects = ["stacks", "built", "source", "simulation"];
    const place = ({ project, moduleId }: TestSpecification): number => {
      const long = LONGEST.indexOf(moduleId);
      return projects.indexOf(project.name) * 1000 + (long < 0 ? LONGEST.length : long);
    };
    return (await super.sort(specifications)).sort((one, other) => place(one) - place(other));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two on two processors: three took as long, and made calls late that have 250 ms.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        resolve: { alias: source },
        test: {
          name: "source",
          include: ["test/**/*.test.ts"],
          exclude: [
            ...builtAlone,
            ...stacks,
            "test/fault/**",
            "test/simulation/**",
            ...withoutServer,
            ...withoutBrowser,
          ],
          setupFiles: ["test/property/seed.ts", "test/support/leaves-no-trace.ts"],
          // A worker keeps the modules it has loaded for its next file: to load the library takes most files longer than their tests.
          isolate: false,
          // Concurrent tests wait, for the ends of sessions above all.
          maxConcurrency: 50,
          // Properties make much that lives briefly; with this room the collector runs half as often.
          execArgv: ["--max-semi-space-size=64"],
          globalSetup: "test/support/servers-present.ts",
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Runs in processes of its own beside all other tests; the package scripts and LongestFirst let its result come last.
        resolve: { alias: source },
        test: {
          name: "simulation",
          include: ["test/simulation/**/*.test.ts"],
          globalSetup: "test/simulation/start.ts",
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        // Servers are stopped and killed under load for two minutes, and answers are timed: run by itself, npm run test:faults.
        resolve: { alias: source },
        test: {
          name: "faults",
          include: ["test/fault/**/*.test.ts"],
          exclude: withoutServer,
          globalSetup: "test/support/servers-present.ts",
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        // The built package, where it can differ from the source: test/README.md says in what.
        resolve: { alias: built },
        test: {
          name: "built",
          include: [...builtAlone, ...alsoBuilt],
          exclude: [...stacks, ...withoutServer],
          isolate: false,
          // The entries in dist/esm import them, as they are, by Node.js.
          server: { deps: { external: [/\/dist\/cjs\//] } },
          globalSetup: ["test/support/servers-present.ts", "test/support/build.ts"],
          // The source is served by app.listen of secured apps; the build by http.createServer(app).
          env: { PORTCULLIS_PLAIN_SERVER: "1" },
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "stacks",
          include: stacks,
          exclude: withoutServer,
          globalSetup: ["test/support/servers-present.ts", "test/support/build.ts"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
