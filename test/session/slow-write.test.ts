import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import session from "express-session";
import { afterAll, beforeAll, expect, it } from "vitest";
import { applySecurity } from "../../src/index.js";
import { serve, type TestServer } from "../support/serve.js";

/** A store that takes longer than the time-out to write the sessions of one user. */
class SlowForOne extends session.MemoryStore {
  override set(sid: string, record: session.SessionData, callback?: (error?: unknown) => void): void {
    const isSlow = JSON.stringify(record).includes("slow-user");
    setTimeout(() => super.set(sid, record, callback), isSlow ? 400 : 1);
  }
}

let server: TestServer;
let close: () => Promise<void>;

beforeAll(async () => {
  const app = express();
  const security = applySecurity(app, {
    secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-slow-write",
    trustedHosts: ["127.0.0.1"],
    trustProxy: 1,
    debug: true,
    rateLimit: { limit: 1_000_000 },
    session: { store: new SlowForOne() },
  });
  app.post("/log-in/:user", (req, res, next) => {
    security.logIn(req, { id: req.params.user }).then(() => res.send("in"), next);
  });
  await security.ready();
  server = await serve(app);
  close = async () => {
    await server.close();
    await security.close();
  };
});
afterAll(() => close());

const logIn = async (user: string, address: string): Promise<number> =>
  (
    await server.send(`/log-in/${user}`, {
      method: "POST",
      headers: { "sec-fetch-site": "same-origin", "x-forwarded-for": address },
    })
  ).status;

it("a store that is slow to write the sessions of one user still writes those of clients at other addresses", async () => {
  const slow: Promise<number>[] = [];
  const honest: number[] = [];
  for (let turn = 0; turn < 36; turn += 1) {
    // Five late writes in a row open the circuit of the store. Nobody reads from it.
    slow.push(logIn("slow-user", "192.0.2.1"));
    await sleep(100);
    if (turn % 12 === 11) honest.push(await logIn("ada", `198.51.100.${turn}`));
  }
  expect(honest).toEqual([200, 200, 200]);
  expect(new Set(await Promise.all(slow))).toEqual(new Set([503]));
}, 30_000);
