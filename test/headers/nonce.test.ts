import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Express, Request, Response } from "express";
import { describe, expect, it } from "vitest";
import { securityHeaders } from "../../src/headers/middleware.js";
import type { HeadersSettings } from "../../src/headers/settings.js";
import { applySecurity } from "../../src/apply-security.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";
import { parseOneCsp } from "./csp-parser.js";
import { DEFAULT_PLAIN } from "./expected.js";

const NONCE = /^[A-Za-z0-9+/]{24}$/;
const BOTH: HeadersSettings = {
  contentSecurityPolicy: { directives: { "script-src": ["'self'", "'nonce'"], "style-src": ["'nonce'"] } },
  contentSecurityPolicyReportOnly: {
    directives: { "script-src": ["'nonce'", "'strict-dynamic'"], "require-trusted-types-for": ["'script'"] },
  },
};

/** By itself headers go on the response; in the whole they go out as one text. */
const WAYS: readonly { way: string; secure: (app: Express, settings: HeadersSettings) => void }[] = [
  { way: "securityHeaders", secure: (app, settings) => void app.use(securityHeaders(settings)) },
  {
    way: "applySecurity",
    secure: (app, headers) => void applySecurity(app, { trustedHosts: ["127.0.0.1", "localhost"], headers }),
  },
];

