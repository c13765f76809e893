import type { Express } from "express";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Security, SecuritySettings } from "portcullis";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { sessionRoutes } from "./support/sessions.js";
import { API, APP, EVIL, asked, bare, html, secured, type Site } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const FAMILY = "https://family.bank.example";
const WATCHING = "https://watching.bank.example";
const PARTNER = "https://partner.test";

/** Who moved money, and where: what a forged request would bring about. */
const moved: string[] = [];
const events: string[] = [];

const form = (action: string) =>
  html(`<form method="post" action="${action}"><input name="amount" value="9"><button>Send</button></form>`);

function pages(app: Express): void {
  app.get("/form", (req, res) => void res.send(form(asked(req, "to"))));
  app.get(
    "/sandboxed",
    (req, res) =>
      void res.send(
        html(
          `<iframe sandbox="allow-forms allow-scripts allow-top-navigation" srcdoc='${form(asked(req, "to")).replace("<form", '<form target="_top"')}'></iframe>`,
        ),
      ),
  );
  app.post("/bounce", (req, res) => void res.redirect(307, asked(req, "to")));
}

/** The cookie is SameSite=None, so that it comes along from everywhere and is not what stops a request. */
function bank(settings: SecuritySettings = {}): Site {
  return secured(
    { session: { sameSite: "none" }, headers: { contentSecurityPolicy: false }, ...settings },
    (app, security: Security) => {
      sessionRoutes(app, security);
      pages(app);
      security.events.on("malicious_csrf", ({ reason }) => void events.push(String(reason)));
      for (const path of ["/transfer", "/callback"]) {
        app.post(path, (req, res) => {
          moved.push(`${req.principal?.id ?? "nobody"} ${path}`);
          res.send("done");
        });
      }
    },
  );
}

let world: World;
/** Of a user who is logged in everywhere. */
let page: Page;
beforeAll(async () => {
  world = await startWorld({
    "app.bank.example": bank({ csrf: { trustedOrigins: [PARTNER], exemptPaths: ["/callback"] } }),
    "family.bank.example": bank({ csrf: { sameSite: "allow" } }),
    "watching.bank.example": bank({ csrf: { mode: "report" } }),
    "plain.bank.example": secured({ debug: true, session: {} }, plainRoutes),
    "telling.bank.example": secured(
      { debug: true, session: {}, headers: { referrerPolicy: "same-origin" } },
      plainRoutes,
    ),
    "api.bank.example": bare(pages),
    "evil.test": bare(pages),
    "partner.test": bare(pages),
  });
  page = await world.page();
  for (const service of [APP, FAMILY, WATCHING]) await page.goto(`${service}/in/ada`);
});
function plainRoutes(app: Express): void {
  pages(app);
  app.post("/transfer", (_req, res) => void res.send("done"));
}

beforeEach(() => {
  moved.length = 0;
  events.length = 0;
  world.forget();
});
afterAll(() => world.close());

/** A user of the service presses the button of a form on another page. What the service saw, and what the user then sees. */
async function submit(
  from: string,
  action: string,
): Promise<{ site: unknown; origin: unknown; cookie: boolean; status: number; shown: string }> {
  await page.goto(`${from}?to=${encodeURIComponent(action)}`);
  await page.click("button");
  await page.waitForURL(action);
  const target = world.requests(`POST ${action}`)[0];
  if (target === undefined) throw new Error("the form did not arrive");
  const { headers, status } = target;
  return {
    site: headers["sec-fetch-site"],
    origin: headers.origin,
    cookie: headers.cookie !== undefined,
    status,
    shown: await run(page, "() => document.body.textContent"),
  };
}

