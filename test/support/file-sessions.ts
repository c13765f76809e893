import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import session from "express-session";
import { expect } from "vitest";
import type { SecurityEvents } from "../../src/core/events.js";
import { applySecurity } from "../../src/index.js";
import { serve, type TestServer } from "./serve.js";

/** The package has no types. It looks for a missing file again and again, for a second. */
type FileStoreOf = (
  of: typeof session,
) => new (options: { path: string; minTimeout: number; maxTimeout: number; logFn: () => void }) => session.Store;
const fileStoreOf = createRequire(import.meta.url)("session-file-store") as FileStoreOf;

/** An app with its sessions in files: `/session` answers 200 to whoever is logged in. */
export interface FileSessions {
  readonly server: TestServer;
  readonly events: SecurityEvents;
  /** Returns the cookie of a new session. */
  logIn(): Promise<string>;
  /** Deletes every file, so that each session is looked for in vain. */
  deleteFiles(): Promise<void>;
  close(): Promise<void>;
}

export async function startFileSessions(storeTimeoutMs?: number): Promise<FileSessions> {
  const folder = await mkdtemp(join(tmpdir(), "portcullis-sessions-"));
  const app = express();
  const store = new (fileStoreOf(session))({ path: folder, minTimeout: 200, maxTimeout: 200, logFn: () => undefined });
  const security = applySecurity(app, {
    secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-slow-look-up",
    trustedHosts: ["127.0.0.1"],
    debug: true,
    rateLimit: { limit: 1_000_000 },
    session: { store, storeTimeoutMs },
  });
  app.post("/log-in", (req, res, next) => {
    security.logIn(req, { id: "ada" }).then(() => res.send("in"), next);
  });
  app.get("/session", security.requireSession(), (_req, res) => void res.send("ok"));
  await security.ready();
  const server = await serve(app);

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

  return {
    server,
    events: security.events,
    logIn,
    async deleteFiles() {
      for (const file of await readdir(folder)) await rm(join(folder, file));
    },
    async close() {
      await server.close();
      await security.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
