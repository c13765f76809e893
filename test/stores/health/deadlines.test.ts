import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import mysql from "mysql2/promise";
import pg from "pg";
import { applySecurity } from "portcullis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SecurityEvent } from "../../../src/core/events.js";
import type { CreatedApiKey } from "../../../src/api-key/types.js";
import { type RunningServer, startMariaDb, startPostgres } from "../../support/servers.js";

/** Shorter than the default of ten seconds, because a test waits for its end. */
const GRACE_SECONDS = 2;
const TABLES = ["portcullis_api_keys", "portcullis_refresh_tokens"];

interface Admin {
  run(statement: string): Promise<unknown>;
  end(): Promise<void>;
}

/** Makes every write to our tables take this long; 0: as long as it takes. */
const ENGINES = [
  {
    engine: "PostgreSQL",
    start: startPostgres,
    async admin(url: URL): Promise<Admin> {
      const client = new pg.Client({ connectionString: url.href });
      await client.connect();
      return { run: (statement) => client.query(statement), end: () => client.end() };
    },
    slow: (seconds: number) => [
      `create or replace function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(${seconds}); return new; end $$`,
      ...TABLES.map(
        (table) =>
          `create or replace trigger slow before insert or update on ${table} for each row execute function slow()`,
      ),
    ],
    fast: TABLES.map((table) => `drop trigger if exists slow on ${table}`),
  },
  {
    engine: "MariaDB",
    start: startMariaDb,
    // The server's first database is its own, and takes no triggers.
    async admin(url: URL): Promise<Admin> {
      const first = await mysql.createConnection(url.href);
      await first.query("create database deadlines");
      await first.end();
      url.pathname = "/deadlines";
      const client = await mysql.createConnection(url.href);
      return { run: (statement) => client.query(statement), end: () => client.end() };
    },
    slow: (seconds: number) =>
      TABLES.flatMap((table) =>
        ["insert", "update"].map(
          (verb) =>
            `create or replace trigger slow_${verb}_${table} before ${verb} on ${table} for each row begin declare done int; set done = sleep(${seconds}); end`,
        ),
      ),
    fast: TABLES.flatMap((table) => ["insert", "update"].map((verb) => `drop trigger if exists slow_${verb}_${table}`)),
  },
] as const;

