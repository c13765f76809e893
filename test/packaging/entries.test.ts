import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";

const ENTRIES = [
  "portcullis",
  "portcullis/redis",
  "portcullis/sql",
  "portcullis/mcp",
  "portcullis/accounts",
  "portcullis/testing",
];
const PAIRS = ENTRIES.flatMap((one, index) => ENTRIES.slice(index + 1).map((other) => [one, other] as const));

/** Packages that only some protections and stores need. */
const OPTIONAL = ["cors", "express-session", "jsonwebtoken", "argon2", "kysely", "redis", "ioredis", "pg", "mysql2"];

/** Runs code in this folder, where the package finds itself and the optional peers. */
function evaluate(type: "module" | "commonjs", code: string, flags: readonly string[] = []): unknown {
  const args = [...flags, `--input-type=${type}`, "--no-warnings", "--eval", code];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" }));
}

/** The names that two entries both export, and those of them that are two things. */
const COMPARE = (load: string): string => `(async () => {
  const load = async (entry) => ${load};
  const result = {};
  for (const [one, other] of ${JSON.stringify(PAIRS)}) {
    const [a, b] = [await load(one), await load(other)];
    const shared = Object.keys(a).filter((name) => name in b && !["default", "module.exports"].includes(name));
    result[one + " and " + other] = { shared: shared.length, doubled: shared.filter((name) => a[name] !== b[name]) };
  }
  const { RedisSlidingWindowStore, SlidingWindowStore, PortcullisError, SetupError, rateLimiter } = await load("portcullis");
  const redis = await load("portcullis/redis");
  const sql = await load("portcullis/sql");
  let failure;
  try { await sql.openSqlite("sqlite:/nowhere/at/all.db"); } catch (error) { failure = error; }
  const window = new redis.RedisSlidingWindowStore({ redis: "redis://127.0.0.1:1" });
  rateLimiter({ store: window });
  result.instances = [
    window instanceof RedisSlidingWindowStore,
    failure instanceof PortcullisError || failure instanceof SetupError || failure.name,
  ];
  await window.close?.();
  console.log(JSON.stringify(result));
  process.exit(0);
})()`;

describe.each([
  ["module", "import(entry)"],
  ["commonjs", "require(entry)"],
] as const)("the entries of the package as %s", (type, load) => {
  it("share their classes and functions, each pair of them", { timeout: 60_000 }, () => {
    const { instances, ...pairs } = evaluate(type, COMPARE(load)) as Record<
      string,
      { shared: number; doubled: string[] }
    > & { instances: unknown };
    expect(Object.keys(pairs)).toHaveLength(PAIRS.length);
    expect(Object.values(pairs).reduce((sum, { shared }) => sum + shared, 0)).toBeGreaterThan(0);
    for (const [pair, { doubled }] of Object.entries(pairs)) expect(doubled, pair).toEqual([]);
    expect(instances).toEqual([true, true]);
  });

  it("load no package and no part of a protection that is off", { timeout: 60_000 }, () => {
    const files = (use: string): string[] =>
      evaluate(
        type,
        `(async () => {
          const load = async (entry) => ${load};
          const { default: express } = await import("express");
          const { applySecurity } = await load("portcullis");
          ${use};
          const { Module, createRequire } = await import("node:module");
          const cache = Object.keys(Module._cache ?? createRequire(process.cwd() + "/x").cache);
          console.log(JSON.stringify(cache));
          process.exit(0);
        })()`,
      ) as string[];
    const loadedBy = (use: string): { packages: string[]; parts: string[] } => {
      const loaded = files(use);
      return {
        packages: OPTIONAL.filter((name) => loaded.some((file) => file.includes(`/node_modules/${name}/`))),
        parts: loaded.flatMap((file) => /dist\/cjs\/parts\/([\w-]+)\.js$/.exec(file)?.[1] ?? []).sort(),
      };
    };
    const trustedHosts = ["a.example"];
    const secretKey = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
    const cors = { origins: ["https://a.example"] };
    const all = { trustedHosts, secretKey, cors, session: {}, apiKeys: {}, jwt: {} };
    const [core, seven] = [{ trustedHosts }, all].map(
      (settings) => `const security = applySecurity(express(), ${JSON.stringify(settings)})`,
    );

    expect(loadedBy("")).toEqual({ packages: [], parts: ["main", "rolldown-runtime"] });
    expect(loadedBy(`${core}`)).toEqual({ packages: [], parts: ["main", "rolldown-runtime"] });
    const { packages, parts } = loadedBy(`${seven}`);
    expect(packages).toEqual(["cors", "express-session"]);
    expect(parts).toEqual(expect.arrayContaining(["api-key", "cors", "credentials", "jwt", "session"]));
    for (const part of ["database", "environment", "issuers", "jose", "json-schema", "public-suffixes", "redis"])
      expect(parts).not.toContain(part);
    // Before the first token comes.
    expect(loadedBy(`${seven}; await security.ready()`).packages).toEqual(["cors", "express-session", "jsonwebtoken"]);
    // Issuers need jose only when a token of theirs comes.
    const issuers = [{ issuer: "https://login.example.com", audience: "a", algorithms: ["RS256"] }];
    const foreign = `const security = applySecurity(express(), ${JSON.stringify({ trustedHosts, jwt: { issuers } })})`;
    const ofIssuers = loadedBy(`${foreign}`);
    expect(ofIssuers.packages).toEqual([]);
    expect(ofIssuers.parts).toEqual(expect.arrayContaining(["issuers", "jwt"]));
    expect(ofIssuers.parts).not.toContain("jose");
  });
});

describe("an app of both formats", () => {
  it("has each class and function once", { timeout: 60_000 }, () => {
    const code = `(async () => {
      const { createRequire } = await import("node:module");
      const require = createRequire(process.cwd() + "/x.js");
      const doubled = [];
      for (const entry of ${JSON.stringify(ENTRIES)}) {
        const [imported, required] = [await import(entry), require(entry)];
        for (const name of Object.keys(required)) if (imported[name] !== required[name]) doubled.push(entry + " " + name);
      }
      console.log(JSON.stringify(doubled));
      process.exit(0);
    })()`;
    expect(evaluate("module", code)).toEqual([]);
  });
});

describe("the CommonJS build", () => {
  it("says what to install where Node.js cannot load an ES module by require", { timeout: 60_000 }, () => {
    const code = `(async () => {
      const { applySecurity } = require("portcullis");
      const security = applySecurity(require("express")(), { debug: true, apiKeys: {}, database: "sqlite::memory:" });
      const { name, message } = await security.ready().catch((error) => error);
      console.log(JSON.stringify(name + ": " + message));
      process.exit(0);
    })()`;
    expect(evaluate("commonjs", code, ["--no-experimental-require-module"])).toBe(
      "SetupError: A database needs the package kysely in a version with CommonJS, or Node.js 20.19, 22.12 or later. Install such a version with: npm install kysely@0.28",
    );
  });

  it("has no import(), which Jest cannot run, and requires its packages by literal names", () => {
    const folder = join(ROOT, "dist/cjs");
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".js"));
    const code = files.map((name) => readFileSync(join(folder, name), "utf8").replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, ""));
    expect(files.length).toBeGreaterThan(4);
    // After `async` stands a method of this name.
    for (const text of code) expect(text.match(/(?<![\w.$"'`]|\basync )import\(/g) ?? []).toEqual([]);
    for (const name of ["helmet", "cors", "express-rate-limit", "jsonwebtoken", "express-session", "argon2"])
      expect(
        code.some((text) => text.includes(`require("${name}")`)),
        name,
      ).toBe(true);
  });
});
