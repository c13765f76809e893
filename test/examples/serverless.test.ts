import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import express from "express";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { applySecurity, type Security } from "portcullis";
import { ROOT } from "../support/code-blocks.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { asJavaScript, blockWith } from "./support/sample.js";

type Handler = (event: object, context: object) => Promise<{ statusCode: number; body: string }>;

const HOST = "api.example.com";
const SECRET_KEY = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

describe("the serverless sample", () => {
  let folder: string;
  const instances: { handler: Handler; security: Security }[] = [];
  let elsewhere: Security<{ jwt: object }>;
  beforeAll(async () => {
    const { url } = await sharedRedis();
    vi.stubEnv("SECRET_KEY", SECRET_KEY);
    vi.stubEnv("REDIS_URL", url);
    folder = mkdtempSync(join(ROOT, "test/examples/serverless-"));
    const redisPrefix = `${uniqueName()}:`;
    const code = asJavaScript(blockWith("examples/recipes/serverless.md", "ts", "serverless-http"));
    const shared = code.replace("redis: process", `redisPrefix: ${JSON.stringify(redisPrefix)}, redis: process`);
    for (const name of ["one.mjs", "two.mjs"]) {
      writeFileSync(join(folder, name), `${shared}\nexport { security };\n`);
      instances.push((await import(pathToFileURL(join(folder, name)).href)) as (typeof instances)[number]);
    }
    const settings = { secretKey: SECRET_KEY, trustedHosts: [HOST], jwt: {}, redis: url, redisPrefix };
    elsewhere = applySecurity(express(), settings);
    await elsewhere.ready();
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    for (const { security } of [...instances, { security: elsewhere }]) await security.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const ask = (instance: number, headers: Record<string, string> = {}, address = "203.0.113.7") =>
    instances[instance]!.handler(
      {
        version: "2.0",
        rawPath: "/orders",
        rawQueryString: "",
        headers: { host: HOST, "x-forwarded-proto": "https", "x-forwarded-for": address, ...headers },
        isBase64Encoded: false,
        requestContext: { http: { method: "GET", sourceIp: address } },
      },
      {},
    );

  it("accepts a token on every instance until it is revoked elsewhere", async () => {
    const { accessToken } = await elsewhere.jwt.issue("ada");
    const authorization = `Bearer ${accessToken}`;
    for (const instance of [0, 1])
      expect(await ask(instance, { authorization })).toMatchObject({ statusCode: 200, body: '{"for":"ada"}' });
    expect((await ask(0)).statusCode).toBe(401);
    expect((await ask(0, { host: "evil.example" })).statusCode).toBe(400);
    await elsewhere.jwt.revokeSubject("ada");
    await expect.poll(async () => (await ask(1, { authorization })).statusCode, { timeout: 5000 }).toBe(401);
  });

  it("counts a client over all instances", async () => {
    const statuses: number[] = [];
    for (let count = 0; count < 21; count += 1) statuses.push((await ask(count % 2, {}, "198.51.100.9")).statusCode);
    expect(statuses).toEqual([...Array<number>(20).fill(401), 429]);
    expect((await ask(0, {}, "198.51.100.10")).statusCode).toBe(401);
  });
});
