import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { AppClient } from "../support/redis-clients.js";
import { postgresDatabase, uniqueName } from "../support/servers.js";
import { type StackApp, stackApp } from "./stack-app.js";

/** What every process must know of a revocation within, in milliseconds. */
const KNOWN_WITHIN_MS = 1000;
const SAME_ORIGIN = { "sec-fetch-site": "same-origin" };

/** The same app twice, as in two processes: they share a Redis and a database, and nothing else. */
export interface AppPair {
  readonly a: StackApp;
  readonly b: StackApp;
  readonly prefix: string;
  readonly database: string;
  /**
   * What one begins the other knows, and what one ends the other refuses, in time.
   *
   * @returns milliseconds until the other refused a revoked key and a revoked token
   */
  expectTogether(): Promise<{ keyMs: number; tokenMs: number }>;
  close(): Promise<void>;
}

/** @param client makes the Redis client of one app */
export async function appPair(client: () => Promise<AppClient>): Promise<AppPair> {
  const database = await postgresDatabase();
  const prefix = `${uniqueName()}:`;
  const clients = [await client(), await client()] as const;
  // Keys are remembered for a minute: what is revoked before is refused because it was told.
  const a = await stackApp(clients[0].client, database, prefix, 60);
  const b = await stackApp(clients[1].client, database, prefix, 60);
  return {
    a,
    b,
    prefix,
    database,
    expectTogether: async () => {
      await expectSessionsShared(a, b);
      await expectSessionsShared(b, a);
      return { keyMs: await revokedKeyKnown(a, b), tokenMs: await revokedTokenKnown(a, b) };
    },
    close: async () => {
      for (const app of [a, b]) await app.close();
      for (const each of clients) await each.close();
    },
  };
}

async function status(app: StackApp, path: string, headers: Record<string, string>, method = "GET"): Promise<number> {
  return (await app.server.send(path, { method, headers })).status;
}

/** Logged in at one and out at the other. */
async function expectSessionsShared(a: StackApp, b: StackApp): Promise<void> {
  const logIn = await a.server.send("/log-in", { method: "POST", headers: SAME_ORIGIN });
  expect(logIn.status).toBe(200);
  const cookie = (logIn.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
  expect([await status(a, "/session", { cookie }), await status(b, "/session", { cookie })]).toEqual([200, 200]);
  expect(await status(b, "/log-out", { cookie, ...SAME_ORIGIN }, "POST")).toBe(200);
  expect([await status(a, "/session", { cookie }), await status(b, "/session", { cookie })]).toEqual([401, 401]);
}

async function revokedKeyKnown(a: StackApp, b: StackApp): Promise<number> {
  const { key, record } = await a.apiKeys.create({ ownerId: "ada", name: "told" });
  const use = (): Promise<number> => status(b, "/key", { "x-api-key": key });
  expect([await use(), await use()]).toEqual([200, 200]);
  await a.apiKeys.revoke(record.id, { reason: "test" });
  return refusedWithin(use);
}

async function revokedTokenKnown(a: StackApp, b: StackApp): Promise<number> {
  const { accessToken } = await a.jwt.issue("ada");
  const use = (): Promise<number> => status(b, "/token", { authorization: `Bearer ${accessToken}` });
  expect(await use()).toBe(200);
  const { jti } = await a.jwt.verifyAccessToken(accessToken);
  await a.jwt.revokeToken(jti ?? "");
  return refusedWithin(use);
}

/** @returns after how many milliseconds it was refused */
async function refusedWithin(use: () => Promise<number>): Promise<number> {
  const began = performance.now();
  while ((await use()) !== 401) {
    expect(performance.now() - began).toBeLessThan(KNOWN_WITHIN_MS);
    await sleep(2);
  }
  return performance.now() - began;
}
