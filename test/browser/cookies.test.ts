import type { Cookie, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { run } from "./support/in-page.js";
import { sessionRoutes } from "./support/sessions.js";
import { APP, EVIL, asked, bare, html, secured } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const SIBLING = "https://sibling.bank.example";
const SHARING = "https://shared.bank.example";
const HOST_COOKIE = "__Host-mcp_session";

let world: World;
beforeAll(async () => {
  const session = (settings: object) => secured(settings, sessionRoutes);
  world = await startWorld({
    "app.bank.example": secured({ session: {} }, (app, security) => {
      sessionRoutes(app, security);
      app.get("/visit", (req, res) => {
        Object.assign(req.session, { seen: true });
        res.send("seen");
      });
    }),
    "shared.bank.example": session({ session: { domain: "bank.example" } }),
    "debug.bank.example": session({ session: {}, debug: true }),
    "lax.bank.example": session({ session: { sameSite: "lax" } }),
    "strict.bank.example": session({ session: { sameSite: "strict" } }),
    "none.bank.example": session({ session: { sameSite: "none" } }),
    "sibling.bank.example": bare((app) => {
      app.get("/plant/cookie", (req, res) => void res.set("Set-Cookie", asked(req, "line")).send("planted"));
      app.get("/to", (req, res) => void res.send(links(asked(req, "site"))));
    }),
    "evil.test": bare((app) => app.get("/to", (req, res) => void res.send(links(asked(req, "site"))))),
  });
});
afterEach(() => world.forget());
afterAll(() => world.close());

/** The three ways a page can make a browser call another site. */
const links = (site: string) =>
  html(
    `<a href="https://${site}/who">link</a> <form method="post" action="https://${site}/who"><button>form</button></form> <img src="https://${site}/who?image">`,
  );

const jar = async (page: Page): Promise<Cookie[]> => page.context().cookies();
const names = async (page: Page): Promise<string[]> => (await jar(page)).map(({ name }) => name);
const text = async (page: Page, address: string): Promise<string> => (await (await page.goto(address))?.text()) ?? "";

describe("the session's cookie", () => {
  test("is kept for this host alone, over https alone, out of the reach of scripts", async () => {
    const page = await world.page();
    await page.goto(`${APP}/in/ada`);
    expect(await jar(page)).toMatchObject([
      { name: HOST_COOKIE, domain: "app.bank.example", path: "/", secure: true, httpOnly: true, sameSite: "Lax" },
    ]);
    expect(await run(page, "() => document.cookie")).toBe("");
    expect(await text(page, `${APP}/who`)).toBe("ada");
    await page.goto(SIBLING);
    expect(world.requests(`GET ${SIBLING}/`).map(({ headers }) => headers.cookie)).toEqual([undefined]);
  });

  test("changes at log-in, and its old value is no longer accepted", async () => {
    const page = await world.page();
    await page.goto(`${APP}/visit`);
    const [before] = await jar(page);
    await page.goto(`${APP}/in/ada`);
    const [after] = await jar(page);
    expect([before?.name, after?.name]).toEqual([HOST_COOKIE, HOST_COOKIE]);
    expect(after?.value).not.toBe(before?.value);
    expect(await text(page, `${APP}/who`)).toBe("ada");
    await page.context().addCookies([before as Cookie]);
    expect(await text(page, `${APP}/who`)).toBe("nobody");
  });

  test("with a domain is sent to every host below it, and has the prefix __Secure-", async () => {
    const page = await world.page();
    await page.goto(`${SHARING}/in/ada`);
    expect(await jar(page)).toMatchObject([
      { name: "__Secure-mcp_session", domain: ".bank.example", secure: true, httpOnly: true },
    ]);
    await page.goto(SIBLING);
    expect(world.requests(`GET ${SIBLING}/`)[0]?.headers.cookie).toMatch(/^__Secure-mcp_session=s/);
  });

  test("is not stored over plain http, except in debug", async () => {
    const page = await world.page();
    await page.goto("http://app.bank.example/in/ada");
    expect(await names(page)).toEqual([]);
    await page.goto("http://debug.bank.example/in/ada");
    expect(await names(page)).toEqual(["mcp_session"]);
    expect(await text(page, "http://debug.bank.example/who")).toBe("ada");
  });
});

describe("a cookie of that name, planted by another host of the site", () => {
  let page: Page;
  beforeAll(async () => void (page = await world.page()));
  beforeEach(() => page.context().clearCookies());
  const plant = (line: string, scheme = "https") =>
    page.goto(`${scheme}://sibling.bank.example/plant/cookie?${String(new URLSearchParams({ line }))}`);

  test.each([
    ["for the whole domain", `${HOST_COOKIE}=x; Domain=bank.example; Path=/; Secure`],
    ["for the whole domain, in capitals", "__HOST-MCP_SESSION=x; Domain=bank.example; Path=/; Secure"],
    ["for the whole domain, as a value without a name", `=${HOST_COOKIE}=x; Domain=bank.example; Path=/; Secure`],
    ["without Secure", `${HOST_COOKIE}=x; Path=/`],
    ["for a path", `${HOST_COOKIE}=x; Path=/plant; Secure`],
    ["without a path", `${HOST_COOKIE}=x; Secure`],
    ["with the other prefix and without Secure", "__Secure-mcp_session=x; Domain=bank.example; Path=/"],
  ])("is not stored: %s", async (_what, line) => {
    await plant(line);
    await plant("witness=x; Path=/");
    expect(await names(page)).toEqual(["witness"]);
  });

  test("is not stored over plain http either", async () => {
    const line = `${HOST_COOKIE}=x; Path=/; Secure`;
    await plant(line, "http");
    expect(await names(page)).toEqual([]);
    await plant(line);
    expect(await names(page)).toEqual([HOST_COOKIE]);
  });

  test("is stored in the one form a browser allows, for its own host, and never reaches the service", async () => {
    await plant(`${HOST_COOKIE}=x; Path=/; Secure`);
    expect(await jar(page)).toMatchObject([{ name: HOST_COOKIE, domain: "sibling.bank.example" }]);
    await page.goto(`${APP}/who`);
    expect(world.requests(`GET ${APP}/who`).map(({ headers }) => headers.cookie)).toEqual([undefined]);
  });

  test("reaches the service without the prefix, and the service ignores it", async () => {
    await page.goto(`${APP}/in/ada`);
    await plant("mcp_session=x; Domain=bank.example; Path=/");
    expect(await text(page, `${APP}/who`)).toBe("ada");
    expect(world.requests(`GET ${APP}/who`)[0]?.headers.cookie).toMatch(/(?:^|; )mcp_session=x(?:;|$)/);
  });
});

describe("SameSite", () => {
  /** Which of the ways brought the cookie along. */
  async function brought(site: string, from: string): Promise<{ link: boolean; form: boolean; image: boolean }> {
    const page = await world.page();
    await page.goto(`https://${site}/in/ada`);
    await page.goto(`${from}/to?site=${site}`);
    await page.click("a");
    await page.waitForURL(`https://${site}/who`);
    await page.goto(`${from}/to?site=${site}`);
    await page.click("button");
    await page.waitForURL(`https://${site}/who`);
    const cookie = (line: string) => world.requests(line)[0]?.headers.cookie !== undefined;
    return {
      link: cookie(`GET https://${site}/who`),
      form: cookie(`POST https://${site}/who`),
      image: cookie(`GET https://${site}/who?image`),
    };
  }

  // A profile of these tests is a private one, which keeps third-party cookies back whatever SameSite says: hence no image with "none".
  test.each([
    ["lax", "lax.bank.example", EVIL, { link: true, form: false, image: false }],
    ["strict", "strict.bank.example", EVIL, { link: false, form: false, image: false }],
    ["none", "none.bank.example", EVIL, { link: true, form: true, image: false }],
    ["strict", "strict.bank.example", SIBLING, { link: true, form: true, image: true }],
  ])("%s: which requests to %s made by a page of %s carry the cookie", async (_setting, site, from, expected) => {
    expect(await brought(site, from)).toEqual(expected);
  });
});
