import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../support/code-blocks.js";
import { pack, Project, type Run } from "./support/project.js";

const project = new Project("module");
beforeAll(() => project.install("express@5"), 240_000);
afterAll(() => project.remove());

function run(file: string, code: string): Promise<Run> {
  project.write(file, code);
  return project.run(process.execPath, [file], { SECRET_KEY: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E" });
}

const BODY = `
const app = express();
const security = applySecurity(app, { debug: true, secretKey: process.env.SECRET_KEY, session: {}, apiKeys: { hash: "hmac-sha256" }, jwt: {} });
app.get("/", security.requireApiKey(), (req, res) => { res.json({ hello: req.principal.id }); });
const server = app.listen(0, "127.0.0.1", async () => {
  const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
  const url = "http://127.0.0.1:" + server.address().port + "/";
  const good = await fetch(url, { headers: { "X-API-Key": key } });
  const bad = await fetch(url);
  console.log(good.status, await good.text(), bad.status, good.headers.get("content-security-policy"));
  server.close(); server.closeAllConnections();
  await security.close();
});
`;

describe("the packed package", () => {
  it("works from ESM, and the process ends by itself after close()", async () => {
    const { status, output } = await run(
      "esm.mjs",
      `import express from "express";\nimport { applySecurity } from "portcullis";\n${BODY}`,
    );
    expect(output).toContain('200 {"hello":"ada"} 401 default-src');
    expect(status).toBe(0);
  });

  it("works from CommonJS", async () => {
    const { status, output } = await run(
      "cjs.cjs",
      `const express = require("express");\nconst { applySecurity } = require("portcullis");\n${BODY}`,
    );
    expect(output).toContain('200 {"hello":"ada"} 401 default-src');
    expect(status).toBe(0);
  });

  it("gives the same names by import and by require at every entry of the export map", () => {
    const { exports } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { exports: object };
    const entries = Object.keys(exports)
      .filter((entry) => !entry.endsWith(".json"))
      .map((entry) => entry.replace(/^\./, "portcullis"));
    expect(entries).toEqual([
      "portcullis",
      ...["redis", "sql", "mcp", "accounts", "testing"].map((name) => `portcullis/${name}`),
    ]);
    // In this folder, where the optional peers are.
    const names = (type: "module" | "commonjs", load: string): unknown => {
      const code = `(async () => {
        const names = {};
        for (const entry of ${JSON.stringify(entries)})
          names[entry] = Object.keys(${load}).filter((name) => !["default", "module.exports"].includes(name)).sort();
        console.log(JSON.stringify(names));
      })()`;
      const args = [`--input-type=${type}`, "--eval", code];
      return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" }));
    };
    const found = names("module", "await import(entry)") as Record<string, string[]>;
    for (const entry of entries) expect(found[entry]?.length, entry).toBeGreaterThan(0);
    expect(names("commonjs", "require(entry)")).toEqual(found);
  });

  it("names the install line when the packages of the database are missing", async () => {
    const { output } = await run(
      "nodb.mjs",
      `import express from "express";\nimport { applySecurity } from "portcullis";\nconst s = applySecurity(express(), { debug: true, apiKeys: {}, database: "sqlite::memory:" });\nawait s.ready().catch((error) => console.log(error.name, error.message)); await s.close().catch(() => undefined);`,
    );
    expect(output).toContain("npm install kysely");
  });

  it("explains common mistakes: no hosts, a weak secret, a misspelt setting", async () => {
    const { status, output } = await run(
      "wrong.mjs",
      `import express from "express";\nimport { applySecurity } from "portcullis";\napplySecurity(express(), { secretKey: "secret", rateLimit: { limt: 5 }, session: {} });`,
    );
    expect(status).toBe(1);
    expect(output).toContain("3 settings are wrong");
    expect(output).toContain('Did you mean "limit"?');
  });

  it("has no `any` in a public type", () => {
    const found: string[] = [];
    const types = join(ROOT, "dist/esm");
    const files = readdirSync(types, { recursive: true, encoding: "utf8" }).filter(
      (path) => path.endsWith(".d.ts") && path !== "zod.d.ts",
    );
    expect(files.sort()).toEqual(
      ["accounts", "index", "mcp", "redis", "shared", "sql", "testing"].map((name) => `${name}.d.ts`),
    );
    for (const path of files) {
      const source = ts.createSourceFile(path, readFileSync(join(types, path), "utf8"), ts.ScriptTarget.ES2022, true);
      const visit = (node: ts.Node): void => {
        if (node.kind === ts.SyntaxKind.AnyKeyword) found.push(`${path}: ${node.parent.getText().slice(0, 80)}`);
        ts.forEachChild(node, visit);
      };
      visit(source);
    }
    expect(found).toEqual([]);
  });

  it("exports every name of the contract", async () => {
    const { output } = await run(
      "names.mjs",
      `import * as all from "portcullis"; console.log(JSON.stringify(Object.keys(all).sort()));`,
    );
    for (const name of [
      "applySecurity",
      "securityHeaders",
      "rateLimiter",
      "corsPolicy",
      "trustedHost",
      "sessions",
      "csrfProtection",
      "apiKeyAuth",
      "jwtAuth",
      "SlidingWindowStore",
      "ApiKeyService",
      "JwtManager",
      "SettingsError",
      "SetupError",
      "settingsFromEnv",
      "parseSettings",
    ]) {
      expect(JSON.parse(output) as string[]).toContain(name);
    }
  });

  it("contains the built code and the documents, and nothing else", () => {
    const packedFiles = pack().files;
    expect(packedFiles.length).toBeGreaterThan(30);
    const strays = packedFiles.filter(
      (path) =>
        !/^(dist\/esm\/\w+\.(js|d\.ts)|dist\/cjs\/(\w+\.(js|d\.ts)|parts\/[\w-]+\.js)|dist\/(esm|cjs)\/package\.json|dist\/THIRD-PARTY-LICENSES\.txt|package\.json|(src\/.+\/)?[A-Z]+\.md|examples\/recipes\/[\w-]+\.md|LICENSE|CHANGELOG\.md|SECURITY\.md)$/.test(
          path,
        ),
    );
    expect(strays).toEqual([]);
    expect(readFileSync(join(ROOT, "package.json"), "utf8")).not.toContain("preinstall");
  });
});

/** Packages in a folder of node_modules, and the bytes of their files. */
function sizeOf(folder: string): { packages: number; bytes: number } {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const packages = paths.filter((path) => /(?:^|node_modules\/)(?:@[^/]+\/)?[^/@.][^/]*\/package\.json$/.test(path));
  const bytes = paths.map((path) => statSync(join(folder, path))).reduce((sum, { size }) => sum + size, 0);
  return { packages: packages.length, bytes };
}

describe("what npm installs beside Express", () => {
  const bare = new Project("module");
  let packages = NaN;
  let megabytes = NaN;
  beforeAll(async () => {
    await bare.run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "express@5"]);
    const [all, express] = [project, bare].map(({ folder }) => sizeOf(join(folder, "node_modules")));
    if (all === undefined || express === undefined) throw new Error("Nothing was installed.");
    packages = all.packages - express.packages;
    megabytes = (all.bytes - express.bytes) / 1e6;
  }, 300_000);
  afterAll(() => bare.remove());

  it("is at most 42 packages and 10 MB, without types of others", () => {
    expect(packages).toBeGreaterThan(10);
    expect(packages).toBeLessThanOrEqual(42);
    expect(megabytes).toBeLessThanOrEqual(10);
    expect(readdirSync(join(project.folder, "node_modules"))).not.toContain("@types");
  });

  it("is what README.md says", () => {
    const [, said, size] =
      /adds (\d+) packages and (\d+(?:\.\d)?) MB/.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ?? [];
    // New versions of the dependencies may differ a little.
    expect(Math.abs(Number(said) - packages), `${packages} packages`).toBeLessThanOrEqual(2);
    expect(Math.abs(Number(size) - megabytes), `${megabytes.toFixed(1)} MB`).toBeLessThanOrEqual(0.5);
  });

  it("has the licences of the packages that are bundled", () => {
    const text = readFileSync(join(project.folder, "node_modules/portcullis/dist/THIRD-PARTY-LICENSES.txt"), "utf8");
    for (const name of ["zod", "lru-cache", "ipaddr.js", "tldts"])
      expect(text).toMatch(new RegExp(`^${name.replace(".", "\\.")} \\d+\\.`, "m"));
  });
});
