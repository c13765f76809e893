import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import express from "express";
import { applySecurity, type OnRefresh, TokenError } from "portcullis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseRefreshToken } from "../../../src/jwt/refresh/refresh-secrets.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

const folder = mkdtempSync(join(tmpdir(), "renewal-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ENGINES = [
  { engine: "SQLite", database: async () => `sqlite:${join(folder, "tokens.db")}` },
  { engine: "PostgreSQL", database: postgresDatabase },
  { engine: "MariaDB", database: mariaDbDatabase },
];

describe.each(ENGINES)("$engine: two apps on one database, and onRefresh", ({ database }) => {
  const secretKey = randomBytes(32).toString("base64url");
  let decide: OnRefresh = (grant) => grant;
  let apps: ReturnType<typeof secured>[] = [];

  const secured = (url: string) =>
    applySecurity(express(), {
      secretKey,
      trustedHosts: ["x.example"],
      database: url,
      jwt: { storeTimeoutMs: 5000, onRefresh: (grant) => decide(grant) },
    });

  beforeAll(async () => {
    const url = await database();
    apps = [secured(url), secured(url)];
    for (const app of apps) await app.ready();
  });
  afterAll(async () => {
    for (const app of apps) await app.close();
  });

  const jwtOf = (n: number) => {
    const app = apps[n % apps.length];
    if (app === undefined) throw new Error("no app");
    return app.jwt;
  };
  const codeOf = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => "done",
      (error: unknown) => (error instanceof TokenError ? error.code : String(error)),
    );

  test("parallel uses in both get one successor, with what its winner was given", async () => {
    for (let round = 0; round < 5; round += 1) {
      let calls = 0;
      decide = async () => {
        calls += 1;
        const scopes = [`decision:${calls}`];
        await new Promise((resolve) => setTimeout(resolve, 5 * (calls % 3)));
        return { scopes };
      };
      const { refreshToken } = await jwtOf(0).issue("ada", { scopes: ["read"], methods: ["pwd"] });
      const pairs = await Promise.all(Array.from({ length: 8 }, (_, n) => jwtOf(n).refresh(refreshToken)));
      expect(new Set(pairs.map((pair) => pair.refreshToken)).size).toBe(1);
      const claims = await Promise.all(pairs.map((pair, n) => jwtOf(n + 1).verifyAccessToken(pair.accessToken)));
      expect(new Set(claims.map(({ scope }) => scope)).size).toBe(1);
      expect(claims.every(({ amr }) => JSON.stringify(amr) === '["pwd"]')).toBe(true);
      const winner = pairs[0]?.refreshToken ?? "";
      decide = (grant) => ({ ...grant, roles: [...grant.scopes] });
      const next = await jwtOf(1).refresh(winner);
      expect((await jwtOf(0).verifyAccessToken(next.accessToken)).roles).toEqual([claims[0]?.scope]);
    }
  });

  test("a successor whose answer was lost is given out once more as it was decided, without being decided again", async () => {
    decide = () => ({ scopes: ["narrow"] });
    const { refreshToken } = await jwtOf(0).issue("ada", { scopes: ["read"] });
    const lost = await jwtOf(0).refresh(refreshToken);
    let calls = 0;
    decide = () => {
      calls += 1;
      return { scopes: ["wide"] };
    };
    const again = await jwtOf(1).refresh(refreshToken);
    expect(again.refreshToken).toBe(lost.refreshToken);
    expect((await jwtOf(0).verifyAccessToken(again.accessToken)).scope).toBe("narrow");
    expect(calls).toBe(0);
  });

  test("null ends the family in both, and an error changes nothing", async () => {
    decide = () => {
      throw new Error("down");
    };
    const { refreshToken, accessToken } = await jwtOf(0).issue("ada");
    const { fam } = await jwtOf(0).verifyAccessToken(accessToken);
    expect(await codeOf(jwtOf(0).refresh(refreshToken))).toBe("store-unavailable");
    expect((await jwtOf(1).families("ada")).some(({ id }) => id === fam)).toBe(true);
    decide = () => null;
    expect(await codeOf(jwtOf(1).refresh(refreshToken))).toBe("refused");
    expect(await codeOf(jwtOf(0).refresh(refreshToken))).toBe("revoked");
    await expect.poll(() => codeOf(jwtOf(0).verifyAccessToken(accessToken)), { timeout: 5000 }).toBe("revoked");
    expect((await jwtOf(0).families("ada")).some(({ id }) => id === fam)).toBe(false);
  });

  test("a device is seen and ended by the other app", async () => {
    decide = (grant) => grant;
    const phone = await jwtOf(0).issue("bob", { label: "phone" });
    const tablet = await jwtOf(1).issue("bob", { label: "tablet" });
    const { fam = "" } = await jwtOf(0).verifyAccessToken(phone.accessToken);
    const seen = await jwtOf(1).families("bob");
    expect(seen.map(({ label }) => label).sort()).toEqual(["phone", "tablet"]);
    expect(JSON.stringify(seen)).not.toContain(parseRefreshToken(phone.refreshToken)?.secret);
    const renewed = await jwtOf(1).refresh(phone.refreshToken);
    const used = (await jwtOf(0).families("bob")).find(({ id }) => id === fam);
    expect(used?.lastUsedAt).toBeGreaterThanOrEqual(used?.createdAt ?? Infinity);
    expect(await jwtOf(1).endFamily(fam, { subject: "ada" })).toBe(false);
    expect(await jwtOf(1).endFamily(fam, { subject: "bob" })).toBe(true);
    for (const n of [0, 1]) expect(await codeOf(jwtOf(n).refresh(renewed.refreshToken))).toBe("revoked");
    await expect.poll(() => codeOf(jwtOf(0).verifyAccessToken(renewed.accessToken)), { timeout: 5000 }).toBe("revoked");
    expect((await jwtOf(0).families("bob")).map(({ label }) => label)).toEqual(["tablet"]);
    expect(await codeOf(jwtOf(0).refresh(tablet.refreshToken))).toBe("done");
  });
});
