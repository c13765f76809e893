import express from "express";
import { expect, it, onTestFinished } from "vitest";
import { applySecurity } from "../../src/index.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve } from "../support/serve.js";

it("a window that clients share, because there is no room, blocks none of them", async () => {
  const app = express();
  const clock = new ManualClock();
  const rateLimit = { limit: 3, windowSeconds: 60, blockSeconds: 7200, maxClients: 100 };
  const security = applySecurity(app, { debug: true, trustProxy: 1, rateLimit }, { clock });
  onTestFinished(() => security.close());
  app.use((_req, res) => void res.send("ok"));
  const server = await serve(app);
  onTestFinished(() => server.close());
  const ask = async (address: string) => {
    const { status, headers } = await server.send("/", { headers: { "X-Forwarded-For": address } });
    return [status, headers["retry-after"]];
  };
  for (let n = 0; n < 140; n += 1) await ask(`10.${n}.0.1`);
  for (let n = 0; n < 3; n += 1) expect(await ask(`192.0.2.${n}`)).toEqual([200, undefined]);
  // Its network has used up the window, and it has to wait for that; but it has done nothing for which to be blocked.
  expect(await ask("192.0.2.77")).toEqual([429, "60"]);
  clock.advance(60_000);
  expect(await ask("192.0.2.77")).toEqual([200, undefined]);
  // A client with a window of its own is blocked.
  for (let n = 0; n < 2; n += 1) expect(await ask("192.0.2.77")).toEqual([200, undefined]);
  expect(await ask("192.0.2.77")).toEqual([429, "7200"]);
});