describe("a form with the user's cookie", () => {
  test("of another site is refused", async () => {
    const seen = await submit(`${EVIL}/form`, `${APP}/transfer`);
    expect(seen).toMatchObject({ site: "cross-site", origin: EVIL, cookie: true, status: 403 });
    expect(seen.shown).toContain("Cross-origin request refused");
    expect([moved, events]).toEqual([[], ["cross-site"]]);
  });

  test("of the service's own page passes", async () => {
    // Our Referrer-Policy makes the Origin of a page's own form null (Fetch standard, "append a request Origin header").
    expect(await submit(`${APP}/form`, `${APP}/transfer`)).toMatchObject({
      site: "same-origin",
      origin: "null",
      cookie: true,
      status: 200,
    });
    expect([moved, events]).toEqual([["ada /transfer"], []]);
  });

  test("of another host of the same site is refused", async () => {
    expect(await submit(`${API}/form`, `${APP}/transfer`)).toMatchObject({
      site: "same-site",
      origin: API,
      cookie: true,
      status: 403,
    });
    expect([moved, events]).toEqual([[], ["same-site"]]);
  });

  test('of another host of the same site passes with sameSite: "allow", and one of another site does not', async () => {
    expect(await submit(`${API}/form`, `${FAMILY}/transfer`)).toMatchObject({ site: "same-site", status: 200 });
    expect(moved).toEqual(["ada /transfer"]);
    world.forget();
    expect(await submit(`${EVIL}/form`, `${FAMILY}/transfer`)).toMatchObject({ site: "cross-site", status: 403 });
    expect(moved).toEqual(["ada /transfer"]);
  });

  test("of a trusted origin passes", async () => {
    expect(await submit(`${PARTNER}/form`, `${APP}/transfer`)).toMatchObject({
      site: "cross-site",
      origin: PARTNER,
      cookie: true,
      status: 200,
    });
    expect(moved).toEqual(["ada /transfer"]);
  });

  test("of another site passes to a path that is exempt", async () => {
    expect(await submit(`${EVIL}/form`, `${APP}/callback`)).toMatchObject({ site: "cross-site", status: 200 });
    expect(moved).toEqual(["ada /callback"]);
  });

  test('of another site passes with mode: "report", and is announced', async () => {
    expect(await submit(`${EVIL}/form`, `${WATCHING}/transfer`)).toMatchObject({
      site: "cross-site",
      cookie: true,
      status: 200,
    });
    expect([moved, events]).toEqual([["ada /transfer"], ["cross-site"]]);
  });

  test("in a sandboxed frame of another site, whose origin is null, is refused", async () => {
    await page.goto(`${EVIL}/sandboxed?to=${encodeURIComponent(`${APP}/transfer`)}`);
    await page.frameLocator("iframe").locator("button").click();
    await page.waitForURL(`${APP}/transfer`);
    expect(world.requests(`POST ${APP}/transfer`)).toMatchObject([
      { status: 403, headers: { origin: "null", "sec-fetch-site": "cross-site" } },
    ]);
    expect(moved).toEqual([]);
  });

  test("in a sandboxed frame of the service's own page, whose origin is null too, is refused", async () => {
    await page.goto(`${APP}/sandboxed?to=${encodeURIComponent(`${APP}/transfer`)}`);
    await page.frameLocator("iframe").locator("button").click();
    await page.waitForURL(`${APP}/transfer`);
    expect(world.requests(`POST ${APP}/transfer`)).toMatchObject([{ status: 403, headers: { origin: "null" } }]);
    expect(moved).toEqual([]);
  });

  test.each([
    ["of a trusted origin, sent on by another site", `${PARTNER}/form`, EVIL],
    ["of the service's own page, sent on by another site", `${APP}/form`, EVIL],
  ])("%s, is refused", async (_what, from, by) => {
    await page.goto(`${from}?to=${encodeURIComponent(`${by}/bounce?to=${encodeURIComponent(`${APP}/transfer`)}`)}`);
    await page.click("button");
    await page.waitForURL(`${APP}/transfer`);
    expect(world.requests(`POST ${APP}/transfer`)).toMatchObject([
      { status: 403, headers: { "sec-fetch-site": "cross-site" } },
    ]);
    expect(moved).toEqual([]);
  });
});

describe("a script of another site", () => {
  test.each([
    [
      "fetch",
      `(to) => fetch(to, { method: "POST", mode: "no-cors", credentials: "include", body: "amount=9" }).then(() => undefined, () => undefined)`,
    ],
    ["sendBeacon", "(to) => void navigator.sendBeacon(to, 'amount=9')"],
  ])("is refused with %s, a script of the service's own page passes", async (_how, script) => {
    const send = async (from: string) => {
      world.forget();
      await page.goto(from);
      await run(page, script, `${APP}/transfer`);
      await eventually(() => world.requests(`POST ${APP}/transfer`)).toHaveLength(1);
      await eventually(() => world.requests(`POST ${APP}/transfer`)[0]?.answered).toBe(true);
      return world
        .requests(`POST ${APP}/transfer`)
        .map(({ headers, status }) => ({ site: headers["sec-fetch-site"], status }));
    };
    expect(await send(EVIL)).toEqual([{ site: "cross-site", status: 403 }]);
    expect(moved).toEqual([]);
    expect(await send(APP)).toEqual([{ site: "same-origin", status: 200 }]);
    expect(moved).toEqual(["ada /transfer"]);
  });
});

describe("over plain http, where browsers say nothing by Sec-Fetch-Site", () => {
  const PLAIN = "http://plain.bank.example";
  const TELLING = "http://telling.bank.example";

  test("a form of another site is refused by its Origin", async () => {
    expect(await submit("http://evil.test/form", `${TELLING}/transfer`)).toMatchObject({
      site: undefined,
      origin: "http://evil.test",
      status: 403,
    });
  });

  test("a form of the service's own page passes under a referrer policy that sends its Origin", async () => {
    expect(await submit(`${TELLING}/form`, `${TELLING}/transfer`)).toMatchObject({
      site: undefined,
      origin: TELLING,
      status: 200,
    });
  });

  test("a form of the service's own page is refused under the default policy, as the README of this layer says", async () => {
    expect(await submit(`${PLAIN}/form`, `${PLAIN}/transfer`)).toMatchObject({
      site: undefined,
      origin: "null",
      status: 403,
    });
  });
});
