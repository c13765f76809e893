import { EventEmitter, once } from "node:events";
import type { Express } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity, requireAuth, requireSession, SettingsError } from "portcullis";
import { type OnRefusal, REFUSALS, type Refusal, type RefusalCode } from "../../../src/core/response/problem.js";
import { refuse } from "../../../src/core/response/refuse.js";
import { beginState } from "../../../src/core/request-state.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { EXPRESS } from "../../support/express-versions.js";
import { type Answer, serve, type TestServer } from "../../support/serve.js";

const BROWSER = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };
const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

describe.each(EXPRESS)("answers for people and programs, on $name", ({ express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function refusing(refusal: Refusal, onRefusal?: OnRefusal): Promise<TestServer> {
    const runtime = createRuntime({ onRefusal });
    const app = express();
    app.use((req, res) => {
      beginState(req, runtime);
      refuse(req, res, "test", refusal);
    });
    const server = await serve(app);
    open.push(server);
    return server;
  }

  async function secured(
    extend: (app: Express, security: ReturnType<typeof secure>) => void,
    settings: object = {},
  ): Promise<TestServer> {
    const app = express();
    const security = secure(app, settings);
    extend(app, security);
    const server = await serve(app);
    open.push(server, security);
    return server;
  }
  const secure = (app: Express, settings: object) =>
    applySecurity(app, { debug: true, secretKey: SECRET, session: {}, ...settings });

  describe("the default page", () => {
    it.each(Object.keys(REFUSALS) as RefusalCode[])("of %s is readable, and has no script", async (code) => {
      const server = await refusing({ code, reason: "x", headers: { "Retry-After": "3" } });
      const answer = await server.send("/<b>?x=<script>", { headers: BROWSER });
      expect(answer.status).toBe(REFUSALS[code].status);
      expect(answer.headers["content-type"]).toBe("text/html; charset=utf-8");
      expect(answer.headers["cache-control"]).toBe("no-store");
      expect(answer.headers["vary"]).toBe("Accept");
      expect(answer.headers["retry-after"]).toBe("3");
      expect(answer.headers["content-length"]).toBe(String(Buffer.byteLength(answer.text)));
      expect(answer.text).toContain(`<h1>${REFUSALS[code].title}</h1>`);
      expect(answer.text).toContain(`<p>${REFUSALS[code].detail}</p>`);
      expect(answer.text).not.toMatch(/<script|<style|<b>| on\w+=|style=|src=|href=/);
    });

    it("escapes what the settings put into the detail", async () => {
      const server = await refusing({ code: "protection-not-run", reason: "x", detail: `add <app.use("x")> & 'y'` });
      const answer = await server.send("/", { headers: BROWSER });
      expect(answer.text).toContain("<p>add &lt;app.use(&quot;x&quot;)&gt; &amp; 'y'</p>");
    });

    it.each([undefined, "*/*", "application/json", "application/json, text/html;q=0.9"])(
      "is not for a program: Accept %s gets problem details",
      async (accept) => {
        const server = await refusing({ code: "rate-limited", reason: "x" });
        const answer = await server.send("/", { headers: accept === undefined ? {} : { accept } });
        expect(answer.headers["content-type"]).toBe("application/problem+json; charset=utf-8");
        expect(answer.headers["vary"]).toBe("Accept");
        expect(answer.json()).toMatchObject({ code: "rate-limited", status: 429 });
      },
    );

    it("has the security headers and the names that other layers vary by", async () => {
      const server = await secured(() => undefined, { cors: { origins: ["https://app.example"] } });
      const answer = await server.send("/", { headers: { ...BROWSER, host: "evil.example" } });
      expect(answer.status).toBe(400);
      expect(answer.headers["content-type"]).toBe("text/html; charset=utf-8");
      expect(answer.headers["content-security-policy"]).toContain("script-src 'self'");
      expect(answer.headers["x-content-type-options"]).toBe("nosniff");
      const refused = await serve(
        (() => {
          const app = express();
          open.push(secure(app, { rateLimit: { limit: 1 }, cors: { origins: ["https://app.example"] } }));
          return app;
        })(),
      );
      open.push(refused);
      await refused.send("/", { headers: { host: "localhost" } });
      const limited = await refused.send("/", { headers: { ...BROWSER, host: "localhost" } });
      expect([limited.status, limited.headers["vary"]]).toEqual([429, "Origin, Accept"]);
    });
  });

  describe("redirectTo of a guard", () => {
    const pages = (app: Express, security: ReturnType<typeof secure>): void => {
      app.use(
        "/in/:id",
        security.handler(async (req, res) => {
          await security.logIn(req, { id: String(req.params["id"]) });
          res.sendStatus(204);
        }),
      );
      app.use(
        "/page",
        security.requireSession({ redirectTo: "/login?lang=en" }),
        (req, res) => void res.send(`of ${req.principal?.id}`),
      );
      app.use(
        "/admin",
        security.requireAuth({ roles: ["admin"], redirectTo: "/login" }),
        (_req, res) => void res.send("admin"),
      );
      app.use("/login", security.requireAuth({ redirectTo: "/login" }), (_req, res) => void res.send("never"));
    };
    const local = { host: "localhost" };
    const cookieOf = (answer: Answer): string => (answer.headers["set-cookie"]?.[0] ?? "").split(";")[0] ?? "";

    it("sends a browser to the log-in page, with the way back", async () => {
      const server = await secured(pages);
      const answer = await server.send("/page/a?b=c&d=%2F%2Fe", { headers: { ...BROWSER, ...local } });
      expect(answer.status).toBe(303);
      expect(answer.headers["location"]).toBe(`/login?lang=en&returnTo=${encodeURIComponent("/page/a?b=c&d=%2F%2Fe")}`);
      expect(answer.headers["vary"]).toBe("Accept");
      expect(answer.headers["cache-control"]).toBe("no-store");
      expect(answer.headers["content-security-policy"]).toContain("default-src");
      expect(answer.headers["www-authenticate"]).toBeUndefined();
      expect(answer.text).toBe("");
      const cookie = cookieOf(await server.send("/in/ada", { headers: local }));
      const served = await server.send("/page", { headers: { ...BROWSER, ...local, cookie } });
      expect([served.status, served.text]).toEqual([200, "of ada"]);
    });

    it.each<[string, string, Record<string, string>]>([
      ["a program", "GET", { accept: "application/json" }],
      ["a program that takes all", "GET", { accept: "*/*" }],
      ["a form", "POST", BROWSER],
      ["a HEAD request", "HEAD", BROWSER],
      ["a script's PUT", "PUT", BROWSER],
    ])("is not for %s, which gets 401", async (_name, method, headers) => {
      const server = await secured(pages);
      const answer = await server.send("/page", { method, headers: { ...headers, ...local } });
      expect(answer.status).toBe(401);
      expect(answer.headers["location"]).toBeUndefined();
      expect(answer.headers["www-authenticate"]).toContain("Session");
      expect(answer.headers["vary"]).toBe(method === "PUT" ? undefined : "Accept");
    });

    it("is not for a caller who is logged in and lacks the role, nor for the log-in page itself", async () => {
      const server = await secured(pages);
      const cookie = cookieOf(await server.send("/in/ada", { headers: local }));
      const lacking = await server.send("/admin", { headers: { ...BROWSER, ...local, cookie } });
      expect([lacking.status, lacking.headers["location"]]).toEqual([403, undefined]);
      expect(lacking.text).toContain("<h1>Insufficient scope</h1>");
      const itself = await server.send("/login?x=1", { headers: { ...BROWSER, ...local } });
      expect([itself.status, itself.headers["location"]]).toEqual([401, undefined]);
    });

    it.each(["//evil.example/page", "/\\evil.example/page", "http://localhost/page", "///page"])(
      "never names another origin as the way back: %s",
      async (target) => {
        const server = await secured((app, security) => {
          app.use(security.requireAuth({ redirectTo: "/login" }));
        });
        const raw = await server.raw(
          `GET ${target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n`,
        );
        expect(raw).toMatch(/^HTTP\/1\.1 303 /);
        expect(raw).toMatch(/\r\nLocation: \/login\r\n/);
      },
    );

    it.each(["login", "//evil.example", "https://evil.example/login", "/\\evil.example", "", 7])(
      "refuses %j as a setting",
      (redirectTo) => {
        expect(() => requireAuth({ redirectTo: redirectTo as string })).toThrow(SettingsError);
        expect(() => requireSession({ redirectTo: "/login" })).not.toThrow();
      },
    );
  });

  describe("onRefusal", () => {
    const refusal: Refusal = {
      code: "missing-credentials",
      reason: "x",
      headers: { "WWW-Authenticate": "Session realm=x" },
    };
    const warnings: string[] = [];
    const onWarning = (warning: Error & { code?: string }): void => {
      if (warning.code === "PORTCULLIS_ON_REFUSAL") warnings.push(warning.message);
    };
    afterEach(() => {
      process.off("warning", onWarning);
      warnings.length = 0;
    });
    async function warned(count: number): Promise<void> {
      for (let tries = 0; warnings.length < count && tries < 50; tries += 1)
        await new Promise((resolve) => setTimeout(resolve, 10));
    }

    it("may answer with a redirect, a page or a promise of either", async () => {
      const page = { contentType: "text/html; charset=utf-8", body: "<h1>Hej</h1>" };
      for (const given of [page, Promise.resolve(page), { then: (done: (value: unknown) => void) => done(page) }]) {
        const answer = await (await refusing(refusal, () => given as Promise<typeof page>)).send("/");
        expect([answer.status, answer.headers["content-type"], answer.text]).toEqual([
          401,
          page.contentType,
          page.body,
        ]);
        expect(answer.headers["www-authenticate"]).toBe("Session realm=x");
        expect(answer.headers["vary"]).toBe("Accept");
      }
      for (const given of [{ redirect: "/login?x=1" }, Promise.resolve({ redirect: "/login?x=1" })]) {
        const answer = await (await refusing(refusal, () => given)).send("/");
        expect([answer.status, answer.headers["location"], answer.text]).toEqual([303, "/login?x=1", ""]);
        expect(answer.headers["cache-control"]).toBe("no-store");
        expect(answer.headers["www-authenticate"]).toBeUndefined();
      }
      const usual = await (await refusing(refusal, async () => undefined)).send("/", { headers: BROWSER });
      expect(usual.text).toContain("<h1>Credentials required</h1>");
    });

    it.each(["https://evil.example/", "//evil.example", "/\\evil.example", "/a\r\nX: y", 7])(
      "never redirects to another origin: %j gets the default body and a warning",
      async (redirect) => {
        process.on("warning", onWarning);
        const server = await refusing(refusal, () => ({ redirect: redirect as string }));
        const answer = await server.send("/");
        expect([answer.status, answer.headers["location"]]).toEqual([401, undefined]);
        expect(answer.json()).toMatchObject({ code: "missing-credentials" });
        await warned(1);
        expect(warnings[0]).toMatch(/redirect must be a path of this origin/);
      },
    );

    it("may take 250 ms; then the default body is sent, and a late rejection harms nobody", async () => {
      process.on("warning", onWarning);
      const never = await refusing(refusal, () => new Promise(() => undefined));
      const before = performance.now();
      const answer = await never.send("/");
      expect(performance.now() - before).toBeGreaterThan(240);
      expect(answer.json()).toMatchObject({ code: "missing-credentials" });
      const late = await refusing(
        refusal,
        () => new Promise((_resolve, reject) => setTimeout(() => reject(new Error("too late")), 300)),
      );
      expect((await late.send("/")).json()).toMatchObject({ code: "missing-credentials" });
      await new Promise((resolve) => setTimeout(resolve, 100));
      await warned(2);
      expect(warnings.every((text) => text.includes("longer than 250 ms"))).toBe(true);
      const soon = await refusing(
        refusal,
        () => new Promise((resolve) => setTimeout(() => resolve({ contentType: "text/plain", body: "in time" }), 50)),
      );
      expect((await soon.send("/")).text).toBe("in time");
    });

    it("answers once, also when the app's time-out has answered while it was asked", async () => {
      const gate = new EventEmitter();
      const app = express();
      app.use((_req, res, next) => {
        gate.once("answer", () => res.status(504).send("timed out"));
        next();
      });
      const runtime = createRuntime({
        onRefusal: async () => {
          await once(gate, "go");
          return { contentType: "text/plain", body: "late" };
        },
      });
      app.use((req, res) => {
        beginState(req, runtime);
        refuse(req, res, "test", refusal);
        gate.emit("answer");
        gate.emit("go");
      });
      const server = await serve(app);
      open.push(server);
      const answer = await server.send("/");
      expect([answer.status, answer.text]).toEqual([504, "timed out"]);
    });

    it("is not waited for when a session could not be saved: the 503 is sent at once", async () => {
      const server = await secured(
        (app) => {
          app.get("/", (req, res) => {
            Object.assign(req.session, { count: 1 });
            res.send("unsaved");
          });
        },
        {
          onRefusal: () => new Promise(() => undefined),
          session: {
            store: {
              get: (_sid: string, done: (error: unknown, data: null) => void) => done(null, null),
              set: (_sid: string, _data: unknown, done: (error: unknown) => void) => done(new Error("disk full")),
              destroy: (_sid: string, done: (error: unknown) => void) => done(null),
            },
          },
        },
      );
      const answer = await server.send("/", { headers: { host: "localhost" } });
      expect([answer.status, answer.json()]).toEqual([503, expect.objectContaining({ code: "store-unavailable" })]);
    });
  });
});
