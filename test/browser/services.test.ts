import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Express } from "express";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { asJavaScript, blockWith } from "../examples/support/sample.js";
import { ROOT } from "../support/code-blocks.js";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { bare, html } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const APP = "https://app.example.com";
const STYLED = `<p id="styled" style="color: rgb(1, 2, 3)">text</p>`;

/** What pages load from these services, by the paths of the recipe. This browser knows stand-ins of these names only. */
const LOADED: Readonly<Record<string, string>> = {
  "/pay": `<script src="https://js.stripe.com/v3/"></script><iframe src="https://js.stripe.com/frame"></iframe>
    <iframe src="https://hooks.stripe.com/frame"></iframe>`,
  "/film": `<iframe src="https://www.youtube-nocookie.com/embed/1"></iframe>`,
  "/": `<link rel="stylesheet" href="https://fonts.googleapis.com/css2"><p id="styled">text</p>`,
  "/docs": STYLED,
};
const FONT = `@font-face { font-family: f; src: url(https://fonts.gstatic.com/f.woff2); } #styled { font-family: f; color: rgb(1, 2, 3); }`;

/** A site that answers every page with the same CORS header. */
function service(answers: Readonly<Record<string, readonly [string, string]>>) {
  return bare((app) => {
    for (const [path, [type, body]] of Object.entries(answers))
      app.get(path, (_req, res) => void res.type(type).set("Access-Control-Allow-Origin", "*").send(body));
  });
}

let folder: string;
let world: World;
let page: Page;
let content = "";
beforeAll(async () => {
  folder = mkdtempSync(join(ROOT, "test/browser/services-"));
  const recipe = asJavaScript(blockWith("examples/recipes/content-security-policy.md", "ts", "js.stripe.com"));
  const code = recipe.replace(/^const page = .*$/m, "const page = (_req, res) => void res.send(contentOf());");
  writeFileSync(
    join(folder, "app.js"),
    `let contentOf;\n${code}\nexport const setContent = (of) => (contentOf = of);\nexport { app };\n`,
  );
  const made = (await import(join(folder, "app.js"))) as { app: Express; setContent(of: () => string): void };
  made.setContent(() => html(content));
  const frame = ["html", html("frame")] as const;
  world = await startWorld({
    "app.example.com": { app: made.app },
    "js.stripe.com": service({
      "/v3/": ["js", `fetch("https://api.stripe.com/v1").then(() => (window.paid = true));`],
      "/frame": frame,
    }),
    "hooks.stripe.com": service({ "/frame": frame }),
    "api.stripe.com": service({ "/v1": ["json", "{}"] }),
    "www.youtube-nocookie.com": service({ "/embed/1": frame }),
    "fonts.googleapis.com": service({ "/css2": ["css", FONT] }),
    "fonts.gstatic.com": service({ "/f.woff2": ["font/woff2", ""] }),
  });
  page = await world.page();
  await page.addInitScript(`window.violations = [];
    addEventListener("securitypolicyviolation", ({ effectiveDirective }) => violations.push(effectiveDirective));`);
});
afterAll(async () => {
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(path: string, loaded: string) {
  content = loaded;
  world.forget();
  return page.goto(`${APP}${path}`);
}
const global = (name: string) => run(page, "(name) => window[name]", name);
const color = () => run(page, '() => getComputedStyle(document.querySelector("#styled")).color');
const asked = (url: string) => world.requests(`GET ${url}`).length;

test("a page with Stripe may load its script, its frames and its API", async () => {
  const head = await open("/pay", LOADED["/pay"] ?? "");
  await eventually(() => global("paid")).toBe(true);
  await eventually(() => asked("https://js.stripe.com/frame")).toBe(1);
  await eventually(() => asked("https://hooks.stripe.com/frame")).toBe(1);
  expect(await global("violations")).toEqual([]);
  expect(head?.headers()["permissions-policy"]).toContain('payment=(self "https://js.stripe.com")');
});

test("a page with YouTube may load its frame, which learns the page's origin", async () => {
  await open("/film", LOADED["/film"] ?? "");
  await eventually(() => world.requests("GET https://www.youtube-nocookie.com/embed/1")[0]?.headers.referer).toBe(
    `${APP}/`,
  );
  expect(await global("violations")).toEqual([]);
});

test("a page with Google Fonts may load its style and its font", async () => {
  await open("/", LOADED["/"] ?? "");
  await eventually(color).toBe("rgb(1, 2, 3)");
  await eventually(() => asked("https://fonts.gstatic.com/f.woff2")).toBe(1);
  expect(await global("violations")).toEqual([]);
});

test("a page with Swagger UI may have inline styles", async () => {
  await open("/docs", LOADED["/docs"] ?? "");
  expect(await color()).toBe("rgb(1, 2, 3)");
  expect(await global("violations")).toEqual([]);
});

test("on the page of another service each of them is blocked", async () => {
  await open("/docs", LOADED["/pay"] ?? "");
  await eventually(() => global("violations")).toEqual(["script-src-elem", "frame-src", "frame-src"]);
  await open("/docs", LOADED["/film"] ?? "");
  await eventually(() => global("violations")).toEqual(["frame-src"]);
  await open("/pay", LOADED["/"] ?? "");
  await eventually(() => global("violations")).toEqual(["style-src-elem"]);
  await open("/pay", STYLED);
  await eventually(() => global("violations")).toEqual(["style-src-attr"]);
  expect(world.seen.filter(({ host }) => host !== "app.example.com")).toEqual([]);
});
