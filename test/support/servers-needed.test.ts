import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { installLines } from "../support/servers/binaries.js";
import { givenUrl } from "../support/servers/needed.js";

describe("what the tests need", () => {
  test("the install lines name each missing engine for Debian, macOS and Docker", () => {
    expect(installLines(["redis", "postgres"])).toMatchInlineSnapshot(`
      "The tests run on real servers and do not find Redis, PostgreSQL.
      They start private ones by themselves (free ports, a temporary folder) from what is installed:
        Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y redis-server postgresql
        macOS:           brew install redis postgresql@16
        Docker:          docker run -d -p 6379:6379 redis:7 && export REDIS_URL=redis://127.0.0.1:6379
        Docker:          docker run -d -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres:16 && export DATABASE_URL="$DATABASE_URL postgres://postgres@127.0.0.1:5432/postgres"
      \`npm run setup\` installs what is missing on Debian and Ubuntu."
    `);
  });

  test("DATABASE_URL may name one server of each engine", () => {
    const env = { REDIS_URL: "", DATABASE_URL: "postgresql://a@h/one  mysql://b@h/two" };
    expect([givenUrl("redis", env), givenUrl("postgres", env), givenUrl("mariadb", env)]).toEqual([
      undefined,
      "postgresql://a@h/one",
      "mysql://b@h/two",
    ]);
  });

  test("README's command and the one that CI counts are the same", () => {
    const command = "npm install && npm run setup && npm test";
    expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain(`\n${command}\n`);
    expect(readFileSync(join(ROOT, ".ci/run"), "utf8")).toContain(`\n${command} -- `);
  });
});

describe(".ci/setup", () => {
  let bin = "";
  beforeAll(() => {
    bin = mkdtempSync(join(tmpdir(), "portcullis-setup-"));
  });
  afterAll(() => rmSync(bin, { recursive: true, force: true }));

  /** The script as it is, but with every program it looks for in a folder of ours; a browser is there unless it is said not to be. */
  function setUp(
    given: Record<string, string | undefined>,
    env: Record<string, string> = {},
    tools = ["sh", "tr", "id", "env", "cat", "openssl"],
  ): { status: number | null; stdout: string; stderr: string } {
    const here = mkdtempSync(join(bin, "case-"));
    for (const [name, body] of Object.entries({ chromium: "", nginx: "", ...given })) {
      if (body === undefined) continue;
      writeFileSync(join(here, name), `#!/bin/sh\n${body}\n`);
      chmodSync(join(here, name), 0o755);
    }
    const links = tools
      .map((name) => `[ -e "${here}/${name}" ] || ln -s "$(command -v ${name})" "${here}/${name}"`)
      .join("; ");
    execFileSync("/bin/sh", ["-c", links]);
    const script = readFileSync(join(ROOT, ".ci/setup"), "utf8").replace(/ \/usr\/sbin .*; do/, "; do");
    return spawnSync("/bin/sh", ["-c", script], { env: { PATH: here, ...env }, encoding: "utf8" });
  }

  test("installs what is missing, and that only", () => {
    const { status, stdout } = setUp({ "redis-server": "", "apt-get": 'echo "apt-get $*"', sudo: '"$@"' });
    expect(status).toBe(0);
    expect(stdout.split("\n").filter((line) => line.startsWith("apt-get"))).toEqual([
      "apt-get update",
      "apt-get install -y --no-install-recommends postgresql mariadb-server",
    ]);
  });

  test("openssl and nginx are installed with the servers, for the tests of TLS and of a recipe", () => {
    const { status, stdout } = setUp(
      { "redis-server": "", initdb: "", mariadbd: "", nginx: undefined, "apt-get": 'echo "apt-get $*"', sudo: '"$@"' },
      {},
      ["sh", "tr", "id", "env", "cat"],
    );
    expect(status).toBe(0);
    expect(stdout).toContain("apt-get install -y --no-install-recommends openssl nginx\n");
  });

  test("does nothing when all is there or given", () => {
    const all = setUp({ "redis-server": "", initdb: "", mariadbd: "", "apt-get": "exit 9" });
    expect([all.status, all.stdout]).toEqual([0, "setup: Redis, PostgreSQL and MariaDB are there\n"]);
    expect(
      setUp({ "apt-get": "exit 9" }, { REDIS_URL: "redis://h", DATABASE_URL: "postgres://h mysql://h" }).status,
    ).toBe(0);
  });

  test("an engine is given by either of its names, wherever it stands in DATABASE_URL", () => {
    const env = { DATABASE_URL: "mysql://h/one postgresql://h/two", REDIS_URL: "redis://h" };
    expect(setUp({ "apt-get": "exit 9" }, env).status).toBe(0);
    expect(
      setUp({ "apt-get": 'echo "apt-get $*"', sudo: '"$@"' }, { ...env, DATABASE_URL: "postgres://h/mysql:x" }).stdout,
    ).toContain("mariadb-server\n");
  });

  test("a browser is installed where it can be, and does without where it cannot", () => {
    const servers = { "redis-server": "", initdb: "", mariadbd: "", chromium: undefined };
    const had = setUp({ ...servers, id: "echo 0", "apt-get": 'echo "apt-get $*"' });
    expect([had.status, had.stdout.split("\n").at(-2)]).toEqual([
      0,
      "apt-get install -y --no-install-recommends chromium",
    ]);
    for (const without of [
      {},
      { id: "echo 1000", "apt-get": "" },
      { id: "echo 0", "apt-get": '[ "$1" = update ] || exit 100' },
    ]) {
      const { status, stderr } = setUp({ ...servers, ...without });
      expect([status, stderr]).toEqual([0, "setup: no Chromium here; the browser tests will be left out\n"]);
    }
  });

  /** Each line of what the tests print when a server is missing, save its first two and its last, which are about the tests. */
  const linesToRun = installLines(["redis", "postgres", "mariadb"]).split("\n").slice(2, -1);

  test.each([
    ["there is no apt-get", {}, "no apt-get here"],
    [
      "the user is not root and has no sudo",
      { id: "echo 1000", "apt-get": "exit 9" },
      "this user is not root and there is no sudo",
    ],
    ["sudo refuses", { id: "echo 1000", "apt-get": "", sudo: "exit 1" }, "apt-get could not install them"],
    [
      "a package is not found",
      { id: "echo 0", "apt-get": '[ "$1" = update ] || exit 100' },
      "apt-get could not install them",
    ],
  ])("prints what to run on Debian, macOS and with Docker when %s, and fails", (_when, programs, why) => {
    const { status, stderr } = setUp(programs);
    expect(status).toBe(1);
    expect(stderr).toContain(`setup: ${why}. Install the missing servers and run this again:\n`);
    for (const line of linesToRun) expect(stderr.split("\n")).toContain(line);
  });

  test("installs with what is there when the lists cannot be brought up to date", () => {
    const { status, stdout, stderr } = setUp({
      id: "echo 0",
      "apt-get": 'echo "apt-get $*"; [ "$1" = install ] || exit 100',
    });
    expect(status).toBe(0);
    expect(stdout).toContain("apt-get install -y --no-install-recommends redis-server postgresql mariadb-server\n");
    expect(stderr).toContain("going on with the lists that are there");
  });
});
