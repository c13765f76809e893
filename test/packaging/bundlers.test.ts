import { build, type Format } from "esbuild";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project } from "./support/project.js";

const APP = `import express from "express";
import { applySecurity } from "portcullis";

const app = express();
const security = applySecurity(app, {
  debug: true,
  secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  cors: { origins: ["https://*.example.com"] },
  session: {},
  apiKeys: { hash: "hmac-sha256" },
  jwt: {},
});
app.get("/me", security.requireJwt(), (req, res) => void res.json({ id: req.principal.id }));
const server = app.listen(0, "127.0.0.1", () => {
  (async () => {
    const { accessToken } = await security.jwt.issue("ada", {});
    const headers = { authorization: "Bearer " + accessToken };
    const answer = await fetch("http://127.0.0.1:" + server.address().port + "/me", { headers });
    console.log(answer.status, await answer.text());
    server.close();
    await security.close();
  })();
});
`;
/** CommonJS packages in a bundle of ES modules call `require` for Node's own modules. */
const REQUIRE = 'import { createRequire as make } from "node:module"; const require = make(import.meta.url);';

describe("an app bundled by esbuild", () => {
  const project = new Project("commonjs");
  const elsewhere = new Project("commonjs");
  beforeAll(async () => {
    // A bundler follows the code that opens databases, which imports kysely.
    await project.install("express@5", "kysely@0.28");
    project.write("app.mjs", APP);
    project.write("required.cjs", APP.replace(/import (.*) from (".*");/g, "const $1 = require($2);"));
  }, 300_000);
  afterAll(() => {
    project.remove();
    elsewhere.remove();
  });

  const bundle = async (entry: string, format: Format, external: readonly string[]): Promise<string> => {
    const name = `${entry}.${format === "esm" ? "mjs" : "cjs"}`;
    await build({
      entryPoints: [join(project.folder, entry)],
      outfile: join(elsewhere.folder, name),
      bundle: true,
      platform: "node",
      format,
      logLevel: "silent",
      // Native; an app with argon2 ships it.
      external: ["argon2", ...external],
      ...(format === "esm" ? { banner: { js: REQUIRE } } : {}),
    });
    return name;
  };

  it.each([
    ["app.mjs", "cjs"],
    ["app.mjs", "esm"],
    ["required.cjs", "cjs"],
  ] as const)("%s as %s runs where no package is installed", { timeout: 120_000 }, async (entry, format) => {
    const { status, output } = await elsewhere.run("node", ["--no-warnings", await bundle(entry, format, [])]);
    expect(output.trim()).toBe('200 {"id":"ada"}');
    expect(status).toBe(0);
  });

  it("names the package that a bundle lacks, and the way out", { timeout: 120_000 }, async () => {
    const { status, output } = await elsewhere.run("node", [await bundle("app.mjs", "cjs", ["jsonwebtoken"])]);
    expect(output).toContain("The package jsonwebtoken cannot be found.");
    expect(output).toContain("--external:portcullis");
    expect(status).toBe(1);
  });
});
