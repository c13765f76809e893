import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningServer, startRedis } from "../support/servers.js";
import { openHandles } from "./support/open-handles.js";
import { Project } from "./support/project.js";

/** What the tests of an app do, for any runner: keys with argon2, a database, Redis, a session, a token. */
const CASES = `const assert = require("node:assert/strict");
const { threadId } = require("node:worker_threads");

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
    "a token of another issuer, and one of ours with EdDSA": async () => {
      const crypto = require("node:crypto");
      const { privateKey, publicKey } = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
      const keys = [{ ...publicKey.export({ format: "jwk" }), kid: "k", alg: "ES256", use: "sig" }];
      const issuer = require("node:http").createServer((req, res) => res.end(JSON.stringify({ keys })));
      await new Promise((resolve) => issuer.listen(0, "127.0.0.1", resolve));
      const iss = "http://127.0.0.1:" + issuer.address().port;
      const entry = { issuer: iss, jwksUri: iss + "/jwks", audience: "api", algorithms: ["ES256"] };
      const ed = crypto.generateKeyPairSync("ed25519").privateKey;
      const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
      const now = Math.floor(Date.now() / 1000);
      const input = part({ alg: "ES256", kid: "k" }) + "." + part({ iss, sub: "ada", aud: "api", iat: now, exp: now + 60 });
      const signature = crypto.sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" });
      try {
        await served({ jwt: { algorithm: "EdDSA", privateKey: ed, issuers: [entry] } }, whoAmI, async (url, security) => {
          const ask = async (token) => (await fetch(url + "/me", { headers: { authorization: "Bearer " + token } })).text();
          assert.equal(await ask(input + "." + signature.toString("base64url")), JSON.stringify({ id: iss + "|ada" }));
          assert.equal(await ask((await security.jwt.issue("ada")).accessToken), '{"id":"ada"}');
        });
      } finally {
        issuer.closeAllConnections();
        await new Promise((resolve) => issuer.close(resolve));
      }
    },
    "a person who logs in, in a database": () => {
      const { createAccounts } = require("portcullis/accounts");
      const ada = { id: "1", login: "ada" };
      let accounts;
      return served({ session: {}, database: "sqlite::memory:" }, (app, security) => {
        accounts = createAccounts(security, {
          baseUrl: "http://localhost:3000",
          users: { findByLogin: (login) => (login === "ada" ? ada : undefined), findById: (id) => (id === "1" ? ada : undefined) },
        });
        app.use("/account", accounts.routes());
        whoAmI(app, security);
      }, async (url) => {
        assert.deepEqual(await accounts.passwords.check("1qaz2wsx3edc4rfv", {}), { ok: false, reasons: ["common"] });
        await accounts.passwords.set("1", "correct horse battery staple");
        const logIn = (password) => fetch(url + "/account/login", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ login: "ada", password }),
        });
        assert.equal((await logIn("not the right password")).status, 401);
        const right = await logIn("correct horse battery staple");
        assert.equal(await right.text(), '{"status":"done"}');
        const cookie = right.headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
        assert.equal(await (await fetch(url + "/me", { headers: { cookie } })).text(), '{"id":"1"}');
      });
    },
    "a limit and a session in Redis": () => served(
      { redis: process.env.REDIS_URL, redisPrefix: "test-" + process.pid + "-" + threadId + ":", session: {}, rateLimit: { limit: 2 } },
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
const NUMBER_OF_CASES = 6;

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

/** The cases at once in the main thread and in two others, which share no memory of JavaScript but its native packages. */
const THREADS = `const { isMainThread, Worker } = require("node:worker_threads");

async function run() {
  const cases = require("./cases.cjs")(require("express"), require("portcullis"));
  for (const [name, pass] of Object.entries(cases)) {
    await pass();
    console.log("passed: " + name);
  }
}
const ended = (worker) =>
  new Promise((resolve, reject) => worker.once("error", reject).once("exit", (code) => (code ? reject(code) : resolve())));

Promise.all([run(), ...(isMainThread ? [1, 2].map(() => ended(new Worker(__filename))) : [])]).then(
  () => isMainThread && console.log("all threads ended"),
);
`;

/** Two processes behind one port: the requests go to them by turns. Prints how they answer. */
const CLUSTER = `const cluster = require("node:cluster");
const http = require("node:http");
const express = require("express");
const { applySecurity } = require("portcullis");

