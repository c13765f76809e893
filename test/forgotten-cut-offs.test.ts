import express from "express";
import type { Store } from "express-session";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity } from "../src/apply-security.js";
import type { SecuritySettings } from "../src/app-settings/schema.js";
import { plainSessionStore } from "./session/plain-store.js";
import { sharedRedis, uniqueName } from "./support/servers.js";
import { serve } from "./support/serve.js";

/**
 * The sessions are in a store of others, which outlives the processes and what they shared: a session that began after
 * a cut-off that nobody remembers ends by the next one all the same.
 */

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(store: Store, settings: SecuritySettings) {
  const app = express();
  const security = applySecurity(app, {
    secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
    debug: true,
    rateLimit: false,
    headers: false,
    session: { store, storeTimeoutMs: 5000 },
    ...settings,
  });
  app.post("/in", (req, res, next) => void security.logIn(req, { id: "ada" }).then(() => res.end(), next));
  app.get("/who", (req, res) => void res.send(req.principal?.id ?? "nobody"));
  await security.ready();
  const server = await serve(app);
  const close = async (): Promise<void> => {
    await server.close();
    await security.close();
  };
  return {
    close,
    revokeAll: () => security.revokeAll("ada"),
    async logIn(): Promise<string> {
      const { headers } = await server.send("/in", { method: "POST" });
      return String(headers["set-cookie"]).split(";")[0] ?? "";
    },
    who: async (cookie: string) => (await server.send("/who", { headers: { cookie } })).text,
  };
}

describe.each(["no shared store", "a Redis that loses its data"])("with %s", (kind) => {
  async function settings(): Promise<SecuritySettings> {
    return kind === "no shared store" ? {} : { redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:` };
  }

  it("revokeAll after a restart ends the session that began after an earlier one", async () => {
    const store = plainSessionStore();
    const before = await start(store, await settings());
    await before.revokeAll();
    const cookie = await before.logIn();
    await before.close();
    const after = await start(store, await settings());
    closing.push(after.close);
    expect(await after.who(cookie)).toBe("ada");
    await after.revokeAll();
    expect(await after.who(cookie)).toBe("nobody");
    expect(await after.who(await after.logIn())).toBe("ada");
  });
});
