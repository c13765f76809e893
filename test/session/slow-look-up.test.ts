import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import session from "express-session";
import { afterAll, beforeAll, expect, it } from "vitest";
import { applySecurity } from "../../src/index.js";
import { serve, type TestServer } from "../support/serve.js";

/** The package has no types. It looks for a missing file again and again, for a second. */
type FileStoreOf = (
  of: typeof session,
) => new (options: { path: string; minTimeout: number; maxTimeout: number; logFn: () => void }) => session.Store;
const fileStoreOf = createRequire(import.meta.url)("session-file-store") as FileStoreOf;

let folder: string;
let server: TestServer;
let close: () => Promise<void>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "portcullis-sessions-"));
  const app = express();
  const store = new (fileStoreOf(session))({ path: folder, minTimeout: 200, maxTimeout: 200, logFn: () => undefined });
  const security = applySecurity(app, {
    secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-slow-look-up",
    trustedHosts: ["127.0.0.1"],
    debug: true,
    rateLimit: { limit: 1_000_000 },
    session: { store },
  });
  app.post("/log-in", (req, res, next) => {
    security.logIn(req, { id: "ada" }).then(() => res.send("in"), next);
  });
  app.get("/session", security.requireSession(), (_req, res) => void res.send("ok"));
  await security.ready();
  server = await serve(app);
  close = async () => {
    await server.close();
    await security.close();
    await rm(folder, { recursive: true, force: true });
  };
});
afterAll(() => close());

async function logIn(): Promise<string> {
  const post = { method: "POST", headers: { "sec-fetch-site": "same-origin" } };
  let answer = await server.send("/log-in", post);
  // On a busy machine a file may take longer than the time-out.
  for (let tries = 0; answer.status !== 200 && tries < 20; tries += 1) {
    await sleep(200);
    answer = await server.send("/log-in", post);
  }
  expect(answer.status).toBe(200);
  return (answer.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
}

// Enough to open the circuit again and again: nobody else asks the store between two requests of the honest client.
it.each([3, 10])(
  "a store that looks for one missing file for a second, asked %i times a second, serves everybody else",
  async (perSecond) => {
    const stale = await logIn();
    for (const file of await readdir(folder)) await rm(join(folder, file));
    const honest = await logIn();
    const slow: Promise<number>[] = [];
    const statuses: number[] = [];
    const began = performance.now();
    let sent = 0;
    for (let turn = 0; turn < 3; turn += 1) {
      while (performance.now() - began < (turn + 1) * 1300) {
        slow.push(server.send("/session", { headers: { cookie: stale } }).then(({ status }) => status));
        sent += 1;
        await sleep(Math.max(0, (sent * 1000) / perSecond - (performance.now() - began)));
      }
      statuses.push((await server.send("/session", { headers: { cookie: honest } })).status);
    }
    expect(statuses).toEqual([200, 200, 200]);
    expect(new Set(await Promise.all(slow))).toEqual(new Set([503]));
  },
  30_000,
);
