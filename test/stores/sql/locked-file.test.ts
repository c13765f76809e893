import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { applySecurity } from "portcullis";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { loadSqliteEngine } from "../../../src/stores/sql/sqlite-engines.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-locked-"));
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An app whose layers wait this long for a store, in milliseconds, and another process that can lock its file. */
async function appOn(name: string, storeTimeoutMs: number) {
  const path = join(folder, `${name}.db`);
  const { apiKeys, jwt, ready, close, revokeAll } = applySecurity(express(), {
    secretKey: randomBytes(32).toString("base64url"),
    trustedHosts: ["x.example"],
    database: `sqlite:${path}`,
    apiKeys: { hash: "hmac-sha256", storeTimeoutMs },
    jwt: { storeTimeoutMs },
    session: { storeTimeoutMs },
  });
  await ready();
  closing.push(close);
  const other = (await loadSqliteEngine()).open(path);
  closing.push(async () => other.close());
  return {
    apiKeys,
    jwt,
    revokeAll,
    lock: () => void other.prepare("begin immediate").run([]),
    unlock: () => void other.prepare("rollback").run([]),
  };
}

type App = Awaited<ReturnType<typeof appOn>>;

/** Each prepares what it needs, and returns the call that the locked file delays. */
const CHANGES: Record<string, (app: App) => Promise<() => Promise<unknown>>> = {
  "create a key":
    async ({ apiKeys }) =>
    () =>
      apiKeys.create({ ownerId: "ada", name: "CI" }),
  "rotate a key": async ({ apiKeys }) => {
    const { record } = await apiKeys.create({ ownerId: "ada", name: "CI" });
    return () => apiKeys.rotate(record.id);
  },
  "update a key": async ({ apiKeys }) => {
    const { record } = await apiKeys.create({ ownerId: "ada", name: "CI" });
    return () => apiKeys.update(record.id, { scopes: ["orders:read"] });
  },
  "revoke a key": async ({ apiKeys }) => {
    const { record } = await apiKeys.create({ ownerId: "ada", name: "CI" });
    return () => apiKeys.revoke(record.id);
  },
  "revoke the keys of an owner":
    async ({ apiKeys }) =>
    () =>
      apiKeys.revokeAllOf("ada", { reason: "left" }),
  "issue tokens":
    async ({ jwt }) =>
    () =>
      jwt.issue("ada"),
  "refresh tokens": async ({ jwt }) => {
    const { refreshToken } = await jwt.issue("ada");
    return () => jwt.refresh(refreshToken);
  },
  "revoke a token":
    async ({ jwt }) =>
    () =>
      jwt.revokeToken("some-token"),
  "revoke a family": async ({ jwt }) => {
    const { refreshToken } = await jwt.issue("ada");
    return () => jwt.revokeFamily(refreshToken);
  },
  "revoke a subject":
    async ({ jwt }) =>
    () =>
      jwt.revokeSubject("ada"),
  "end everything of a person":
    async ({ revokeAll }) =>
    () =>
      revokeAll("ada", { reason: "stolen" }),
};

describe.each(Object.entries(CHANGES))("a file that is locked: %s", (title, prepare) => {
  const name = title.replaceAll(" ", "-");

  test("is done when the lock ends within storeTimeoutMs", async () => {
    const app = await appOn(`${name}-done`, 5000);
    const call = await prepare(app);
    app.lock();
    const done = call();
    // Longer than the default time-out of anything below a layer.
    await sleep(800);
    app.unlock();
    await expect(done.then(() => "done")).resolves.toBe("done");
  });

  test("is refused when the lock lasts longer than storeTimeoutMs", async () => {
    const app = await appOn(`${name}-refused`, 100);
    const call = await prepare(app);
    app.lock();
    await expect(call()).rejects.toMatchObject({ code: expect.stringMatching(/store[-_]unavailable/i) as string });
    app.unlock();
  });
});
