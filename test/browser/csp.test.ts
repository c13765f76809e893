import express, { type Express } from "express";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SecuritySettings } from "portcullis";
import { eventually } from "./support/eventually.js";
import { run } from "./support/in-page.js";
import { APP, EVIL, asked, bare, html, secured, type Site } from "./support/site.js";
import { startWorld, type World } from "./support/world.js";

/** The same pages with no policy: what the holes in them are worth. */
const OPEN = "https://open.bank.example";
const REPORT_URI = "https://uri.bank.example";
const REPORT_ONLY = "https://only.bank.example";
const REPORTING_ABROAD = "https://abroad.bank.example";
const COLLECTOR = "https://reports.test";

/** Pages that write what they are given into themselves, and a place for reports. */
function leaky(app: Express, reports: unknown[]): void {
  app.get("/greet", (req, res) => {
    const { cspNonce } = res.locals as { cspNonce?: string };
    res.type("html").send(
      html(`<script nonce="${cspNonce}">
        window.violations = [];
        addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
        window.own = true;
      </script>
      <p>Hello ${asked(req, "name")}!</p>
      <script nonce="${cspNonce}" src="own.js"></script>`),
    );
  });
  app.get("/own.js", (_req, res) => void res.type("js").send("window.ownFile = true"));
  app.get("/eval", (_req, res) => {
    const { cspNonce } = res.locals as { cspNonce?: string };
    res
      .type("html")
      .send(
        html(
          `<script nonce="${cspNonce}">try { eval("window.injected = true"); } catch (error) { window.error = error.name; }</script>`,
        ),
      );
  });
  app.post("/reports", express.json({ type: ["application/reports+json", "application/csp-report"] }), (req, res) => {
    reports.push(req.body);
    res.sendStatus(204);
  });
}

const scripts = { "script-src": ["'self'", "'nonce'"] };
const reports: Record<string, unknown[]> = {};
function leakySite(origin: string, headers: SecuritySettings["headers"], more: SecuritySettings = {}): Site {
  return secured({ headers, ...more }, (app) => leaky(app, (reports[origin] = [])));
}

let world: World;
/** One page for all: nothing that a browser keeps matters here, and each visit makes a new document. */
let page: Page;
beforeAll(async () => {
  const named = (origin: string) => ({ reportingEndpoints: { csp: `${origin}/reports` } });
  world = await startWorld(
    {
      "app.bank.example": leakySite(
        APP,
        { contentSecurityPolicy: { directives: { ...scripts, "report-to": ["csp"] } }, ...named(APP) },
        { session: {} },
      ),
      "open.bank.example": bare((app) => leaky(app, [])),
      "uri.bank.example": leakySite(
        REPORT_URI,
        { contentSecurityPolicy: { directives: { ...scripts, "report-uri": [`${REPORT_URI}/reports`] } } },
        { session: {} },
      ),
      "only.bank.example": leakySite(REPORT_ONLY, {
        contentSecurityPolicy: { directives: { "script-src": ["'self'", "'unsafe-inline'"] } },
        contentSecurityPolicyReportOnly: { directives: { ...scripts, "report-to": ["csp"] } },
        ...named(REPORT_ONLY),
      }),
      "abroad.bank.example": leakySite(REPORTING_ABROAD, {
        contentSecurityPolicy: { directives: { ...scripts, "report-to": ["csp"] } },
        ...named(COLLECTOR),
      }),
      "reports.test": leakySite(
        COLLECTOR,
        {},
        { trustedHosts: ["reports.test"], cors: { origins: [REPORTING_ABROAD] } },
      ),
      "evil.test": bare((app) => {
        for (const path of ["/payload.js", "/own.js"])
          app.get(path, (_req, res) => void res.type("js").send("window.injected = true"));
        app.get("/stolen", (_req, res) => void res.send("thanks"));
      }),
    },
    // Reports otherwise wait for a minute.
    { flags: ["--short-reporting-delay"] },
  );
  page = await world.page();
});
afterAll(() => world.close());

const greet = (origin: string, name: string) => page.goto(`${origin}/greet?${String(new URLSearchParams({ name }))}`);
const global = (name: string) => run(page, "(name) => window[name]", name);

