import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import { applySecurity } from "portcullis";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { openSqlite, SqlApiKeyStore, SqlTokenStore } from "portcullis/sql";
import { loadSqliteEngine } from "../../../src/stores/sql/sqlite-engines.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { program } from "../../support/programs.js";
import { runChild } from "../children.js";

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

/** Both stores on one file, with a key and a token, and another process that can lock the file. */
async function storesOn(name: string) {
  const path = join(folder, `${name}.db`);
  const { db, close } = await openSqlite(`sqlite:${path}`);
  const [keys, tokens] = [new SqlApiKeyStore(db), new SqlTokenStore(db)];
  await keys.init();
  await keys.insert(sampleKey({ id: "key" }));
  await tokens.insert(sampleToken({ id: "token", familyId: "family" }));
  const other = (await loadSqliteEngine()).open(path);
  closing.push(close, async () => other.close());
  return { path, keys, tokens, lock: () => void other.prepare("begin immediate").run([]) };
}

test("the losers of a race need no lock: they are told so while another process has it", async () => {
  const { keys, tokens, lock } = await storesOn("losers");
  const rotateKey = (id: string) => keys.rotate("key", sampleKey({ id }), 0);
  const rotateToken = (id: string) => tokens.rotate("token", 9, sampleToken({ id, familyId: "family" }), "sealed");
  expect([await rotateKey("key-2"), await rotateToken("token-2")]).toEqual([true, true]);
  lock();
  expect([await rotateKey("key-3"), await rotateToken("token-3")]).toEqual([false, false]);
  expect([await keys.get("key-3"), await tokens.get("token-3")]).toEqual([undefined, undefined]);
});

test("writes that wait for the file are done in the order in which they came", async () => {
  const { keys, lock } = await storesOn("order");
  lock();
  const done: number[] = [];
  const writes = Array.from({ length: 20 }, (_, index) =>
    keys.insert(sampleKey({ id: `key-of-${index}` })).then(() => done.push(index)),
  );
  await sleep(100);
  expect(done).toEqual([]);
  await closing.pop()?.(); // ends the other process's connection, and with it its transaction
  await Promise.all(writes);
  expect(done).toEqual([...done.keys()]);
});

test("a process that writes without end does not keep another from writing", async () => {
  const { path, keys } = await storesOn("endless");
  const script = await program("sql/busy-child");
  await new Promise<void>((resolve, reject) => {
    const onLine = (line: string): void => void (line === "ready" && resolve());
    const { process: child, ended } = runChild(script, [`sqlite:${path}`], { onLine });
    closing.push(async () => void (child.kill("SIGKILL") && (await ended)));
    void ended.then(({ err }) => reject(new Error(err)));
  });
  const waits: number[] = [];
  for (let n = 0; n < 200; n += 1) {
    const began = performance.now();
    await keys.insert(sampleKey({ id: `mine-${n}` }));
    waits.push(performance.now() - began);
    await sleep(5);
  }
  // The longest two may be the machine's.
  expect(waits.sort((a, b) => b - a)[2]).toBeLessThan(400);
}, 60_000);
