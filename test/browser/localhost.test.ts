import express from "express";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { Browser, Page } from "playwright-core";
import { applySecurity } from "portcullis";
import { serve, type TestServer } from "../support/serve.js";
import { launchChromium } from "./support/chromium.js";
import { run } from "./support/in-page.js";

let browser: Browser;
let page: Page;
let front: TestServer;
let api: TestServer;
const reasons: unknown[] = [];
beforeAll(async () => {
  const frontApp = express().get("/", (_req, res) => void res.send("<!doctype html><title>front</title>"));
  front = await serve(frontApp);
  const app = express();
  const security = applySecurity(app, {
    debug: true,
    secretKey: "kJ8#vQ2!mZ7@xW4$nR9%tY6^bH3&cL5*",
    session: {},
    cors: { origins: [`http://localhost:${front.port}`, front.origin], credentials: true },
  });
  security.events.on("portcullis_misconfigured", ({ reason }) => void reasons.push(reason));
  app.post(
    "/in",
    security.handler(async (req, res) => {
      await security.logIn(req, { id: "ada" });
      res.sendStatus(204);
    }),
  );
  app.get("/me", security.requireSession(), (_req, res) => void res.send("ada"));
  api = await serve(app);
  // The last one of a flag counts.
  browser = await launchChromium(undefined, [
    "--host-resolver-rules=MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
  ]);
  page = await browser.newPage();
});
afterEach(() => vi.restoreAllMocks());
afterAll(async () => {
  await browser.close();
  await Promise.all([front.close(), api.close()]);
});

/** Statuses of a log-in and of the next request, from a page of one origin. */
async function logIn(origin: string): Promise<unknown> {
  await page.goto(origin);
  const ask = `async (api) => {
    const options = { credentials: "include" };
    const login = await fetch(api + "/in", { method: "POST", ...options });
    const me = await fetch(api + "/me", options);
    return [login.status, me.status];
  }`;
  return run(page, ask, api.origin);
}

test("a page on 127.0.0.1 stays logged in at an API there; one on localhost does not, which is reported", async () => {
  const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  expect(await logIn(front.origin)).toEqual([204, 200]);
  expect([warned.mock.calls, reasons]).toEqual([[], []]);
  await page.context().clearCookies();
  expect(await logIn(`http://localhost:${front.port}`)).toEqual([204, 401]);
  expect(reasons).toEqual(["cross-site-log-in"]);
  expect(String(warned.mock.calls[0]?.[0])).toContain("localhost and 127.0.0.1 are different sites");
});
