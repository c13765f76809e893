import express, { type IRouter } from "express";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HeadersPatch } from "portcullis";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { APP, EVIL, asked, bare, html, secured } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

/** The same pages without any header. */
const OPEN = "https://open.bank.example";
/** Without a policy, so X-Frame-Options is all that old browsers and new ones have. */
const XFO_ONLY = "https://xfo.bank.example";

/** Pages that put an address they are given into a frame, an image or a script. */
function embedding(app: IRouter): void {
  const src = (value: string) => encodeURI(value).replaceAll('"', "%22");
  app.get("/frame", (req, res) => void res.send(html(`<iframe src="${src(asked(req, "src"))}"></iframe>`)));
  app.get("/image", (req, res) => void res.send(html(`<img src="${src(asked(req, "src"))}">`)));
  app.get("/script", (req, res) => void res.send(html(`<script src="${src(asked(req, "src"))}"></script>`)));
}

function resources(app: IRouter): void {
  app.get("/secret", (_req, res) => void res.send(html("<p>the secret</p>")));
  app.get("/notes.txt", (_req, res) => void res.type("txt").send("window.ran = true"));
  app.get("/code.js", (_req, res) => void res.type("js").send("window.ran = true"));
  app.get(
    "/picture.svg",
    (_req, res) => void res.type("svg").send('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>'),
  );
  app.get(
    "/upload",
    (_req, res) => void res.end("<!doctype html><title>an upload</title><p>that was never said to be HTML</p>"),
  );
  app.get("/away", (_req, res) => void res.send(html(`<a href="${EVIL}/landed">away</a>`)));
}

/** The same resources under other prefixes, each with its own patch of the headers. */
const PATCHES: Record<string, HeadersPatch> = {
  "/for-evil": { contentSecurityPolicy: { directives: { "frame-ancestors": [EVIL] } } },
  // X-Frame-Options cannot say this, so it is left out.
  "/for-partner": { contentSecurityPolicy: { directives: { "frame-ancestors": ["https://partner.test"] } } },
  "/for-us": { frameOptions: "SAMEORIGIN" },
  "/for-all": {
    crossOriginResourcePolicy: "cross-origin",
    crossOriginOpenerPolicy: "unsafe-none",
    referrerPolicy: "unsafe-url",
  },
  "/isolated": { crossOriginEmbedderPolicy: "require-corp" },
};

let world: World;
let page: Page;
beforeAll(async () => {
  world = await startWorld({
    "app.bank.example": secured({}, (app, security) => {
      const files = express.Router();
      resources(files);
      for (const [path, patch] of Object.entries(PATCHES)) app.use(path, security.headers(patch), files);
      app.use(files);
      embedding(app);
    }),
    "xfo.bank.example": secured({ headers: { contentSecurityPolicy: false } }, resources),
    "open.bank.example": bare((app) => (embedding(app), resources(app))),
    "evil.test": bare(embedding),
  });
  page = await world.page();
});
afterAll(() => world.close());

const embed = (origin: string, what: "frame" | "image" | "script", src: string) =>
  page.goto(`${origin}/${what}?src=${encodeURIComponent(src)}`);

describe("framing", () => {
  const REFUSED = "refused";
  /** What a user sees in the frame. Where the browser refuses, it puts an error page of its own there. */
  const shown = () => {
    const frame = page.frames()[1];
    return (
      frame && run(frame, `() => location.protocol === "chrome-error:" ? "${REFUSED}" : document.body.textContent`)
    );
  };

  test.each([
    ["another site does not frame a page", EVIL, `${APP}/secret`, REFUSED],
    ["another site frames a page without these headers", EVIL, `${OPEN}/secret`, "the secret"],
    ["not even its own origin frames a page", APP, `${APP}/secret`, REFUSED],
    ["its own origin frames a page where SAMEORIGIN is said", APP, `${APP}/for-us/secret`, "the secret"],
    ["another site does not, where SAMEORIGIN is said", EVIL, `${APP}/for-us/secret`, REFUSED],
    ["a site that frame-ancestors names frames a page", EVIL, `${APP}/for-evil/secret`, "the secret"],
    [
      "a site that frame-ancestors does not name does not, where it names another",
      EVIL,
      `${APP}/for-partner/secret`,
      REFUSED,
    ],
    ["X-Frame-Options alone keeps another site from framing a page", EVIL, `${XFO_ONLY}/secret`, REFUSED],
  ])("%s", async (_what, by, src, seen) => {
    await embed(by, "frame", src);
    await eventually(shown).toBe(seen);
    expect(world.requests(`GET ${src}`).length).toBeGreaterThan(0);
  });
});

