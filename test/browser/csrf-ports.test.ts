import { type IncomingHttpHeaders, request } from "node:http";
import express from "express";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serve, type TestServer } from "../support/serve.js";
import { launchChromium } from "./support/chromium.js";
import { run } from "./support/in-page.js";
import { asked, html, secured, type Site } from "./support/site.js";

const form = (action: string) => html(`<form method="post" action="${action}"><button>Send</button></form>`);

const arrived: IncomingHttpHeaders[] = [];
let site: Site;
let app: TestServer;
/** Passes everything on to the app, and the host without its port: `proxy_set_header Host $host` in nginx. */
let proxy: TestServer;
/** Another service of the same host. */
let neighbour: TestServer;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  site = secured(
    {
      debug: true,
      trustedHosts: ["127.0.0.1"],
      csrf: {},
      headers: { referrerPolicy: "same-origin", contentSecurityPolicy: false },
    },
    (routes) => {
      routes.get("/form", (req, res) => void res.send(form(asked(req, "to"))));
      routes.post("/transfer", (_req, res) => void res.send("done"));
    },
  );
  app = await serve((req, res) => {
    if (req.method === "POST") arrived.push(req.headers);
    site.app(req, res);
  });
  proxy = await serve((req, res) => {
    const onwards = request(
      {
        host: "127.0.0.1",
        port: app.port,
        path: req.url,
        method: req.method,
        headers: { ...req.headers, host: "127.0.0.1" },
      },
      (answer) => {
        res.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
        answer.pipe(res);
      },
    );
    req.pipe(onwards);
  });
  const other = express();
  other.get("/form", (req, res) => void res.send(form(asked(req, "to"))));
  neighbour = await serve(other);
  browser = await launchChromium();
  page = await browser.newPage();
});
afterAll(async () => {
  await browser.close();
  await Promise.all([app, proxy, neighbour].map((server) => server.close()));
  await site.security?.close();
});

async function submit(from: string, action: string): Promise<{ seen: IncomingHttpHeaders | undefined; shown: string }> {
  arrived.length = 0;
  await page.goto(`${from}?to=${encodeURIComponent(action)}`);
  await page.click("button");
  await page.waitForURL(action);
  return { seen: arrived[0], shown: await run(page, "() => document.body.textContent") };
}

test("a form of the service's own page passes when the proxy loses the port of Host", async () => {
  const { seen, shown } = await submit(`${proxy.origin}/form`, `${proxy.origin}/transfer`);
  expect(seen).toMatchObject({ host: "127.0.0.1", origin: proxy.origin, "sec-fetch-site": "same-origin" });
  expect(shown).toBe("done");
});

test("a form of another port of the same host is refused behind that proxy", async () => {
  const { seen, shown } = await submit(`${neighbour.origin}/form`, `${proxy.origin}/transfer`);
  expect(seen).toMatchObject({ host: "127.0.0.1", origin: neighbour.origin, "sec-fetch-site": "same-site" });
  expect(shown).toContain("Cross-origin request refused");
});