describe("code injected into a page does not run, but would run without a policy", () => {
  test.each([
    ["an inline script", "<script>window.injected = true</script>", ["script-src-elem"]],
    [
      "an inline script with a nonce that was guessed",
      '<script nonce="AAAAAAAAAAAAAAAAAAAAAAAA">window.injected = true</script>',
      ["script-src-elem"],
    ],
    ["an event handler in an attribute", '<img src="nowhere" onerror="window.injected = true">', ["script-src-attr"]],
    ["a script of another site", `<script src="${EVIL}/payload.js"></script>`, ["script-src-elem"]],
    // The frame inherits the policy, and the violation is its own. The page has loaded when its frames have.
    ["a script in a frame that was injected", '<iframe srcdoc="<script>parent.injected = true</script>"></iframe>', []],
    [
      "a javascript: link that is followed",
      '<a href="javascript:void (window.injected = true)">click</a>',
      ["script-src-elem"],
    ],
    ["a base that turns the page's own script into another site's", `<base href="${EVIL}/">`, ["base-uri"]],
  ])("%s", async (_what, name, violations) => {
    const visit = async (origin: string) => {
      await greet(origin, name);
      if (name.startsWith("<a")) await page.click("a");
    };
    await visit(OPEN);
    await eventually(() => global("injected")).toBe(true);

    await visit(APP);
    await eventually(() => global("violations")).toEqual(violations);
    expect(await global("injected")).toBeUndefined();
    expect([await global("own"), await global("ownFile")]).toEqual([true, true]);
  });

  test("a script with the nonce of an earlier answer", async () => {
    const seen = /script nonce="([^"]+)"/.exec((await (await greet(APP, "you"))?.text()) ?? "")?.[1];
    await greet(APP, `<script nonce="${seen}">window.injected = true</script>`);
    await eventually(() => global("violations")).toEqual(["script-src-elem"]);
    expect([await global("own"), await global("injected")]).toEqual([true, undefined]);
  });

  test("a text that the page's own script evaluates", async () => {
    await page.goto(`${OPEN}/eval`);
    expect([await global("injected"), await global("error")]).toEqual([true, undefined]);
    await page.goto(`${APP}/eval`);
    expect([await global("injected"), await global("error")]).toEqual([undefined, "EvalError"]);
  });
});

describe("a page sends nothing to another site, but would without a policy", () => {
  // page.click waits for the navigation, which a policy keeps from ever happening.
  const press = () => run(page, '() => document.querySelector("button").click()');
  const stolen = () => world.requests(`* ${EVIL}/stolen`).length;

  test("by an image", async () => {
    const name = `<img src="${EVIL}/stolen">`;
    const before = stolen();
    await greet(OPEN, name);
    expect(stolen()).toBe(before + 1);
    await greet(APP, name);
    await eventually(() => global("violations")).toEqual(["img-src"]);
    expect(stolen()).toBe(before + 1);
  });

  test("by a form", async () => {
    const name = `<form method="post" action="${EVIL}/stolen"><button>Go on</button></form>`;
    const before = stolen();
    await greet(OPEN, name);
    await press();
    await page.waitForURL(`${EVIL}/stolen`);
    expect(stolen()).toBe(before + 1);
    await greet(APP, name);
    await press();
    await eventually(() => global("violations")).toEqual(["form-action"]);
    expect(stolen()).toBe(before + 1);
  });
});

describe("a violation is reported", () => {
  const name = "<script>window.injected = true</script>";
  const violation = { effectiveDirective: "script-src-elem", blockedURL: "inline", disposition: "enforce" };

  /** By the Reporting API, which names the page by its address without what follows `#`, and sends several reports at once. */
  async function reported(at: string, from: string): Promise<unknown> {
    const mine = () =>
      (reports[at] ?? [])
        .flat()
        .filter(
          (report) =>
            (report as { url?: string }).url ===
            `${from}/greet?${String(new URLSearchParams({ name: `${name}${at}` }))}`,
        );
    await eventually(mine).toHaveLength(1);
    return mine()[0];
  }

  test("to an endpoint of the app, past its own check of origins", async () => {
    await greet(APP, `${name}${APP}`);
    expect(await reported(APP, APP)).toMatchObject({ type: "csp-violation", body: violation });
    expect(await global("injected")).toBeUndefined();
  });

  test("to an endpoint of another site whose CORS takes it", async () => {
    await greet(REPORTING_ABROAD, `${name}${COLLECTOR}`);
    expect(await reported(COLLECTOR, REPORTING_ABROAD)).toMatchObject({ type: "csp-violation", body: violation });
  });

  test("by report-uri where the Reporting API is not used", async () => {
    await greet(REPORT_URI, name);
    await eventually(() => reports[REPORT_URI]).toHaveLength(1);
    expect(reports[REPORT_URI]).toMatchObject([
      { "csp-report": { "effective-directive": "script-src-elem", "blocked-uri": "inline", disposition: "enforce" } },
    ]);
  });

  test("and not prevented by a report-only policy", async () => {
    await greet(REPORT_ONLY, `${name}${REPORT_ONLY}`);
    expect(await global("injected")).toBe(true);
    expect(await reported(REPORT_ONLY, REPORT_ONLY)).toMatchObject({
      type: "csp-violation",
      body: { ...violation, disposition: "report" },
    });
  });
});