describe.each(ENGINES)("$engine: a refused call changes nothing", ({ start, admin, slow, fast }) => {
  let server: RunningServer;
  let database: Admin;
  let security: ReturnType<typeof secured>;
  const events: SecurityEvent[] = [];

  const secured = (url: string) =>
    applySecurity(express(), {
      secretKey: randomBytes(32).toString("base64url"),
      trustedHosts: ["x.example"],
      database: url,
      apiKeys: { hash: "hmac-sha256", cacheSeconds: 0 },
      jwt: { reuseGraceSeconds: GRACE_SECONDS },
    });

  const codeOf = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => "done",
      (error: { code?: string }) => error.code ?? "no code",
    );

  async function whileSlow<T>(seconds: number, work: () => Promise<T>): Promise<T> {
    for (const statement of slow(seconds)) await database.run(statement);
    try {
      const result = await work();
      // What is still under way ends, and would be seen.
      await sleep(1200);
      return result;
    } finally {
      for (const statement of fast) await database.run(statement);
    }
  }

  beforeAll(async () => {
    server = await start();
    const url = new URL(server.url);
    database = await admin(url);
    security = secured(url.href);
    security.events.on("*", (event) => events.push(event));
    await security.ready();
  });
  afterAll(async () => {
    await security.close();
    await database.end();
    await server.close();
  });

  test("a rotation, a refresh, a creation and a log-in whose statements are each in time, but together too late, change nothing", async () => {
    const old = await security.apiKeys.create({ ownerId: "ada", name: "n" });
    const { refreshToken } = await security.jwt.issue("ada");
    const refused = await whileSlow(0.15, async () => [
      await codeOf(security.apiKeys.rotate(old.record.id)),
      await codeOf(security.jwt.refresh(refreshToken)),
    ]);
    expect(refused).toEqual(["PORTCULLIS_STORE_UNAVAILABLE", "store-unavailable"]);
    const refusedNew = await whileSlow(0.3, async () => [
      await codeOf(security.apiKeys.create({ ownerId: "eve", name: "n" })),
      await codeOf(security.jwt.issue("eve")),
    ]);
    expect(refusedNew).toEqual(["PORTCULLIS_STORE_UNAVAILABLE", "store-unavailable"]);
    await expect.poll(async () => codeOf(security.apiKeys.list("eve")), { timeout: 5000 }).toBe("done");
    expect(await security.apiKeys.list("eve")).toEqual([]);
    expect(await security.apiKeys.verify(old.key)).toMatchObject({ ok: true });
    expect(await codeOf(security.jwt.refresh(refreshToken))).toBe("done");
    expect(events.filter(({ level }) => level === "CRITICAL")).toEqual([]);
  });

  test("the same calls take effect when they are in time", async () => {
    const old = await security.apiKeys.create({ ownerId: "bob", name: "n" });
    const rotated = await whileSlow(0.03, () => security.apiKeys.rotate(old.record.id));
    expect([(await security.apiKeys.verify(rotated.key)).ok, (await security.apiKeys.verify(old.key)).ok]).toEqual([
      true,
      false,
    ]);
  });

  test("each of 120 rotations and 120 refreshes at once either takes effect and keeps its result, or changes nothing", async () => {
    const keys: CreatedApiKey[] = [];
    const tokens: string[] = [];
    for (let n = 0; n < 120; n += 1) {
      keys.push(await security.apiKeys.create({ ownerId: `owner-${n}`, name: "n" }));
      tokens.push((await security.jwt.issue(`user-${n}`)).refreshToken);
    }
    events.length = 0;
    const [rotations, refreshes] = await whileSlow(0.01, async () => {
      const rotating = await Promise.all(
        keys.map(({ record }) =>
          security.apiKeys.rotate(record.id).then(
            ({ key }) => key,
            () => undefined,
          ),
        ),
      );
      return [
        rotating,
        await Promise.all(
          tokens.map((token) =>
            security.jwt.refresh(token).then(
              ({ refreshToken }) => refreshToken,
              () => undefined,
            ),
          ),
        ),
      ] as const;
    });
    // Waiting for one of our own connections is load: no circuit opened.
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toEqual([]);
    expect(rotations.filter((key) => key !== undefined).length).toBeGreaterThan(0);
    // Once the burst is over: connections that were given up are being replaced until then.
    await expect.poll(async () => codeOf(security.apiKeys.list("eve")), { timeout: 5000 }).toBe("done");
    for (const [index, { key }] of keys.entries()) {
      const works = rotations[index] ?? key;
      expect(await security.apiKeys.verify(works), `rotation ${index}`).toMatchObject({ ok: true });
    }
    // Each round begins after the grace period, in which a used token would still be accepted. A busy machine may refuse
    // a call in time to repeat it: that call, too, must have changed nothing.
    let left = [...tokens.entries()];
    for (let round = 0; round < 3 && left.length > 0; round += 1) {
      await sleep(GRACE_SECONDS * 1000 + 500);
      const refused: typeof left = [];
      for (const [index, token] of left) {
        const code = await codeOf(security.jwt.refresh(refreshes[index] ?? token));
        if (code === "store-unavailable") refused.push([index, token]);
        else expect(code, `refresh ${index}`).toBe("done");
      }
      left = refused;
    }
    expect(left).toEqual([]);
    expect(events.filter(({ level }) => level === "CRITICAL")).toEqual([]);
  }, 90_000);

  test("a refused revocation takes effect all the same, a little later", async () => {
    const old = await security.apiKeys.create({ ownerId: "ada", name: "n" });
    const { refreshToken } = await security.jwt.issue("ada");
    const told = await whileSlow(0.4, async () => [
      await codeOf(security.apiKeys.revoke(old.record.id)),
      await codeOf(security.jwt.revokeFamily(refreshToken)),
    ]);
    expect(told).toEqual(["PORTCULLIS_STORE_UNAVAILABLE", expect.stringMatching(/^(?:done|store-unavailable)$/)]);
    await expect
      .poll(async () => (await security.apiKeys.get(old.record.id).catch(() => undefined))?.revokedAt ?? null, {
        timeout: 8000,
      })
      .not.toBeNull();
    await expect.poll(() => codeOf(security.jwt.refresh(refreshToken)), { timeout: 8000 }).toBe("revoked");
  });
});
