import type { Express } from "express";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { run } from "./support/in-page.js";
import { sessionRoutes } from "./support/sessions.js";
import { APP, bare, EVIL, html, secured } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const SIBLING = "https://sibling.bank.example";

/** What a log-out leaves that ends the session and no more. */
function routes(app: Express): void {
  app.get("/private", (req, res) => {
    if (req.principal === undefined) return void res.status(401).send("log in first");
    res.set("Cache-Control", "private, max-age=600").send(html(`the balance of ${req.principal.id}`));
  });
  app.post(
    "/out-by-hand",
    (req, res, next) =>
      void req.session.destroy((error: unknown) => (error == null ? res.sendStatus(204) : next(error))),
  );
}

let world: World;
beforeAll(async () => {
  world = await startWorld({
    "app.bank.example": secured({ session: {} }, (app, security) => (sessionRoutes(app, security), routes(app))),
    "sibling.bank.example": bare(),
    "evil.test": bare(),
  });
});
afterEach(() => world.reset());
afterAll(() => world.close());

const KEEP = `async () => {
  localStorage.setItem("draft", "text");
  sessionStorage.setItem("tab", "text");
  document.cookie = "theme=dark; Secure; Path=/";
  await new Promise((resolve, reject) => {
    const opening = indexedDB.open("mail");
    opening.onsuccess = () => (opening.result.close(), resolve());
    opening.onerror = reject;
  });
  const cache = await caches.open("pages");
  await cache.put("/kept", new Response("text"));
}`;

/** What the browser still has of this origin. */
const left = (page: Page) =>
  run(
    page,
    `async () => ({
      local: localStorage.length,
      session: sessionStorage.length,
      cookies: document.cookie,
      databases: (await indexedDB.databases()).length,
      caches: (await caches.keys()).length,
    })`,
  );
const post = (page: Page, path: string) =>
  run<number>(page, "async (path) => (await fetch(path, { method: 'POST' })).status", path);
const jar = async (page: Page) =>
  (await page.context().cookies()).map(({ name, domain }) => `${name} ${domain}`).sort();

async function loggedIn(): Promise<Page> {
  const page = await world.page();
  await page.goto(`${APP}/in/ada`);
  await page.goto(`${APP}/private`);
  await run(page, KEEP);
  return page;
}

const KEPT = { local: 1, session: 1, cookies: "theme=dark", databases: 1, caches: 1 };

describe("log-out", () => {
  test("removes the cookies and everything that the service stored", async () => {
    const page = await loggedIn();
    expect([await left(page), await jar(page)]).toEqual([
      KEPT,
      ["__Host-mcp_session app.bank.example", "theme app.bank.example"],
    ]);
    expect(await post(page, "/out")).toBe(204);
    expect([await left(page), await jar(page)]).toEqual([
      { local: 0, session: 0, cookies: "", databases: 0, caches: 0 },
      [],
    ]);
  });

  test("leaves them if the app only destroys the session", async () => {
    const page = await loggedIn();
    expect(await post(page, "/out-by-hand")).toBe(204);
    expect(await left(page)).toEqual(KEPT);
  });

  test("clears the cache: going back asks the service, which shows nothing", async () => {
    const page = await loggedIn();
    await post(page, "/out");
    await page.goto(`${APP}/who`);
    const back = await page.goBack();
    expect([back?.status(), await back?.text()]).toEqual([401, "log in first"]);
  });

  test("leaves a cached page for the back button if the app only destroys the session", async () => {
    const page = await loggedIn();
    await post(page, "/out-by-hand");
    await page.goto(`${APP}/who`);
    await page.goBack();
    expect(await run(page, "() => document.body.textContent")).toBe("the balance of ada");
    expect(world.requests(`GET ${APP}/private`)).toHaveLength(1);
  });

  test("removes the cookies of the other hosts of the site, and none of another site", async () => {
    const page = await loggedIn();
    for (const origin of [SIBLING, EVIL]) {
      await page.goto(origin);
      await run(page, KEEP);
    }
    await page.goto(`${APP}/private`);
    await post(page, "/out");
    // Clear Site Data section 3.1: "cookies" are those of the registered domain, "storage" that of the origin.
    expect(await jar(page)).toEqual(["theme evil.test"]);
    await page.goto(SIBLING);
    expect(await left(page)).toEqual({ ...KEPT, cookies: "" });
    await page.goto(EVIL);
    expect(await left(page)).toEqual(KEPT);
  });

  test("is refused for a form of another site, so no other site can log a user out", async () => {
    const page = await loggedIn();
    await page.goto(EVIL);
    await run(
      page,
      "(action) => { const form = document.createElement('form'); Object.assign(form, { method: 'post', action }); document.body.append(form); form.submit(); }",
      `${APP}/out`,
    );
    await page.waitForURL(`${APP}/out`);
    expect(world.requests(`POST ${APP}/out`).map(({ status }) => status)).toEqual([403]);
    await page.goto(`${APP}/who`);
    expect(await run(page, "() => document.body.textContent")).toBe("ada");
  });
});
