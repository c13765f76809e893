import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startRedis } from "../support/servers.js";
import { Project } from "./support/project.js";

/** What the tests of an app do, for any runner: keys with argon2, a database, Redis, a session, a token. */
const CASES = `const assert = require("node:assert/strict");

module.exports = (express, portcullis) => {
  const secretKey = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
  async function served(settings, routes, check) {
    const app = express();
    const security = portcullis.applySecurity(app, { debug: true, secretKey, ...settings });
    routes(app, security);
    await security.ready();
    const server = await new Promise((resolve) => { const s = app.listen(0, "127.0.0.1", () => resolve(s)); });
    try {
      await check("http://127.0.0.1:" + server.address().port, security);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await security.close();
    }
  }
  const whoAmI = (app, security) =>
    app.get("/me", security.requireAuth(), (req, res) => void res.json({ id: req.principal.id }));
  async function withKey(url, security) {
    const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
    const good = await fetch(url + "/me", { headers: { "X-API-Key": key } });
    assert.equal(good.status + " " + (await good.text()), '200 {"id":"ada"}');
    assert.equal((await fetch(url + "/me")).status, 401);
  }
  return {
    "an API key hashed with argon2": () => served({ apiKeys: {} }, whoAmI, withKey),
    "an API key in a database": () => served({ apiKeys: {}, database: "sqlite::memory:" }, whoAmI, withKey),
    "an access token": () => served({ jwt: {} }, whoAmI, async (url, security) => {
      const { accessToken } = await security.jwt.issue("ada", {});
      const good = await fetch(url + "/me", { headers: { authorization: "Bearer " + accessToken } });
      assert.equal(good.status, 200);
    }),
    "a limit and a session in Redis": () => served(
      { redis: process.env.REDIS_URL, redisPrefix: "test-" + process.pid + ":", session: {}, rateLimit: { limit: 2 } },
      (app, security) => {
        whoAmI(app, security);
        app.get("/login", (req, res, next) => { security.logIn(req, { id: "ada" }).then(() => res.send("ok"), next); });
      },
      async (url) => {
        const login = await fetch(url + "/login");
        const cookie = login.headers.getSetCookie()[0].split(";")[0];
        const me = await fetch(url + "/me", { headers: { cookie } });
        assert.equal(login.status + " " + me.status, "200 200");
        assert.equal((await fetch(url + "/me", { headers: { cookie } })).status, 429);
      },
    ),
  };
};
`;

const COMMONJS = `const cases = require("./cases.cjs")(require("express"), require("portcullis"));
for (const [name, run] of Object.entries(cases)) test(name, run);
`;
const MODULE = `import express from "express";
import * as portcullis from "portcullis";
import makeCases from "./cases.cjs";
for (const [name, run] of Object.entries(makeCases(express, portcullis))) test(name, run);
`;
const NUMBER_OF_CASES = 4;

const RUNNERS = [
  {
    name: "Jest in CommonJS",
    file: "cjs.test.js",
    code: COMMONJS,
    command: ["jest", "--detectOpenHandles", "--testTimeout=60000"],
    says: `Tests:       ${NUMBER_OF_CASES} passed`,
  },
  {
    name: "Jest with ES modules",
    file: "esm.test.mjs",
    code: MODULE,
    command: [
      "node",
      "--experimental-vm-modules",
      "node_modules/jest/bin/jest.js",
      "--testMatch=**/*.test.mjs",
      "--testTimeout=60000",
    ],
    says: `Tests:       ${NUMBER_OF_CASES} passed`,
  },
  {
    name: "Vitest",
    file: "vitest.spec.mjs",
    code: `import { test } from "vitest";\n${MODULE}`,
    command: ["vitest", "run", "vitest.spec.mjs", "--testTimeout=60000"],
    says: `${NUMBER_OF_CASES} passed`,
  },
  {
    name: "node:test",
    file: "node.mjs",
    code: `import { test } from "node:test";\n${MODULE}`,
    command: ["node", "--test", "node.mjs"],
    says: `pass ${NUMBER_OF_CASES}`,
  },
  {
    name: "tsx",
    file: "tsx.mts",
    code: `import { test } from "node:test";\n${MODULE}`,
    command: ["tsx", "--test", "tsx.mts"],
    says: `pass ${NUMBER_OF_CASES}`,
  },
];

describe.each(["4", "5"])("the tests of an app with Express %s", (version) => {
  const project = new Project("commonjs");
  let redis: RunningServer;
  beforeAll(async () => {
    // Kysely 0.29 has no CommonJS, which Jest and Node 20 need.
    await project.install(`express@${version}`, "kysely@0.28", "libsql", "redis", "jest@30", "vitest@4", "tsx@4");
    project.write("cases.cjs", CASES);
    redis = await startRedis();
  }, 600_000);
  afterAll(async () => {
    project.remove();
    await redis.close();
  });

  it.each(RUNNERS)(
    "pass in $name, which ends by itself",
    { timeout: 300_000 },
    async ({ file, code, command, says }) => {
      project.write(file, code);
      const [program = "", ...args] = command;
      const { status, output } = await project.run(program, args, { REDIS_URL: redis.url });
      expect(output.replace(/\x1b\[[0-9;]*m/g, "").replace(/ +\(\d+\)$/gm, "")).toContain(says);
      expect(output).not.toMatch(/did not exit|open handle/i);
      expect(status).toBe(0);
    },
  );
});
