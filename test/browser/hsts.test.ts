import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { run } from "./support/in-page.js";
import { APP, bare, EVIL, html, secured, type Site } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const BELOW = "sub.app.bank.example";
const ALONE = "https://alone.bank.example";
const BELOW_ALONE = "sub.alone.bank.example";
const OFF = "https://off.bank.example";
const NOT_UPGRADING = "https://asis.bank.example";

/** A page with a script whose address is of plain http. */
const scripted = (hsts: false | { maxAge: number; includeSubDomains: boolean } | undefined, upgrade?: false): Site =>
  secured(
    {
      headers: {
        strictTransportSecurity: hsts,
        contentSecurityPolicy: {
          directives: { "script-src": [EVIL], ...(upgrade === false && { "upgrade-insecure-requests": false }) },
        },
      },
    },
    (app, security) => {
      app.get(
        "/script",
        (_req, res) => void res.send(html(`<script src="http://${new URL(EVIL).host}/code.js"></script>`)),
      );
      app.get(
        "/forget",
        security.headers({ strictTransportSecurity: { maxAge: 0 } }),
        (_req, res) => void res.send(html("")),
      );
    },
  );

let world: World;
beforeAll(async () => {
  world = await startWorld(
    {
      "app.bank.example": scripted(undefined),
      [BELOW]: bare(),
      "alone.bank.example": scripted({ maxAge: 31_536_000, includeSubDomains: false }),
      [BELOW_ALONE]: bare(),
      "off.bank.example": scripted(false),
      "asis.bank.example": scripted(false, false),
      "evil.test": bare((app) => app.get("/code.js", (_req, res) => void res.type("js").send("window.ran = true"))),
      "forged.bank.example": bare(),
    },
    { forged: "forged.bank.example" },
  );
});
afterEach(() => world.reset());
afterAll(() => world.close());

/** The schemes by which requests for a page of this host arrived. */
const schemes = (host: string, path = "/") =>
  world.seen.filter((seen) => seen.host === host && seen.path === path).map(({ scheme }) => scheme);

test("the browser refuses any other certificate, so these tests ignore no certificate error", async () => {
  const page = await world.page();
  await expect(page.goto("https://forged.bank.example")).rejects.toThrow("ERR_CERT_AUTHORITY_INVALID");
  expect(world.seen).toEqual([]);
});

describe("Strict-Transport-Security", () => {
  test("after a visit over https the browser replaces http by https", async () => {
    const page = await world.page();
    await page.goto(APP);
    await page.goto("http://app.bank.example");
    expect(page.url()).toBe(`${APP}/`);
    expect(schemes("app.bank.example")).toEqual(["https", "https"]);
  });

  test.each([
    ["a visit over http teaches the browser nothing", "http://app.bank.example", "app.bank.example", ["http", "http"]],
    ["where it is off, http stays http", OFF, "off.bank.example", ["https", "http"]],
  ])("%s", async (_what, first, host, expected) => {
    const page = await world.page();
    await page.goto(first);
    await page.goto(`http://${host}`);
    expect(schemes(host)).toEqual(expected);
  });

  test.each([
    ["names below are held to https as well", APP, BELOW, ["https"]],
    ["names below are not, with includeSubDomains: false", ALONE, BELOW_ALONE, ["http"]],
  ])("%s", async (_what, first, host, expected) => {
    const page = await world.page();
    await page.goto(first);
    await page.goto(`http://${host}`);
    expect(schemes(host)).toEqual(expected);
  });

  test("maxAge: 0 makes the browser forget", async () => {
    const page = await world.page();
    await page.goto(APP);
    await page.goto(`${APP}/forget`);
    await page.goto("http://app.bank.example");
    expect(schemes("app.bank.example")).toEqual(["https", "http"]);
  });
});

describe("upgrade-insecure-requests", () => {
  test.each([
    ["a script with an address of http is fetched over https", OFF, true, ["https"]],
    ["without it, such a script is not fetched at all", NOT_UPGRADING, undefined, []],
  ])("%s", async (_what, origin, ran, expected) => {
    const page = await world.page();
    await page.goto(`${origin}/script`);
    expect(await run(page, "() => window.ran")).toBe(ran);
    expect(schemes("evil.test", "/code.js")).toEqual(expected);
  });
});
