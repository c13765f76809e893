import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Security, SecuritySettings } from "portcullis";
import { fetchIn, run } from "./support/in-page.js";
import { API, APP, bare, EVIL, html, secured, type Site } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

/** An API with a session, to which the named cross-origin settings belong. */
function api(cors: SecuritySettings["cors"], more: SecuritySettings = {}): Site {
  return secured({ session: {}, csrf: false, cors, ...more }, (app, security: Security) => {
    app.post(
      "/in/:id",
      (req, res, next) => void security.logIn(req, { id: req.params.id }).then(() => res.send("in"), next),
    );
    app.get("/who", (req, res) => void res.json(req.principal?.id ?? null));
    app.get("/headers", (_req, res) => void res.set({ "X-Total": "42", "X-Secret": "hidden" }).send("ok"));
    app.all("/thing", (req, res) => void res.send(req.method));
    app.get("/cached", (_req, res) => void res.set("Cache-Control", "max-age=600").send("ok"));
    app.get(
      "/limited",
      security.rateLimit({ name: "limited", limit: 1, windowSeconds: 60 }),
      (_req, res) => void res.send("ok"),
    );
  });
}

/** Writes back every origin, as many a hand-made handler does, and does not say that its answer depends on it. */
const careless = bare((app) =>
  app.get(
    "/cached",
    (req, res) =>
      void res
        .set({ "Access-Control-Allow-Origin": req.headers.origin ?? "*", "Cache-Control": "max-age=600" })
        .send("ok"),
  ),
);

const NO_CREDENTIALS = "https://open.bank.example";
const REJECTING = "https://strict.bank.example";
const APP_2 = "https://app2.bank.example";
const UNLISTED = "https://unlisted.bank.example";
const CARELESS = "https://careless.bank.example";
const UNREMEMBERED = "https://forgetful.bank.example";

let world: World;
beforeAll(async () => {
  const origins = [APP, APP_2];
  world = await startWorld({
    "app.bank.example": bare(),
    "app2.bank.example": bare(),
    "api.bank.example": api({ origins, credentials: true, exposedHeaders: ["X-Total", "RateLimit"], maxAge: 600 }),
    "unlisted.bank.example": bare(),
    "careless.bank.example": careless,
    "open.bank.example": api({ origins }),
    "strict.bank.example": api({ origins, refused: "reject" }),
    "forgetful.bank.example": api({ origins, maxAge: 0 }),
    "evil.test": bare((app) =>
      app.get(
        "/sandbox",
        (_req, res) => void res.send(html('<iframe sandbox="allow-scripts" srcdoc="<p>nobody</p>"></iframe>')),
      ),
    ),
  });
});
afterEach(() => world.reset());
afterAll(() => world.close());

/** A page of this origin in a new profile: nothing remembered of earlier answers, no cookies. */
async function pageOf(origin: string): Promise<Page> {
  const page = await world.page();
  await page.goto(origin);
  return page;
}

describe("reading an answer from another origin", () => {
  test("a page of a listed origin reads the answer", async () => {
    expect(await fetchIn(await pageOf(APP), `${API}/thing`)).toMatchObject({ status: 200, text: "GET" });
  });

  test("a page of another site does not read the answer, though its request was served", async () => {
    expect(await fetchIn(await pageOf(EVIL), `${API}/thing`)).toBe("refused");
    expect(world.requests(`GET ${API}/thing`).map(({ headers }) => headers.origin)).toEqual([EVIL]);
  });

  test("a page of an unlisted origin of the same site does not read it", async () => {
    expect(await fetchIn(await pageOf(UNLISTED), `${API}/thing`)).toBe("refused");
    expect(world.requests(`GET ${API}/thing`).map(({ headers }) => headers.origin)).toEqual([UNLISTED]);
  });

  test("a sandboxed frame, whose origin is null, does not read the answer", async () => {
    const page = await world.page();
    await page.goto(`${EVIL}/sandbox`);
    const frame = page.frames()[1];
    if (frame === undefined) throw new Error("no frame");
    expect(await fetchIn(frame, `${API}/thing`)).toBe("refused");
    expect(world.requests(`GET ${API}/thing`).map(({ headers }) => headers.origin)).toEqual(["null"]);
  });

  test('with refused: "reject" a simple request of another site is not even served', async () => {
    await fetchIn(await pageOf(EVIL), `${REJECTING}/thing`, { method: "POST", mode: "no-cors", body: "a=1" });
    expect(world.requests(`POST ${REJECTING}/thing`).map(({ status }) => status)).toEqual([403]);
    expect(await fetchIn(await pageOf(APP), `${REJECTING}/thing`, { method: "POST", body: "a=1" })).toMatchObject({
      status: 200,
      text: "POST",
    });
  });
});

