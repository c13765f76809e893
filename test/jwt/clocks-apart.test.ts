import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applySecurity } from "../../src/apply-security.js";
import type { Clock } from "../../src/core/clock.js";
import { TokenError } from "../../src/jwt/errors.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { sharedPostgres, sharedRedis } from "../support/servers.js";

/** The leeway of the settings is five seconds, and `iat` omits the part of a second. */
const AHEAD_MS = 5900;
const SUBJECTS = 30;

/** Repeats a call that a busy machine refused with 503. */
async function repeated<T>(call: () => Promise<T>): Promise<T> {
  for (let left = 5; ; left -= 1) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof TokenError) || error.code !== "store-unavailable" || left === 0) throw error;
    }
  }
}

function ahead(ms: number): Clock {
  return { now: () => Date.now() + ms, monotonic: () => performance.now() };
}

const secretKey = randomBytes(32).toString("base64url");
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "portcullis-clocks-"));
});
afterAll(() => rm(folder, { recursive: true }));

const FLEETS = [
  { stores: "SQLite", settings: async () => ({ database: `sqlite:${join(folder, "clocks.db")}` }) },
  { stores: "PostgreSQL", settings: async () => ({ database: (await sharedPostgres()).url }) },
  {
    stores: "Redis and SQLite",
    settings: async () => ({ database: `sqlite:${join(folder, "redis.db")}`, redis: (await sharedRedis()).url }),
  },
];

describe.each(FLEETS)("two processes with $stores whose clocks are apart", ({ settings }) => {
  it.each([
    { there: 0, here: 0 },
    { there: AHEAD_MS, here: 0 },
    { there: 0, here: AHEAD_MS },
  ])(
    "log out everywhere and in again: old tokens end and new ones are valid (clocks ahead by $there and $here ms)",
    async (clocks) => {
      const stores = await settings();
      const secured = (ms: number) =>
        applySecurity(express(), { secretKey, trustedHosts: ["x.example"], jwt: {}, ...stores }, { clock: ahead(ms) });
      const there = secured(clocks.there);
      const here = secured(clocks.here);
      try {
        await Promise.all([there.ready(), here.ready()]);
        const ended: string[] = [];
        const valid: string[] = [];
        const last: string[] = [];
        for (let n = 0; n < SUBJECTS; n += 1) {
          const user = randomBytes(9).toString("hex");
          ended.push((await repeated(() => there.jwt.issue(user))).accessToken);
          ended.push(await there.jwt.signAccessToken(user));
          await repeated(() => here.jwt.revokeSubject(user));
          // At once, in the process that did not revoke; refreshed in the other.
          const again = await repeated(() => there.jwt.issue(user));
          valid.push(again.accessToken, await there.jwt.signAccessToken(user));
          valid.push((await repeated(() => here.jwt.refresh(again.refreshToken))).accessToken);
          if (n % 2 === 0) continue;
          // A second time, in the other process: what was issued after the first cut-off ends too.
          await repeated(() => there.jwt.revokeSubject(user));
          ended.push(...valid.splice(-3));
          last.push((await repeated(() => here.jwt.issue(user))).accessToken);
        }
        await sleep(1000);
        for (const security of [there, here]) {
          for (const token of ended)
            await expect(security.jwt.verifyAccessToken(token)).rejects.toMatchObject({ code: "revoked" });
          for (const token of [...valid, ...last])
            await expect(security.jwt.verifyAccessToken(token)).resolves.toBeDefined();
        }
      } finally {
        await Promise.all([there.close(), here.close()]);
      }
    },
    30_000,
  );
});

describe("a store of the app's own, without cutOffOf", () => {
  class OwnStore extends MemoryTokenStore {}
  Object.defineProperty(OwnStore.prototype, "cutOffOf", { value: undefined });

  it("log out everywhere and in again 300 times in one process: old tokens end and new ones are valid", async () => {
    const tokens = new JwtManager({ secret: secretKey, store: new OwnStore() });
    for (let round = 0; round < 300; round += 1) {
      const { accessToken } = await tokens.issue("ada");
      await tokens.revokeSubject("ada");
      await expect(tokens.verifyAccessToken(accessToken)).rejects.toMatchObject({ code: "revoked" });
      const again = await tokens.issue("ada");
      await expect(tokens.verifyAccessToken(again.accessToken)).resolves.toBeDefined();
    }
  });

  it("a cut-off has no room for clocks, so that a log-in in another process is valid a millisecond later", async () => {
    const store = new OwnStore();
    const [here, there] = [0, 2].map((ms) => new JwtManager({ secret: secretKey, store }, { clock: ahead(ms) }));
    await here?.revokeSubject("ada");
    const again = await there?.issue("ada");
    await expect(here?.verifyAccessToken(again?.accessToken ?? "")).resolves.toBeDefined();
  });
});

it("a refused revokeSubject is repeated for what was issued before it, though a fast clock had revoked the subject with a later cut-off", async () => {
  let isFailing = false;
  class Store extends MemoryTokenStore {
    override async revokeSubject(...args: Parameters<MemoryTokenStore["revokeSubject"]>): Promise<void> {
      if (isFailing) throw new Error("disk full");
      return super.revokeSubject(...args);
    }
  }
  const store = new Store();
  const [fast, here] = [AHEAD_MS, 0].map(
    (ms) => new JwtManager({ secret: secretKey, store }, { clock: ahead(ms) }),
  ) as [JwtManager, JwtManager];
  await fast.revokeSubject("ada");
  const again = await here.issue("ada");
  isFailing = true;
  await expect(here.revokeSubject("ada")).rejects.toMatchObject({ code: "store-unavailable" });
  isFailing = false;
  await expect
    .poll(() => here.verifyAccessToken(again.accessToken).catch((error: TokenError) => error.code), { timeout: 5000 })
    .toBe("revoked");
  await expect(here.refresh(again.refreshToken)).rejects.toMatchObject({ code: "revoked" });
  await Promise.all([fast.close(), here.close()]);
});

it("a refused revokeSubject that had not read the cut-off is repeated as of its own time: a log-in after another's revocation stays", async () => {
  let isFailing = false;
  let revocations = 0;
  class Store extends MemoryTokenStore {
    override cutOffOf(subject: string): number | undefined {
      if (isFailing) throw new Error("no connection");
      return super.cutOffOf(subject);
    }

    override async revokeSubject(...args: Parameters<MemoryTokenStore["revokeSubject"]>): Promise<void> {
      revocations += 1;
      return super.revokeSubject(...args);
    }
  }
  const store = new Store();
  const [here, there] = [0, 0].map((ms) => new JwtManager({ secret: secretKey, store }, { clock: ahead(ms) })) as [
    JwtManager,
    JwtManager,
  ];
  isFailing = true;
  await expect(here.revokeSubject("ada")).rejects.toMatchObject({ code: "store-unavailable" });
  isFailing = false;
  await there.revokeSubject("ada");
  const again = await there.issue("ada");
  const before = revocations;
  await expect.poll(() => revocations, { timeout: 5000 }).toBeGreaterThan(before);
  await expect(there.verifyAccessToken(again.accessToken)).resolves.toBeDefined();
  await expect(there.refresh(again.refreshToken)).resolves.toBeDefined();
  await Promise.all([here.close(), there.close()]);
});