const LIMIT = 12;
async function serve() {
  const app = express();
  const { REDIS_URL: redis, DATABASE_URL: database } = process.env;
  const shared = redis ? { redis, redisPrefix: "cluster-" + process.ppid + ":", database } : {};
  const settings = { debug: true, secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E", rateLimit: { limit: LIMIT } };
  const security = applySecurity(app, { ...settings, ...shared, session: {}, apiKeys: { hash: "hmac-sha256" } });
  app.use((req, res, next) => {
    res.set("X-Process", String(process.pid));
    next();
  });
  app.get("/login", (req, res, next) => { security.logIn(req, { id: "ada" }).then(() => res.send("ok"), next); });
  app.get("/key", (req, res, next) => {
    security.apiKeys.create({ ownerId: "ada", name: "k" }).then(({ key }) => res.json({ key }), next);
  });
  app.get("/me", security.requireAuth(), (req, res) => void res.json({ id: req.principal.id }));
  await security.ready();
  app.listen(0, "127.0.0.1");
}

/** Each request has a connection of its own. */
const get = (port, path, headers = {}) => new Promise((resolve, reject) => {
  http.get({ host: "127.0.0.1", port, path, headers, agent: false }, (response) => {
    let body = "";
    response.on("data", (chunk) => (body += chunk));
    response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body }));
  }).on("error", reject);
});

async function ask(port) {
  const cookie = (await get(port, "/login")).headers["set-cookie"][0].split(";")[0];
  const { key } = JSON.parse((await get(port, "/key")).body);
  const answers = [];
  for (const headers of [{ cookie }, { cookie }, { "X-API-Key": key }, { "X-API-Key": key }])
    answers.push(await get(port, "/me", headers));
  const statuses = answers.map(({ status }) => status);
  let accepted = 2 + answers.length;
  for (let request = 0; request < 3 * LIMIT; request += 1) {
    const answer = await get(port, "/me");
    answers.push(answer);
    if (answer.status !== 429) accepted += 1;
  }
  const processes = new Set(answers.map(({ headers }) => headers["x-process"]).filter(Boolean)).size;
  console.log(JSON.stringify({ processes, statuses, accepted }));
}

if (cluster.isPrimary) {
  let waiting = 2;
  const stop = () => { for (const worker of Object.values(cluster.workers)) worker.process.kill(); };
  const begin = (_worker, { port }) => {
    waiting -= 1;
    if (waiting === 0) ask(port).finally(stop);
  };
  cluster.on("listening", begin);
  for (let worker = 0; worker < 2; worker += 1) cluster.fork();
} else serve();
`;

let redis: RunningServer;
const common = new Project("commonjs");
beforeAll(async () => {
  // Kysely 0.29 has no CommonJS, which Jest and Node 20 need.
  await common.install("express@4", "kysely@0.28", "libsql", "redis", "jest@30", "vitest@4", "tsx@4");
  redis = await startRedis();
}, 600_000);
afterAll(async () => {
  common.remove();
  await redis.close();
});

describe.each(["4", "5"])("the tests of an app with Express %s", (version) => {
  const project = version === "4" ? common : new Project("commonjs");
  beforeAll(async () => {
    if (project !== common) {
      await project.takePackagesOf(common);
      await project.install(`express@${version}`);
    }
    project.write("cases.cjs", CASES);
  }, 600_000);
  afterAll(() => {
    if (project !== common) project.remove();
  });

  it.each(RUNNERS)(
    "pass in $name, which ends by itself",
    { timeout: 300_000 },
    async ({ file, code, command, says }) => {
      project.write(file, code);
      const [program = "", ...args] = command;
      const { status, output } = await project.run(program, args, { REDIS_URL: redis.url });
      const text = output.replace(/\x1b\[[0-9;]*m/g, "");
      expect(text.replace(/ +\(\d+\)$/gm, "")).toContain(says);
      expect(text).not.toMatch(/did not exit/i);
      expect(openHandles(text)).toEqual([]);
      expect(status).toBe(0);
    },
  );

  it("pass in three threads at once, which end by themselves", { timeout: 120_000 }, async () => {
    project.write("threads.cjs", THREADS);
    const { status, output } = await project.run("node", ["--no-warnings", "threads.cjs"], { REDIS_URL: redis.url });
    expect(output.match(/^passed: /gm)).toHaveLength(3 * NUMBER_OF_CASES);
    expect(output).toContain("all threads ended");
    expect(status).toBe(0);
  });

  it("share sessions, keys and limits in a cluster with Redis and a database", { timeout: 120_000 }, async () => {
    project.write("cluster.cjs", CLUSTER);
    const database = `sqlite:${join(project.folder, "cluster.db")}`;
    const { output } = await project.run("node", ["--no-warnings", "cluster.cjs"], {
      REDIS_URL: redis.url,
      DATABASE_URL: database,
    });
    expect(JSON.parse(output)).toEqual({ processes: 2, statuses: [200, 200, 200, 200], accepted: 12 });
  });

  it("have sessions, keys and limits in each process of a cluster without them", { timeout: 120_000 }, async () => {
    project.write("cluster.cjs", CLUSTER);
    const { output } = await project.run("node", ["--no-warnings", "cluster.cjs"], { REDIS_URL: "", DATABASE_URL: "" });
    const { processes, statuses, accepted } = JSON.parse(output) as Record<string, unknown> & { statuses: number[] };
    expect({ processes, accepted }).toEqual({ processes: 2, accepted: 24 });
    // Each credential is known to the process that made it.
    expect(statuses.slice(0, 2).sort()).toEqual([200, 401]);
    expect(statuses.slice(2).sort()).toEqual([200, 401]);
  });
});
