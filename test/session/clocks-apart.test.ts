import { randomBytes } from "node:crypto";
import express, { type Express } from "express";
import { describe, expect, it } from "vitest";
import { applySecurity } from "../../src/apply-security.js";
import type { Clock } from "../../src/core/clock.js";
import type { Principal } from "../../src/core/principal.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { serve } from "../support/serve.js";
import { plainSessionStore } from "./plain-store.js";

const secretKey = randomBytes(32).toString("base64url");
/** Log-ins after a call, in all cases together. */
const LOG_INS = 300;

function ahead(ms: number): Clock {
  return { now: () => Date.now() + ms, monotonic: () => performance.now() };
}

const HOUR_MS = 3_600_000;
const CASES = [
  { there: 0, here: 0 },
  { there: HOUR_MS / 2, here: 0 },
  { there: 0, here: HOUR_MS / 2 },
];

async function process(ms: number, settings: object) {
  const app: Express = express();
  const security = applySecurity(
    app,
    {
      secretKey,
      debug: true,
      rateLimit: false,
      headers: false,
      session: { storeTimeoutMs: 5000, absoluteMaxAge: 86_400 },
      ...settings,
    },
    { clock: ahead(ms) },
  );
  app.post("/in/:id", (req, res, next) => void security.logIn(req, { id: req.params.id }).then(() => res.end(), next));
  app.get("/who", (req, res) => void res.json(req.principal ?? null));
  await security.ready();
  const server = await serve(app);
  return {
    revokeAll: (id: string) => security.revokeAll(id, { reason: "asked" }),
    async logIn(id: string): Promise<string> {
      const { headers } = await server.send(`/in/${id}`, { method: "POST" });
      return String(headers["set-cookie"]).split(";")[0] ?? "";
    },
    async who(cookie: string): Promise<string | undefined> {
      return (JSON.parse((await server.send("/who", { headers: { cookie } })).text) as Principal | null)?.id;
    },
    async close(): Promise<void> {
      await server.close();
      await security.close();
    },
  };
}

/** Redis for the sessions too, and a store of others, which has no index: there the cut-off alone ends them. */
const STORES = {
  Redis: () => ({}),
  "a store of others": () => {
    const store = plainSessionStore();
    return { session: { store, storeTimeoutMs: 5000, absoluteMaxAge: 86_400 } };
  },
};

describe.each(Object.keys(STORES) as (keyof typeof STORES)[])("two processes with sessions in %s", (kind) => {
  it.each(CASES)(
    "end all and log in again, over and over: the old session ends and the new one is valid (clocks ahead by $there and $here ms)",
    async (clocks) => {
      const settings = { redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:`, ...STORES[kind]() };
      const there = await process(clocks.there, settings);
      const here = await process(clocks.here, settings);
      try {
        for (let n = 0; n < LOG_INS / (CASES.length * 2); n += 1) {
          const id = `user-${n % 7}`;
          const old = [await there.logIn(id), await here.logIn(id)];
          await here.revokeAll(id);
          // At once, in the process that did not end anything.
          const valid = await there.logIn(id);
          for (const member of [there, here]) {
            expect(await member.who(valid)).toBe(id);
            for (const cookie of member === here ? old : []) expect(await member.who(cookie)).toBeUndefined();
          }
          // The other process may take up to a second, but has read the cut-off for the log-in.
          for (const cookie of old) expect(await there.who(cookie)).toBeUndefined();
        }
      } finally {
        await there.close();
        await here.close();
      }
    },
    60_000,
  );
});
