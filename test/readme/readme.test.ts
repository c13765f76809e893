import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EVENT_LEVELS } from "../../src/core/events.js";
import { REFUSALS } from "../../src/core/response/problem.js";
import { SETTINGS_CODES } from "../../src/settings/errors.js";
import { codeBlocks, readmes, ROOT } from "../support/code-blocks.js";
import { sharedRedis } from "../support/servers.js";
import { readFileSync } from "node:fs";

const blocks = readmes()
  .flatMap(codeBlocks)
  .filter(({ info }) => info.startsWith("ts"));
// Inside the repository, so that `portcullis` is the built package by its export map and others are found as an app would find them.
const folder = join(ROOT, "test/readme/blocks");
const nameOf = (where: string): string => where.replace(/[^A-Za-z0-9]+/g, "-");
/** The last line of each example prints it. */
const HAS_RUN = "the example has run to its last line";
/** What fails after the last line, such as a server that cannot listen, has failed by then, in milliseconds. */
const AFTERWARDS = 2000;
let compiled: { readonly stdout: string; readonly status: number | null };

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const { where, code } of blocks)
    writeFileSync(
      join(folder, `${nameOf(where)}.ts`),
      `${code}\nconsole.log(${JSON.stringify(HAS_RUN)});\nexport {};\n`.replace(/listen\(3000\b/g, "listen(0"),
    );
  const compilerOptions = {
    paths: {},
    noEmit: false,
    rootDir: ".",
    outDir: "built",
    noUnusedLocals: false,
    noUnusedParameters: false,
  };
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: join(ROOT, "tsconfig.json"), compilerOptions, include: ["*.ts"], exclude: [] }),
  );
  compiled = spawnSync(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", folder], {
    encoding: "utf8",
  });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("every code block", () => {
  it("is found, and every layer's README shows an incorrect use too", () => {
    const layers = readmes().filter((path) =>
      /src\/(headers|trusted-host|cors|rate-limit|csrf|session|api-key|jwt)\//.test(path),
    );
    expect(layers).toHaveLength(8);
    for (const path of layers) {
      const infos = codeBlocks(path).map(({ info }) => info);
      expect(infos, path).toContain("ts");
      expect(infos, path).toContain("ts incorrect");
    }
  });

  it("takes a body that is absent for an empty one: Express 5 leaves req.body undefined", () => {
    const taken = blocks
      .filter(({ info }) => info === "ts")
      .flatMap(({ code }) => [...code.matchAll(/^.*\} = .*req\.body.*$/gm)].map(([line]) => line));
    expect(taken.length).toBeGreaterThan(0);
    expect(taken.filter((line) => !line.includes("req.body ?? {}"))).toEqual([]);
  });

  it("sends nobody to another site after the log-in", () => {
    const [, source = ""] = /\/(\^.*)\/\.test\(returnTo\)/.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
    const pattern = new RegExp(source);
    const paths = ["/", "/orders?a=b#c", "/%2F", "/a//b"];
    const others = [
      "",
      "orders",
      "//evil.example",
      "/\\evil.example",
      "/\t/evil.example",
      "/\n",
      "https://evil.example",
      "/ü",
    ];
    expect(paths.filter((path) => pattern.test(path))).toEqual(paths);
    expect(others.filter((path) => pattern.test(path))).toEqual([]);
  });

  it("compiles against the built declarations", () => {
    expect(compiled.stdout).toBe("");
    expect(compiled.status).toBe(0);
  });

  it.concurrent.each(blocks.filter(({ info }) => info === "ts").map(({ where }) => where))(
    "%s runs",
    { timeout: 60_000 },
    async (where) => {
      const cwd = mkdtempSync(join(tmpdir(), "portcullis-readme-"));
      try {
        const child = spawn(process.execPath, [join(folder, "built", `${nameOf(where)}.js`)], {
          cwd,
          env: {
            ...process.env,
            SECRET_KEY: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
            SESSION_SECRET_KEY: "Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE",
            REDIS_URL: (await sharedRedis()).url,
            ALLOWED_HOSTS: "api.example.com",
            DEBUG: "",
            PORTCULLIS_DEBUG: "",
            METRICS_PORT: "0",
          },
          stdio: ["ignore", "pipe", "pipe"],
        });
        let output = "";
        child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
        // A server goes on listening.
        const ended = await new Promise<number | null | "running">((resolve) => {
          child.once("exit", resolve);
          child.stdout.on("data", (chunk: Buffer) => {
            const hadRun = output.includes(HAS_RUN);
            output += chunk.toString();
            if (!hadRun && output.includes(HAS_RUN)) setTimeout(() => resolve("running"), AFTERWARDS);
          });
        });
        if (ended === "running") child.kill("SIGKILL");
        expect(["running", 0], output).toContain(ended);
        expect(output).toContain(HAS_RUN);
        expect(output).not.toMatch(/Error/);
      } finally {
        rmSync(cwd, { recursive: true, force: true });
      }
    },
  );
});

describe("every code has its page", () => {
  const codesIn = (path: string) =>
    [...readFileSync(join(ROOT, path), "utf8").matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1]);
  it("refusals", () => {
    expect(codesIn("src/core/README.md").sort()).toEqual(Object.keys(REFUSALS).sort());
  });
  it("settings", () => {
    expect(codesIn("src/settings/README.md").sort()).toEqual([...SETTINGS_CODES].sort());
  });
  it("events, with their levels, the fields they have, and something in the source that announces each", () => {
    const section = /\n## Events\n([^]*?)\n## /.exec(readFileSync(join(ROOT, "src/core/README.md"), "utf8"))?.[1] ?? "";
    const rows = [...section.matchAll(/^\| `([a-z_]+)` \| ([A-Z]+) \| .{10,} \|$/gm)].map(([, name, level]) => [
      name,
      level,
    ]);
    expect(rows).toEqual(Object.entries(EVENT_LEVELS));
    const declared =
      /interface SecurityEvent \{([^]*?)\n\}/.exec(readFileSync(join(ROOT, "src/core/events.ts"), "utf8"))?.[1] ?? "";
    const fields = [...declared.matchAll(/readonly (\w+)\??:/g)].map(([, name = ""]) => name);
    expect(fields.length).toBeGreaterThan(10);
    const list = section.slice(0, section.indexOf("| event |"));
    expect(fields.filter((name) => !list.includes(`\`${name}\``))).toEqual([]);
    const source = (readdirSync(join(ROOT, "src"), { recursive: true }) as string[])
      .filter((name) => name.endsWith(".ts") && !/core.events\.ts$/.test(name))
      .map((name) => readFileSync(join(ROOT, "src", name), "utf8"))
      .join("\n");
    expect(Object.keys(EVENT_LEVELS).filter((name) => !source.includes(`"${name}"`))).toEqual([]);
  });
});
