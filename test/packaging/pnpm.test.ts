import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pack, Project } from "./support/project.js";

const APP = `import express, { type Express } from "express";
import { applySecurity } from "portcullis";

const app: Express = express();
const security = applySecurity(app, {
  debug: true,
  secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
  cors: { origins: ["https://*.example.com"] },
  session: {},
  apiKeys: {},
  jwt: {},
});
app.get("/me/:part", security.requireAuth(), (req, res) => void res.json([req.principal?.id, req.params.part]));
const server = app.listen(0, "127.0.0.1", async () => {
  const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const answer = await fetch("http://127.0.0.1:" + port + "/me/name", { headers: { "X-API-Key": key } });
  console.log(answer.status, await answer.text());
  server.close();
  server.closeAllConnections();
  await security.close();
});
`;

describe("an app that pnpm installs, which links only what the app itself depends on", () => {
  const tools = new Project("module");
  const project = new Project("module");
  beforeAll(async () => {
    expect(await tools.run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "pnpm@10"])).toMatchObject(
      {
        status: 0,
      },
    );
    const packages = ["express@5", "@types/express@5", "@types/node@20", "typescript@6", "tsx@4"];
    const args = ["add", "--prefer-offline", `--store-dir=${join(tools.folder, "store")}`, pack().tarball, ...packages];
    const { status, output } = await project.run(join(tools.folder, "node_modules/.bin/pnpm"), args);
    if (status !== 0) throw new Error(`pnpm add failed: ${output}`);
    project.write("app.ts", APP);
  }, 300_000);
  afterAll(() => {
    project.remove();
    tools.remove();
  });

  it("has none of the library's dependencies in its own folder", () => {
    const packages = readdirSync(join(project.folder, "node_modules")).filter((name) => !name.startsWith("."));
    expect(packages.sort()).toEqual(["@types", "express", "portcullis", "tsx", "typescript"]);
  });

  it("runs with all protections, and its keys are hashed with argon2", { timeout: 60_000 }, async () => {
    const { status, output } = await project.run("tsx", ["app.ts"]);
    expect(output).toContain('200 ["ada","name"]');
    expect(status).toBe(0);
  });

  it("compiles strictly, types of packages included", { timeout: 120_000 }, async () => {
    const options = ["--noEmit", "--strict", "--skipLibCheck", "false", "--module", "nodenext", "--target", "es2022"];
    expect(await project.run("tsc", [...options, "--types", "node", "app.ts"])).toEqual({ status: 0, output: "" });
  });
});
