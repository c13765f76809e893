import { randomBytes } from "node:crypto";
import express from "express";
import { applySecurity } from "portcullis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { SecurityEvent } from "../../../src/core/events.js";
import { parseRefreshToken } from "../../../src/jwt/refresh/refresh-secrets.js";
import { type CommitProxy, startCommitProxy } from "../../support/commit-proxy.js";
import { mariaDbDatabase, mariaDbQuery, postgresDatabase, postgresQuery } from "../../support/servers.js";

const ENGINES = [
  { engine: "PostgreSQL", database: postgresDatabase, query: postgresQuery },
  { engine: "MariaDB", database: mariaDbDatabase, query: mariaDbQuery },
];

describe.each(ENGINES)("$engine: a connection that breaks at COMMIT", ({ database, query }) => {
  const secretKey = randomBytes(32).toString("base64url");
  const events: SecurityEvent[] = [];
  let direct: string;
  let proxy: CommitProxy;
  let security: ReturnType<typeof secured>;
  /** Another process, with a way of its own to the database. */
  let other: ReturnType<typeof secured>;

  // Without a grace time every second use of a refresh token would be a theft, unless its successor is known to be undelivered.
  const secured = (url: string, usageFlushSeconds = 1) =>
    applySecurity(express(), {
      secretKey,
      trustedHosts: ["x.example"],
      database: url,
      apiKeys: { hash: "hmac-sha256", cacheSeconds: 0, storeTimeoutMs: 1000, usageFlushSeconds },
      jwt: { reuseGraceSeconds: 0, storeTimeoutMs: 1000 },
    });

  const settled = async <T>(call: Promise<T>): Promise<{ value?: T; code: string }> =>
    call.then(
      (value) => ({ value, code: "done" }),
      (error: { code?: string }) => ({ code: error.code ?? "no code" }),
    );

  /** Whether the database knows that the successor of this token reached nobody. */
  const isMarked = async (refreshToken: string): Promise<boolean> => {
    const rows = await query(
      direct,
      `select id from portcullis_refresh_tokens where id = '${parseRefreshToken(refreshToken)?.id}' and undelivered_at is not null`,
    );
    return (rows as unknown[]).length === 1;
  };

  const isGood = async (key: string | undefined): Promise<boolean> =>
    key !== undefined && (await other.apiKeys.verify(key)).ok;

  const worksAgain = (): Promise<void> =>
    expect.poll(async () => (await settled(security.apiKeys.list("nobody"))).code, { timeout: 10_000 }).toBe("done");

  beforeAll(async () => {
    direct = await database();
    proxy = await startCommitProxy(direct);
    security = secured(proxy.url);
    other = secured(direct);
    for (const each of [security, other]) each.events.on("*", (event) => events.push(event));
    await security.ready();
    await other.ready();
  });
  afterEach(() => {
    proxy.heal();
    expect(events.filter(({ level }) => level === "CRITICAL")).toEqual([]);
  });
  afterAll(async () => {
    await security.close();
    await other.close();
    await proxy.close();
  });

  test("after the commit: another connection finds the outcome, and the caller gets the new key and the new token", async () => {
    const old = await security.apiKeys.create({ ownerId: "ada", name: "n" });
    const before = proxy.lost;
    proxy.loseNext("answer", "there");
    const rotated = await security.apiKeys.rotate(old.record.id);
    expect(proxy.lost).toBe(before + 1);
    expect([await isGood(rotated.key), await isGood(old.key)]).toEqual([true, false]);

    const { refreshToken } = await security.jwt.issue("ada");
    proxy.loseNext("answer", "there");
    const refreshed = await security.jwt.refresh(refreshToken);
    expect(proxy.lost).toBe(before + 2);
    expect((await settled(other.jwt.refresh(refreshed.refreshToken))).code).toBe("done");

    proxy.loseNext("answer", "there");
    const created = await security.apiKeys.create({ ownerId: "eve", name: "n" });
    expect(proxy.lost).toBe(before + 3);
    expect(await isGood(created.key)).toBe(true);
  });

  test("before the commit: the caller is refused, and the old key and the old token work", async () => {
    const old = await security.apiKeys.create({ ownerId: "bob", name: "n" });
    const before = proxy.lost;
    proxy.loseNext("commit", "there");
    expect((await settled(security.apiKeys.rotate(old.record.id))).code).toBe("PORTCULLIS_STORE_UNAVAILABLE");
    expect(proxy.lost).toBe(before + 1);
    expect(await isGood(old.key)).toBe(true);
    expect(await other.apiKeys.list("bob")).toHaveLength(1);
    expect(await isGood((await security.apiKeys.rotate(old.record.id)).key)).toBe(true);

    const { refreshToken } = await security.jwt.issue("bob");
    proxy.loseNext("commit", "there");
    expect((await settled(security.jwt.refresh(refreshToken))).code).toBe("store-unavailable");
    expect(proxy.lost).toBe(before + 2);
    expect((await settled(other.jwt.refresh(refreshToken))).code).toBe("done");
    // The server answered on another connection: no outage.
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toEqual([]);
  });

  test.each([
    ["answer", "there", 2],
    ["commit", "there", 1],
    ["answer", "gone", 2],
    ["commit", "gone", 1],
  ] as const)(
    "usage counts with the %s lost and the database %s: written again, an outage only while it is gone",
    async (loss, server, counted) => {
      // With a way of its own, where nothing but the counts is committed.
      const way = await startCommitProxy(direct);
      const counting = secured(way.url, 0.2);
      const heard: string[] = [];
      counting.events.on("*", ({ event }) => heard.push(event));
      const { key, record } = await counting.apiKeys.create({ ownerId: "ada", name: "n" });
      expect((await counting.apiKeys.verify(key)).ok).toBe(true);
      way.loseNext(loss, server);
      await expect.poll(() => way.lost, { timeout: 10_000 }).toBe(1);
      if (server === "gone")
        await expect.poll(() => heard, { timeout: 10_000 }).toContain("portcullis_store_unavailable");
      way.heal();
      await expect
        .poll(async () => (await other.apiKeys.get(record.id))?.usageCount, { timeout: 10_000 })
        .toBe(counted);
      expect(heard.includes("portcullis_store_unavailable")).toBe(server === "gone");
      await counting.close();
      expect((await other.apiKeys.get(record.id))?.usageCount).toBe(counted);
      await way.close();
    },
  );

  test.each(["answer", "commit"] as const)(
    "with the %s lost and the database gone: the old or the new key works, and the caller can have it",
    async (loss) => {
      const old = await security.apiKeys.create({ ownerId: `owner-${loss}`, name: "n" });
      const before = proxy.lost;
      proxy.loseNext(loss, "gone");
      expect((await settled(security.apiKeys.rotate(old.record.id))).code).toBe("PORTCULLIS_STORE_UNAVAILABLE");
      expect(proxy.lost).toBe(before + 1);
      proxy.heal();
      await worksAgain();
      expect(await isGood(old.key)).toBe(loss === "commit");
      // The same call again makes the new key, or gives out the one that was made.
      const again = await security.apiKeys.rotate(old.record.id);
      expect([await isGood(again.key), await isGood(old.key)]).toEqual([true, false]);
      expect(await other.apiKeys.list(`owner-${loss}`)).toHaveLength(2);
    },
  );

  test.each(["answer", "commit"] as const)(
    "with the %s lost and the database gone: the old refresh token works, in this process and in another",
    async (loss) => {
      for (const process of [security, other]) {
        const { refreshToken } = await security.jwt.issue("ada");
        const before = proxy.lost;
        proxy.loseNext(loss, "gone");
        expect((await settled(security.jwt.refresh(refreshToken))).code).toBe("store-unavailable");
        expect(proxy.lost).toBe(before + 1);
        proxy.heal();
        await worksAgain();
        // Another process reads from the database that the successor was not delivered, once this one could write it there.
        if (process === other && loss === "answer")
          await expect.poll(() => isMarked(refreshToken), { timeout: 10_000 }).toBe(true);
        const refreshed = await settled(process.jwt.refresh(refreshToken));
        expect(refreshed.code).toBe("done");
        expect((await settled(process.jwt.refresh(refreshed.value?.refreshToken ?? ""))).code).toBe("done");
      }
    },
  );

  test("with the answer lost and the database gone: a new key that no caller received is revoked", async () => {
    proxy.loseNext("answer", "gone");
    expect((await settled(security.apiKeys.create({ ownerId: "mia", name: "n" }))).code).toBe(
      "PORTCULLIS_STORE_UNAVAILABLE",
    );
    proxy.heal();
    await expect
      .poll(() => other.apiKeys.list("mia"), { timeout: 10_000 })
      .toMatchObject([{ revokedReason: "not-delivered" }]);
    await worksAgain();
    const kept = await security.apiKeys.create({ ownerId: "mia", name: "n" });
    expect(await isGood(kept.key)).toBe(true);
  });

  test("a statement that only contains the word COMMIT passes; its twin without a fault takes effect", async () => {
    const before = proxy.lost;
    const old = await security.apiKeys.create({ ownerId: "ada", name: "commit" });
    expect(await isGood((await security.apiKeys.rotate(old.record.id)).key)).toBe(true);
    expect(proxy.lost).toBe(before);
  });
});
