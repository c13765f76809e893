import express from "express";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applySecurity } from "portcullis";
import { serve, type TestServer } from "../support/serve.js";
import { launchChromium } from "./support/chromium.js";

let browser: Browser;
let server: TestServer;
let security: { close(): Promise<void> };
beforeAll(async () => {
  const app = express();
  const secured = applySecurity(app, {
    debug: true,
    secretKey: "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud",
    session: {},
  });
  security = secured;
  app.get("/login", (_req, res) => void res.send("<!doctype html><title>Log in</title>"));
  app.get("/plain", secured.requireSession(), (_req, res) => void res.send("never"));
  app.get("/page", secured.requireSession({ redirectTo: "/login" }), (_req, res) => void res.send("never"));
  server = await serve(app);
  browser = await launchChromium();
});
afterAll(async () => {
  await browser.close();
  await server.close();
  await security.close();
});

test("a browser shows a refusal as a page, under the app's policy", async () => {
  const page = await browser.newPage();
  const violations: string[] = [];
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) violations.push(message.text());
  });
  const answer = await page.goto(`${server.origin}/plain`);
  expect(answer?.status()).toBe(401);
  expect(answer?.headers()["content-security-policy"]).toContain("script-src 'self'");
  await expect(page.title()).resolves.toBe("Credentials required");
  await expect(page.getByRole("heading").innerText()).resolves.toBe("Credentials required");
  await expect(page.locator("script, style, link, [style]").count()).resolves.toBe(0);
  expect(violations).toEqual([]);
});

test("a browser is sent to the log-in page, a script in it gets 401 as JSON", async () => {
  const page = await browser.newPage();
  const answer = await page.goto(`${server.origin}/page?a=b`);
  expect([answer?.status(), page.url()]).toEqual([200, `${server.origin}/login?returnTo=%2Fpage%3Fa%3Db`]);
  const asked = await page.evaluate(async () => {
    const got = await fetch("/page?a=b");
    return [got.status, got.redirected, ((await got.json()) as { code: string }).code];
  });
  expect(asked).toEqual([401, false, "missing-credentials"]);
});