describe("nosniff", () => {
  const ran = () => run(page, "() => window.ran");

  test.each([
    ["a text does not run as a script", APP, "/notes.txt", undefined],
    ["a text runs as a script where nobody says nosniff", OPEN, "/notes.txt", true],
    ["a script runs", APP, "/code.js", true],
  ])("%s", async (_what, origin, src, expected) => {
    await embed(origin, "script", src);
    expect(await ran()).toBe(expected);
  });

  test.each([
    ["an upload without a type is not taken for a page", APP, "text/plain"],
    ["an upload without a type becomes a page where nobody says nosniff", OPEN, "text/html"],
  ])("%s", async (_what, origin, type) => {
    await page.goto(`${origin}/upload`);
    expect(await run(page, "() => document.contentType")).toBe(type);
  });
});

describe("Cross-Origin-Resource-Policy", () => {
  test.each([
    ["a picture is not shown on another site", `${APP}/picture.svg`, 0],
    ["a picture is shown where its route allows it", `${APP}/for-all/picture.svg`, 10],
  ])("%s", async (_what, src, width) => {
    await embed(EVIL, "image", src);
    expect(await run(page, '() => document.querySelector("img").naturalWidth')).toBe(width);
  });

  test.each([
    ["a script is not run by another site", `${APP}/code.js`, undefined],
    ["a script is run where its route allows it", `${APP}/for-all/code.js`, true],
  ])("%s", async (_what, src, ran) => {
    await embed(EVIL, "script", src);
    expect(await run(page, "() => window.ran")).toBe(ran);
  });
});

describe("Cross-Origin-Opener-Policy", () => {
  /** Whether the one that opened a window and the window still have each other. */
  const hold = async (popup: Page) => ({
    opener: await run<boolean>(popup, "() => window.opener !== null"),
    opened: await run<boolean>(page, "() => !window.opened.closed"),
  });

  test.each([
    ["another site that opens a page keeps no hold of it", EVIL, `${APP}/secret`, false],
    ["another site keeps hold of a page that allows it", EVIL, `${OPEN}/secret`, true],
    ["a page of its own origin keeps hold of the window it opens", APP, `${APP}/secret`, true],
  ])("%s", async (_what, from, address, held) => {
    await page.goto(from);
    const opening = page.waitForEvent("popup");
    await run(page, "(address) => void (window.opened = open(address))", address);
    const popup = await opening;
    await popup.waitForURL(address);
    await eventually(() => hold(popup)).toEqual({ opener: held, opened: held });
    await popup.close();
  });

  test.each([
    ["a page is not isolated by default", "/secret", false],
    ["a page is isolated where Cross-Origin-Embedder-Policy is set too", "/isolated/secret", true],
  ])("%s", async (_what, path, isolated) => {
    await page.goto(`${APP}${path}`);
    expect(await run(page, "() => crossOriginIsolated")).toBe(isolated);
  });
});

describe("Referrer-Policy", () => {
  test.each([
    ["a link away says nothing of where it stood", "/away?token=1", undefined],
    ["a link away says it where the route has another policy", "/for-all/away?token=1", `${APP}/for-all/away?token=1`],
  ])("%s", async (_what, path, referer) => {
    await page.goto(`${APP}${path}`);
    await page.click("a");
    await page.waitForURL(`${EVIL}/landed`);
    expect(world.requests(`GET ${EVIL}/landed`).at(-1)?.headers.referer).toBe(referer);
  });
});
