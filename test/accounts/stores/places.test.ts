import { randomBytes } from "node:crypto";
import express from "express";
import { applySecurity, type SecuritySettings } from "portcullis";
import { createAccounts } from "portcullis/accounts";
import { describe, expect, test, vi } from "vitest";
import { Guarded } from "../../../src/accounts/guarded.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { MemorySingleUseStore } from "../../../src/stores/memory/single-use-store.js";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { recordId, sampleRecord } from "../../../src/testing/credential-samples.js";
import { ManualClock } from "../../../src/testing/manual-clock.js";
import { sharedRedis, uniqueName } from "../../support/servers.js";

const LOST = "all passwords and second factors";

async function described(settings: SecuritySettings, stores: object = {}): Promise<[unknown, string[]]> {
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  try {
    const security = applySecurity(express(), {
      trustedHosts: ["x.example"],
      secretKey: randomBytes(32).toString("base64url"),
      rateLimit: false,
      session: {},
      ...settings,
    });
    createAccounts(security, {
      baseUrl: "https://x.example",
      users: { findByLogin: () => undefined, findById: () => undefined },
      stores,
    });
    await security.ready();
    const found = security.describe().find(({ id }) => id === "accounts");
    await security.close();
    const warnings = warned.mock.calls.map(([text]) => String(text)).filter((text) => text.includes("accounts ("));
    return [{ store: found?.store, lostOnRestart: found?.lostOnRestart }, warnings];
  } finally {
    warned.mockRestore();
  }
}

describe("describe() and a warning say where accounts are kept, and what a restart loses", () => {
  test("in memory: a warning, but not in development", async () => {
    const [place, warnings] = await described({});
    expect(place).toEqual({ store: "memory", lostOnRestart: LOST });
    expect(warnings).toEqual([
      `Some data is kept in memory only, and a restart loses it: accounts (${LOST}). To keep it, set database (DATABASE_URL) of applySecurity, or stores.credentials of createAccounts.`,
    ]);
    expect((await described({ debug: true }))[1]).toEqual([]);
  });

  test("in a database, with Redis, and in stores of the app", async () => {
    const database = "sqlite::memory:";
    const redis = { redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:` };
    expect(await described({ database })).toEqual([{ store: "sqlite", lostOnRestart: undefined }, []]);
    expect(await described({ database, ...redis })).toEqual([
      { store: "sqlite; log-ins under way: redis", lostOnRestart: undefined },
      [],
    ]);
    const [place, warnings] = await described(redis);
    const alone = `${LOST}; other processes cannot see them`;
    expect(place).toEqual({ store: "memory; log-ins under way: redis", lostOnRestart: alone });
    expect(warnings).toHaveLength(1);
    const own = { credentials: new MemoryCredentialStore(), singleUse: new MemorySingleUseStore() };
    expect(await described({}, own)).toEqual([{ store: "its own", lostOnRestart: undefined }, []]);
  });
});

test("a write cleans the store up, when the last clean-up was ten minutes ago", async () => {
  const clock = new ManualClock();
  const store = new MemorySingleUseStore({ clock });
  const guarded = new Guarded("single-use", store, createRuntime({ clock }), 1000);
  const put = (name: string, life: number) =>
    guarded.write((one) => one.put(sampleRecord(name, { ownerId: name, expiresAt: clock.now() + life })), name);
  await put("first", 1000);
  clock.advance(599_999);
  await put("second", 600_000);
  expect(store.size).toBe(2);
  clock.advance(1);
  await put("third", 600_000);
  await guarded.close();
  expect(store.size).toBe(2);
  expect(await store.get("log-in", recordId("second"), clock.now())).toBeDefined();
});
