import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import session from "express-session";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SecurityEvent } from "../../src/core/events.js";
import { applySecurity } from "../../src/index.js";
import { serve, type TestServer } from "../support/serve.js";
import type { Target } from "./load.js";
import { FAULT_TEST_MS, outage, STORE_TIMEOUT_MS, storeEvents } from "./outage.js";

/** The package has no types. It tries a missing file again for longer than `storeTimeoutMs`. */
type FileStoreOf = (
  of: typeof session,
) => new (options: { path: string; minTimeout: number; maxTimeout: number; logFn: () => void }) => session.Store;
const fileStoreOf = createRequire(import.meta.url)("session-file-store") as FileStoreOf;

let folder: string;
let server: TestServer;
let events: SecurityEvent[];
let close: () => Promise<void>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "portcullis-sessions-"));
  const app = express();
  const store = new (fileStoreOf(session))({ path: folder, minTimeout: 200, maxTimeout: 200, logFn: () => undefined });
  const security = applySecurity(app, {
    secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-fault-tests",
    trustedHosts: ["127.0.0.1"],
    debug: true,
    rateLimit: { limit: 1_000_000 },
    session: { store, storeTimeoutMs: STORE_TIMEOUT_MS },
  });
  app.post("/log-in", (req, res, next) => {
    security.logIn(req, { id: "ada" }).then(() => res.send("in"), next);
  });
  app.get("/session", security.requireSession(), (_req, res) => void res.send("ok"));
  await security.ready();
  server = await serve(app);
  events = storeEvents(security.events);
  close = async () => {
    await server.close();
    await security.close();
    await rm(folder, { recursive: true, force: true });
  };
});
afterAll(() => close());

async function logIn(): Promise<string> {
  const answer = await server.send("/log-in", { method: "POST", headers: { "sec-fetch-site": "same-origin" } });
  return (answer.headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
}

test(
  "a session store that looks for one missing file for a second: only who sends that cookie is refused",
  async () => {
    const stale = await logIn();
    for (const file of await readdir(folder)) await rm(join(folder, file));
    const targets: Target[] = [];
    for (const name of ["session", "other session"])
      targets.push({ name, path: "/session", headers: { cookie: await logIn() } });
    const statuses: number[] = [];
    let isStopped = false;
    let work: Promise<unknown> | undefined;
    const turn = async (): Promise<void> => {
      while (!isStopped) {
        statuses.push((await server.send("/session", { headers: { cookie: stale } })).status);
        await sleep(5);
      }
    };
    const fault = {
      name: "files: one missing file is looked for",
      lastsMs: 2000,
      begin: () => void (work = Promise.all([turn(), turn(), turn()])),
      end: async () => {
        isStopped = true;
        await work;
      },
    };
    await outage(server.port, events, targets, fault, { during: {}, announcedBy: [] });
    expect(statuses.length).toBeGreaterThan(10);
    expect(new Set(statuses)).toEqual(new Set([503]));
  },
  FAULT_TEST_MS,
);