describe("credentials", () => {
  test("a listed origin sends the session's cookie and reads who is logged in", async () => {
    const page = await pageOf(APP);
    expect(await fetchIn(page, `${API}/in/ada`, { method: "POST", credentials: "include" })).toMatchObject({
      status: 200,
    });
    expect(await fetchIn(page, `${API}/who`, { credentials: "include" })).toMatchObject({ text: '"ada"' });
    expect(await fetchIn(page, `${API}/who`)).toMatchObject({ text: "null" });
  });

  test("a page cannot read the answer to a request with credentials where they are not allowed", async () => {
    const page = await pageOf(APP);
    expect(await fetchIn(page, `${NO_CREDENTIALS}/who`, { credentials: "include" })).toBe("refused");
    expect(await fetchIn(page, `${NO_CREDENTIALS}/who`)).toMatchObject({ text: "null" });
  });
});

describe("what a page can read of an answer", () => {
  test("exposed headers are readable, others are not", async () => {
    const page = await pageOf(APP);
    const wire = page.waitForResponse(`${API}/headers`);
    const answer = await fetchIn(page, `${API}/headers`);
    if (answer === "refused") throw new Error(answer);
    expect(answer.headers).toMatchObject({ "x-total": "42", ratelimit: expect.stringContaining("r=") as string });
    expect(answer.headers).not.toHaveProperty("x-secret");
    expect((await (await wire).allHeaders())["x-secret"]).toBe("hidden");
  });

  test("a 429 is readable, and no network error", async () => {
    const page = await pageOf(APP);
    expect(await fetchIn(page, `${API}/limited`)).toMatchObject({ status: 200 });
    const refused = await fetchIn(page, `${API}/limited`);
    expect(refused).toMatchObject({ status: 429 });
    expect(JSON.parse((refused as { text: string }).text)).toMatchObject({ code: "rate-limited" });
  });
});

describe("preflights", () => {
  const put = { method: "PUT", headers: { "Content-Type": "application/json" }, body: "{}" };

  test("a preflight is sent once and cached for the next requests", async () => {
    const page = await pageOf(APP);
    for (let turn = 0; turn < 3; turn += 1)
      expect(await fetchIn(page, `${API}/thing`, put)).toMatchObject({ text: "PUT" });
    expect(world.requests(`OPTIONS ${API}/thing`)).toHaveLength(1);
    expect(world.requests(`PUT ${API}/thing`)).toHaveLength(3);
  });

  test("with maxAge: 0 a preflight precedes each request", async () => {
    const page = await pageOf(APP);
    for (let turn = 0; turn < 3; turn += 1)
      expect(await fetchIn(page, `${UNREMEMBERED}/thing`, put)).toMatchObject({ text: "PUT" });
    expect(world.requests(`OPTIONS ${UNREMEMBERED}/thing`)).toHaveLength(3);
  });

  test.each([
    ["another origin", EVIL, put],
    ["a method that is not listed", APP, { method: "PROPFIND" }],
    ["a header that is not listed", APP, { headers: { "X-Admin": "1" } }],
  ])("the request itself is never sent for %s", async (_what, origin, init) => {
    expect(await fetchIn(await pageOf(origin), `${API}/thing`, init)).toBe("refused");
    expect(world.requests(`* ${API}/thing`).map(({ method }) => method)).toEqual(["OPTIONS"]);
  });

  test("a key in its own header passes the preflight", async () => {
    const page = await pageOf(APP);
    expect(
      await fetchIn(page, `${API}/thing`, { headers: { "X-API-Key": "k", Authorization: "Bearer t" } }),
    ).toMatchObject({ text: "GET" });
    expect(world.requests(`GET ${API}/thing`).map(({ headers }) => headers["x-api-key"])).toEqual(["k"]);
  });
});

describe("an answer that the browser has cached for one listed origin", () => {
  async function fetchFromBoth(address: string) {
    const page = await pageOf(APP);
    const first = await fetchIn(page, address);
    await page.goto(APP_2);
    return [first, await fetchIn(page, address)];
  }

  test("is readable for another listed origin, because it varies by Origin", async () => {
    expect(await fetchFromBoth(`${API}/cached`)).toMatchObject([{ text: "ok" }, { text: "ok" }]);
  });

  test("is not readable for another listed origin when a service sends no Vary", async () => {
    expect(await fetchFromBoth(`${CARELESS}/cached`)).toMatchObject([{ text: "ok" }, "refused"]);
  });
});

test("a page's own origin needs no list", async () => {
  const page = await pageOf(API);
  expect(await fetchIn(page, "/thing", { method: "DELETE", headers: { "X-Admin": "1" } })).toMatchObject({
    text: "DELETE",
  });
  expect(await run<string>(page, "() => location.origin")).toBe(API);
});
