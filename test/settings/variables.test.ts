import express from "express";
import { applySecurity, type SecurityEvent, SettingsError, settingsFromEnv, SetupError } from "portcullis";
import { afterEach, describe, expect, it } from "vitest";
import { freePort } from "../support/servers/process.js";

const SECRET_KEY = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const PASSWORD = "hunter2secret";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function secured(settings: object) {
  const security = applySecurity(express(), {
    secretKey: SECRET_KEY,
    trustedHosts: ["x.example"],
    apiKeys: { hash: "hmac-sha256" },
    ...settings,
  });
  closers.push(() => security.close());
  const heard: SecurityEvent[] = [];
  security.events.on("*", (event) => heard.push(event));
  return { security, heard };
}

const failure = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return error;
  }
};

describe("a server that the environment names wrongly", () => {
  it.each([
    ["DATABASE_URL", `postgres://ada:${PASSWORD}@host`],
    ["DATABASE_URL", `mysql://ada:${PASSWORD}@host/a/b`],
    ["REDIS_URL", `redis://ada:${PASSWORD}@host:port`],
  ])("is an issue of %s when the URL cannot be read", (variable, url) => {
    const error = failure(() => secured(settingsFromEnv({ [variable]: url }))) as SettingsError;
    expect(error).toBeInstanceOf(SettingsError);
    expect(error.issues.map(({ path }) => path)).toEqual([variable]);
    expect(error.message).not.toContain(PASSWORD);
    // The twin that the app wrote keeps the name of its setting.
    const setting = variable === "REDIS_URL" ? "redis" : "database";
    const own = failure(() => secured({ [setting]: url.replace("ada", "eve") })) as SettingsError;
    expect(own.issues.map(({ path }) => path)).toEqual([setting]);
  });

  it.each([
    ["DATABASE_URL", "postgres", "database"],
    ["REDIS_URL", "redis", "redis"],
  ])("is named by %s when ready() fails, and in the event of its outage", async (variable, scheme, source) => {
    const url = `${scheme}://ada:${PASSWORD}@127.0.0.1:${await freePort()}/${scheme === "redis" ? 0 : "app"}`;
    const { security, heard } = secured(settingsFromEnv({ [variable]: url }));
    const error = await security.ready().catch((reason: unknown) => reason as Error);
    expect(error).toBeInstanceOf(SetupError);
    expect((error as Error).message).toMatch(new RegExp(`^${variable}: `));
    await security.apiKeys.revoke("0123456789AB", { reason: "gone" }).catch(() => undefined);
    await security.apiKeys.list("ada").catch(() => undefined);
    if (source === "database")
      expect(heard.find(({ event }) => event === "portcullis_store_unavailable")).toMatchObject({ source, variable });
    expect(JSON.stringify([heard, String(error)])).not.toContain(PASSWORD);
  });

  it("is named by its setting when the app wrote it", async () => {
    const { security } = secured({ database: `postgres://eve:${PASSWORD}@127.0.0.1:${await freePort()}/app` });
    const error = await security.ready().catch((reason: unknown) => reason as Error);
    expect((error as Error).message).toMatch(/^The postgres database/);
  });
});