describe.each(EXPRESS.flatMap((version) => WAYS.map((way) => ({ ...version, ...way }))))(
  "the nonce by $way on $name",
  ({ express, secure }) => {
    async function answerOf(settings: HeadersSettings, route: (req: Request, res: Response) => void) {
      const app = express();
      secure(app, settings);
      app.get("/", (req, res) => route(req, res));
      const server = await serve(app);
      const answer = await server.send("/");
      await server.close();
      const policy = (name: string) => parseOneCsp(answer.headers[name]);
      return {
        answer,
        enforced: policy("content-security-policy"),
        watched:
          answer.headers["content-security-policy-report-only"] === undefined
            ? undefined
            : policy("content-security-policy-report-only"),
      };
    }

    it("is in both policies once it was read, and stays the same however often it is read", async () => {
      let read: unknown[] = [];
      const { answer, enforced, watched } = await answerOf(BOTH, (_req, res) => {
        read = [res.locals["cspNonce"], res.locals["cspNonce"]];
        res.send(`<script nonce="${String(read[0])}">1</script>`);
      });
      const nonce = String(read[0]);
      expect(nonce).toMatch(NONCE);
      expect(read[1]).toBe(nonce);
      expect(answer.text).toContain(nonce);
      expect(enforced.get("script-src")).toEqual(["'self'", `'nonce-${nonce}'`]);
      expect(enforced.get("style-src")).toEqual([`'nonce-${nonce}'`]);
      expect(watched?.get("script-src")).toEqual([`'nonce-${nonce}'`, "'strict-dynamic'"]);
      expect(JSON.stringify(answer.headers)).not.toContain("'nonce'");
    });

    it("is in no policy when it is never read, and a directive that allowed it alone allows nothing", async () => {
      const { answer, enforced, watched } = await answerOf(BOTH, (_req, res) => void res.json({}));
      expect(enforced.get("script-src")).toEqual(["'self'"]);
      expect(enforced.get("style-src")).toEqual(["'none'"]);
      expect(watched?.get("script-src")).toEqual(["'strict-dynamic'"]);
      expect(JSON.stringify(answer.headers)).not.toMatch(/nonce|undefined/);
    });

    it("differs from response to response", async () => {
      const app = express();
      secure(app, BOTH);
      app.get("/", (_req, res) => void res.send(String(res.locals["cspNonce"])));
      const server = await serve(app);
      const answers = await Promise.all(Array.from({ length: 50 }, () => server.send("/")));
      await server.close();
      expect(new Set(answers.map(({ text }) => text)).size).toBe(50);
      for (const { text, headers } of answers)
        expect(parseOneCsp(headers["content-security-policy"]).get("style-src")).toEqual([`'nonce-${text}'`]);
    });

    it("exists without a policy that names it, and then changes no header", async () => {
      let nonce: unknown;
      const { answer } = await answerOf({}, (_req, res) => {
        nonce = res.locals["cspNonce"];
        res.end();
      });
      expect(nonce).toMatch(NONCE);
      expect(answer.headers["content-security-policy"]).toBe(DEFAULT_PLAIN["Content-Security-Policy"]);
    });

    it("read after the headers were sent is a value that allows nothing", async () => {
      let nonce: unknown;
      const { enforced } = await answerOf(BOTH, (_req, res) => {
        res.flushHeaders();
        nonce = res.locals["cspNonce"];
        res.end();
      });
      expect(nonce).toMatch(NONCE);
      expect(enforced.get("style-src")).toEqual(["'none'"]);
    });

    it("does not change a policy that the route has set itself", async () => {
      const { answer } = await answerOf(BOTH, (_req, res) => {
        res.set("Content-Security-Policy", "default-src 'self'");
        void res.locals["cspNonce"];
        res.end();
      });
      expect(answer.headers["content-security-policy"]).toBe("default-src 'self'");
    });

    it("reaches a template through res.render, and the header with it", async () => {
      const folder = mkdtempSync(join(tmpdir(), "portcullis-"));
      writeFileSync(join(folder, "page.tpl"), "");
      const app = express();
      app.engine("tpl", (_path, options, done) => done(null, String((options as Record<string, unknown>)["cspNonce"])));
      app.set("views", folder);
      secure(app, BOTH);
      app.get("/", (_req, res) => void res.render("page.tpl", { title: "x" }));
      const server = await serve(app);
      const { text, headers } = await server.send("/");
      await server.close();
      rmSync(folder, { recursive: true });
      expect(text).toMatch(NONCE);
      expect(parseOneCsp(headers["content-security-policy"]).get("style-src")).toEqual([`'nonce-${text}'`]);
    });

    it("keeps res.locals and what earlier handlers have put into it", async () => {
      const app = express();
      let same: boolean | undefined;
      app.use((_req, res, next) => {
        res.locals["user"] = "ann";
        res.locals["cspNonce"] = "constant";
        (res as unknown as { before: object }).before = res.locals;
        next();
      });
      secure(app, BOTH);
      app.get("/", (_req, res) => {
        same = (res as unknown as { before: object }).before === res.locals;
        res.json({ ...res.locals });
      });
      const server = await serve(app);
      const body = (await server.send("/")).json() as Record<string, string>;
      await server.close();
      expect(same).toBe(true);
      expect(body["user"]).toBe("ann");
      expect(body["cspNonce"]).toMatch(NONCE);
    });

    it("survives a res.locals that cannot be extended: the headers are written all the same", async () => {
      const app = express();
      app.use((_req, res, next) => {
        res.locals = Object.freeze({ user: "ann" });
        next();
      });
      secure(app, BOTH);
      app.use((_req, res) => void res.json(res.locals));
      const server = await serve(app);
      const { status, headers } = await server.send("/");
      await server.close();
      expect(status).toBe(200);
      expect(headers["x-frame-options"]).toBe("DENY");
    });

    it("belongs to its response even where an app shares one res.locals among all responses", async () => {
      const app = express();
      const shared = {};
      app.use((_req, res, next) => {
        res.locals = shared;
        next();
      });
      secure(app, BOTH);
      app.use((_req, res) => void res.send(String(res.locals["cspNonce"])));
      const server = await serve(app);
      const [one, two] = [await server.send("/"), await server.send("/")];
      await server.close();
      expect(one.text).not.toBe(two.text);
      for (const { text, headers } of [one, two])
        expect(parseOneCsp(headers["content-security-policy"]).get("style-src")).toEqual([`'nonce-${text}'`]);
    });

    it("is the same for a mounted app and its outer app, through one res.locals", async () => {
      const app = express();
      const inner = express();
      secure(app, BOTH);
      app.use((_req, res, next) => {
        res.setHeader("X-Outer", String(res.locals["cspNonce"]));
        next();
      });
      inner.get("/", (_req, res) => void res.send(String(res.locals["cspNonce"])));
      app.use("/inner", inner);
      const server = await serve(app);
      const { text, headers } = await server.send("/inner/");
      await server.close();
      expect(text).toBe(headers["x-outer"]);
      expect(parseOneCsp(headers["content-security-policy"]).get("style-src")).toEqual([`'nonce-${text}'`]);
    });
  },
);

describe.each(EXPRESS)("a patch on $name that names a nonce where the settings name none", ({ express }) => {
  it.each(["before", "after", "never"])("has the nonce that the route reads %s it", async (when) => {
    const app = express();
    const security = applySecurity(app, { trustedHosts: ["127.0.0.1"] });
    let read = "";
    const look = (_req: Request, res: Response, next: () => void): void => {
      read = String(res.locals["cspNonce"]);
      next();
    };
    const patch = security.headers({ contentSecurityPolicy: { directives: { "script-src": ["'nonce'"] } } });
    app.get(
      "/",
      ...(when === "before" ? [look, patch] : when === "after" ? [patch, look] : [patch]),
      (_req, res) => void res.json({}),
    );
    const server = await serve(app);
    const sources = parseOneCsp((await server.send("/")).headers["content-security-policy"]).get("script-src");
    await server.close();
    await security.close();
    if (when === "never") expect(sources).toEqual(["'self'", expect.stringMatching(/^'nonce-[A-Za-z0-9+/]{24}'$/)]);
    else expect(sources).toEqual(["'self'", `'nonce-${read}'`]);
  });
});
