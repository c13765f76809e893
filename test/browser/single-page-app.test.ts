import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Express } from "express";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { build } from "vite";
import { asJavaScript, blockWith } from "../examples/support/sample.js";
import { ROOT } from "../support/code-blocks.js";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { bare } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

const PAGE = "examples/recipes/content-security-policy.md";
const APP = "https://app.example.com";
/** Chromium on Linux has no Web Bluetooth: src/headers/README.md. */
const UNKNOWN_FEATURE = "Error with Permissions-Policy header: Unrecognized feature: 'bluetooth'.";

/** A small single-page app with what a bundler splits off or inlines: a chunk, a style, an image, a web worker. */
const SOURCES: Readonly<Record<string, string>> = {
  "index.html": `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>App</title><link rel="icon" href="data:,"></head>
<body><div id="app"></div><script type="module" src="/src/main.js"></script></body></html>`,
  "src/main.js": `import "./style.css";
import small from "./small.svg";
window.violations = [];
addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => violations.push(effectiveDirective + " " + blockedURI));
const root = document.querySelector("#app");
const image = Object.assign(new Image(), { src: small, onload: () => (window.image = image.src.slice(0, 5)) });
root.append(image);
import("./chunk.js").then(({ text }) => root.append(text + " of " + location.pathname));
new Worker(new URL("./worker.js", import.meta.url), { type: "module" }).onmessage = ({ data }) => (window.worker = data);
window.ask = (url) => fetch(url).then((answer) => answer.text(), () => "blocked");`,
  "src/chunk.js": `import "./chunk.css";\nexport const text = "chunk";`,
  "src/chunk.css": `#app { border-top: 3px solid; }`,
  "src/style.css": `#app { color: rgb(1, 2, 3); }`,
  "src/small.svg": `<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><path d="M0 0h4v4z"/></svg>`,
  "src/worker.js": `postMessage("worked");`,
};

let folder: string;
let world: World;
let page: Page;
beforeAll(async () => {
  folder = mkdtempSync(join(ROOT, "test/browser/single-page-app-"));
  for (const [path, content] of Object.entries(SOURCES)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  await build({ root: folder, configFile: false, logLevel: "error" });
  const dist = join(folder, "dist");

  // The recipe serves "dist" of the folder in which the app runs.
  const code = asJavaScript(blockWith(PAGE, "ts", "sendFile"))
    .replaceAll('"dist"', JSON.stringify(dist))
    .replace(/^app\.listen.*$/m, "");
  writeFileSync(join(folder, "server.js"), `${code}\nexport { app };\n`);
  const { app } = (await import(join(folder, "server.js"))) as { app: Express };
  const api = (answer: string) =>
    bare((other) => other.get("/who", (_req, res) => void res.set("Access-Control-Allow-Origin", APP).send(answer)));
  world = await startWorld({
    "app.example.com": { app },
    "api.example.com": api("ada"),
    "evil.test": api("thanks"),
  });
  page = await world.page();
});
afterAll(async () => {
  await world.close();
  rmSync(folder, { recursive: true, force: true });
});

const global = (name: string) => run(page, "(name) => window[name]", name);

test("a single-page app built by Vite runs under the policy of the recipe, on each of its paths", async () => {
  const assets = readdirSync(join(folder, "dist/assets"));
  expect(assets.filter((name) => name.endsWith(".js")).length).toBeGreaterThanOrEqual(3);
  for (const path of ["/", "/orders/7"]) {
    const complaints: string[] = [];
    const listen = (message: { type(): string; text(): string }) =>
      void (["error", "warning"].includes(message.type()) && complaints.push(message.text()));
    page.on("console", listen);
    const answer = await page.goto(`${APP}${path}`);
    expect(answer?.headers()["content-security-policy"]).toContain("script-src 'self'");
    await eventually(() => run(page, '() => document.querySelector("#app").textContent')).toBe(`chunk of ${path}`);
    await eventually(() => global("image")).toBe("data:");
    await eventually(() => global("worker")).toBe("worked");
    const style = `() => { const { color, borderTopWidth } = getComputedStyle(document.querySelector("#app")); return color + " " + borderTopWidth; }`;
    await eventually(() => run(page, style)).toBe("rgb(1, 2, 3) 3px");
    expect(await global("violations")).toEqual([]);
    expect(complaints.filter((text) => text !== UNKNOWN_FEATURE)).toEqual([]);
    page.off("console", listen);
  }
});

test("it may ask the API that the recipe lists, and nobody else", async () => {
  await page.goto(APP);
  const ask = (url: string) => run(page, "(url) => window.ask(url)", url);
  expect(await ask("https://api.example.com/who")).toBe("ada");
  expect(await ask("https://evil.test/who")).toBe("blocked");
  expect(await global("violations")).toEqual(["connect-src https://evil.test/who"]);
  expect(world.requests("* https://evil.test/who")).toEqual([]);
});

test("its files are kept for a year, its page is not", async () => {
  const file = readdirSync(join(folder, "dist/assets")).find((name) => name.endsWith(".css")) ?? "";
  const answer = await page.goto(`${APP}/assets/${file}`);
  expect(answer?.headers()["cache-control"]).toBe("public, max-age=31536000, immutable");
  expect((await page.goto(`${APP}/orders`))?.headers()["cache-control"]).toBe("no-cache");
});
