import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import connectPgSimple from "connect-pg-simple";
import { RedisStore } from "connect-redis";
import session from "express-session";
import memoryStore from "memorystore";
import pg from "pg";
import { createClient } from "redis";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { applySecurity } from "portcullis";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type Answer } from "../support/serve.js";
import { postgresDatabase, sharedRedis, uniqueName } from "../support/servers.js";

interface OpenStore {
  readonly store: session.Store;
  close(): unknown;
}

/** The package has no types. */
type FileStore = (of: typeof session) => new (options: { path: string; logFn: () => void }) => session.Store;

const STORES: readonly (readonly [string, () => Promise<OpenStore>])[] = [
  [
    "connect-pg-simple on PostgreSQL",
    async () => {
      const pool = new pg.Pool({ connectionString: await postgresDatabase() });
      const store = new (connectPgSimple(session))({ pool, createTableIfMissing: true, pruneSessionInterval: false });
      return { store, close: () => pool.end() };
    },
  ],
  [
    "connect-redis on Redis",
    async () => {
      const client = await createClient({ url: (await sharedRedis()).url }).connect();
      return { store: new RedisStore({ client, prefix: `${uniqueName()}:` }), close: () => client.close() };
    },
  ],
  [
    "memorystore",
    async () => {
      const store = new (memoryStore(session))({ checkPeriod: 60_000 });
      return Promise.resolve({ store, close: () => store.stopInterval() });
    },
  ],
  [
    "session-file-store",
    async () => {
      const path = mkdtempSync(join(tmpdir(), "portcullis-sessions-"));
      const fileStore = createRequire(import.meta.url)("session-file-store") as FileStore;
      const store = new (fileStore(session))({ path, logFn: () => undefined });
      return Promise.resolve({ store, close: () => rmSync(path, { recursive: true, force: true }) });
    },
  ],
];

const opened = new Map<string, Promise<OpenStore>>();
afterAll(async () => {
  for (const one of opened.values()) await (await one).close();
});

describe.each(EXPRESS)("a store written for express-session, on $name", ({ express }) => {
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function start(name: string, open: () => Promise<OpenStore>, maxAge = 3600) {
    const made = opened.get(name) ?? open();
    opened.set(name, made);
    const { store } = await made;
    const app = express();
    // A slow disk or a busy machine is not what this is about.
    const settings = { store, maxAge, storeTimeoutMs: 10_000 };
    const security = applySecurity(app, {
      debug: true,
      secretKey: "kJ8#vQ2!mZ7@xW4$nR9%tY6^bH3&cL5*",
      session: settings,
    });
    const logIn = security.handler(async (req, res) => {
      await security.logIn(req, { id: "ada", roles: ["member"] });
      res.sendStatus(204);
    });
    const logOut = security.handler(async (req, res) => {
      await security.logOut(req, res);
      res.sendStatus(204);
    });
    app.post("/in", logIn);
    app.post("/out", logOut);
    app.post("/note", (req, res) => {
      req.session.note = "kept";
      res.sendStatus(204);
    });
    app.get("/me", security.requireSession({ roles: ["member"] }), (req, res) => {
      res.json({ id: req.principal?.id, note: req.session.note });
    });
    const server = await serve(app);
    closing.push(server.close, () => security.close());
    const send = (method: string, path: string, Cookie = "") => server.send(path, { method, headers: { Cookie } });
    return { security, send };
  }
  const cookieOf = (answer: Answer) => (answer.headers["set-cookie"]?.[0] ?? "").split(";")[0] ?? "";

  it.each(STORES)("%s keeps a log-in and the app's data, until the log-out", async (name, open) => {
    const { send } = await start(name, open);
    const mine = cookieOf(await send("POST", "/in"));
    expect(mine).not.toBe("");
    expect((await send("POST", "/note", mine)).status).toBe(204);
    const me = await send("GET", "/me", mine);
    expect([me.status, me.text]).toEqual([200, '{"id":"ada","note":"kept"}']);
    const forged = `${mine.slice(0, -4)}AAAA`;
    expect((await send("GET", "/me", forged)).status).toBe(401);
    expect((await send("POST", "/out", mine)).status).toBe(204);
    expect((await send("GET", "/me", mine)).status).toBe(401);
  });

  it("each ends an unused session after maxAge", async () => {
    const left = STORES.map(async ([name, open]) => {
      const { send } = await start(name, open, 2);
      const mine = cookieOf(await send("POST", "/in"));
      const statusAtOnce = (await send("GET", "/me", mine)).status;
      // connect-pg-simple keeps times in whole seconds and rounds up, twice.
      await sleep(4100);
      return [name, statusAtOnce, (await send("GET", "/me", mine)).status];
    });
    expect(await Promise.all(left)).toEqual(STORES.map(([name]) => [name, 200, 401]));
  });

  it.each(STORES)("%s cannot list sessions, and the error says so", async (name, open) => {
    const { security } = await start(name, open);
    await expect(security.sessions.list("ada")).rejects.toThrow(/store/);
  });
});
