import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import session from "express-session";
import type { Express, Request, RequestHandler, Response } from "express";
import onHeaders from "on-headers";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, type SecuritySettings } from "../../../src/index.js";
import { EXPRESS } from "../../support/express-versions.js";
import { type Answer, serve } from "../../support/serve.js";
import { cookieOf, setCookies, withCookie } from "../../session/support.js";

const require = createRequire(import.meta.url);
const apicache = require("apicache") as { newInstance(): { middleware(duration: string): RequestHandler } };

const SETTINGS = {
  debug: true,
  trustedHosts: ["127.0.0.1"],
  secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
  session: {},
  apiKeys: { hash: "hmac-sha256" },
  jwt: { issuer: "https://issuer.example", audience: "https://api.example" },
  cors: { origins: ["https://app.example.com"] },
} as const satisfies SecuritySettings;

/** A store that takes its time, and fails when told to. */
class SlowStore extends session.MemoryStore {
  delayMs = 0;
  fails = false;
  override set(sid: string, data: session.SessionData, done?: (error?: unknown) => void): void {
    setTimeout(() => (this.fails ? done?.(new Error("no")) : super.set(sid, data, done)), this.delayMs);
  }
}

describe.each(EXPRESS)("the head of an answer, on $name", ({ name, express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function start(
    build: (app: Express, security: ReturnType<typeof applySecurity<typeof SETTINGS>>) => void,
    settings: Partial<SecuritySettings> = {},
  ) {
    const app = express().disable("x-powered-by").set("env", "test");
    const security = applySecurity<typeof SETTINGS>(app, Object.assign({}, SETTINGS, settings));
    app.post("/in", (req, res, next) => void security.logIn(req, { id: "ada" }).then(() => res.send("in"), next));
    build(app, security);
    const server = await serve(app);
    open.push(server, security);
    await security.ready();
    return {
      server,
      security,
      send: (path: string, headers: Record<string, string> = {}): Promise<Answer> => server.send(path, { headers }),
    };
  }
  const visit: RequestHandler = (req, res) => {
    (req.session as unknown as { visits: number }).visits = 1;
    res.send("page");
  };

  describe("the session cookie", () => {
    it("of one visitor is not in the answer that apicache replays to another", async () => {
      let served = 0;
      const { send } = await start(
        (app) =>
          void app.get(
            "/",
            apicache.newInstance().middleware("1 hour"),
            (_req, _res, next) => ((served += 1), next()),
            visit,
          ),
      );
      const [first, second] = [await send("/"), await send("/")];
      expect([first.text, second.text, served]).toEqual(["page", "page", 1]);
      expect([setCookies(first).length, setCookies(second)]).toEqual([1, []]);
    });

    it("is not seen by listeners of on-headers or a writeHead of the app, and goes out beside the app's own cookies", async () => {
      const seen: unknown[] = [];
      const watch: RequestHandler = (_req, res, next) => {
        onHeaders(res, function (this: Response) {
          seen.push(this.getHeader("Set-Cookie"));
        });
        const { writeHead } = res;
        res.writeHead = function (this: Response, ...args: unknown[]) {
          seen.push(this.getHeader("Set-Cookie"));
          return Reflect.apply(writeHead, this, args) as Response;
        } as never;
        next();
      };
      const { send } = await start((app) => {
        app.get("/", watch, visit);
        app.get("/own", watch, (req, res) => {
          visit(req, res.cookie("own", "1"), () => undefined);
        });
      });
      expect(setCookies(await send("/"))).toHaveLength(1);
      expect(seen).toEqual([undefined, undefined]);
      expect(setCookies(await send("/own")).map((line) => line.split("=")[0])).toEqual(["own", "mcp_session"]);
    });

    it("goes out when another secured app answers, with a request that the route has made for it", async () => {
      const inner = express().disable("x-powered-by");
      open.push(applySecurity(inner, { debug: true, trustedHosts: ["127.0.0.1"], secretKey: SETTINGS.secretKey }));
      inner.get("/within", (_req, res) => void res.send("inner"));
      const { send } = await start((app) => {
        app.get("/", (req, res, next) => {
          (req.session as unknown as { visits: number }).visits = 1;
          const own = new IncomingMessage(req.socket);
          Object.assign(own, { method: "GET", url: "/within", headers: { host: "127.0.0.1" } });
          inner(own as Request, res, next);
        });
      });
      const answer = await send("/");
      expect([answer.status, answer.text]).toEqual([200, "inner"]);
      expect(setCookies(answer)).toHaveLength(1);
      expect(answer.headers["cache-control"]).toBe("no-store");
    });

    it.each([
      [
        "a listener of on-headers",
        (res: Response) =>
          onHeaders(res, () => void res.setHeader("Cache-Control", "public, max-age=60, no-transform")),
      ],
      [
        "a writeHead",
        (res: Response) => {
          const { writeHead } = res;
          res.writeHead = ((status: number) =>
            writeHead.call(res, status, { "cache-control": "public, max-age=60, no-transform" })) as never;
        },
      ],
      ["the route", (res: Response) => void res.set("Cache-Control", "public, max-age=60, no-transform")],
    ])("keeps the answer out of caches when %s allows them", async (_name, allow) => {
      const { send } = await start((app) => {
        app.use((_req, res, next) => (allow(res), next()));
        app.get(
          "/",
          (_req, res) =>
            void res.set({ "CDN-Cache-Control": "max-age=600", "Surrogate-Control": "no-store" }).send("page"),
        );
        app.get("/visit", (req, res) =>
          visit(req, res.set({ "CDN-Cache-Control": "max-age=600", "Surrogate-Control": "no-store" }), () => undefined),
        );
      });
      const plain = await send("/");
      expect([plain.headers["cache-control"], plain.headers["cdn-cache-control"]]).toEqual([
        "public, max-age=60, no-transform",
        "max-age=600",
      ]);
      const { headers } = await send("/visit");
      expect([headers["cache-control"], headers["cdn-cache-control"], headers["surrogate-control"]]).toEqual([
        "no-store, no-transform",
        undefined,
        "no-store",
      ]);
    });
  });

  describe("Cache-Control of an answer to a caller who proved a credential", () => {
    let folder = "";
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "portcullis-"));
      writeFileSync(join(folder, "app.js"), "1");
    });
    afterAll(() => rmSync(folder, { recursive: true }));
    const answers = (app: Express): void => {
      app.get("/none", (_req, res) => void res.send("x"));
      app.get("/failed", () => {
        throw new Error("boom");
      });
      for (const name of ["Cache-Control", "Expires", "CDN-Cache-Control", "Surrogate-Control"])
        app.get(`/${name}`, (_req, res) => void res.set(name, name === "Expires" ? "0" : "max-age=5").send("x"));
      app.use("/static", express.static(folder, { maxAge: "1y", immutable: true }));
    };

    it("is private, unless the app has said how long it may be kept", async () => {
      const { send, server, security } = await start(answers);
      const { key } = await security.apiKeys.create({ ownerId: "ada", name: "k" });
      const cookie = withCookie(cookieOf(await server.send("/in", { method: "POST" }))).headers;
      const callers = {
        key: { "x-api-key": key },
        token: { authorization: `Bearer ${(await security.jwt.issue("ada")).accessToken}` },
        session: cookie,
      };
      for (const [kind, headers] of Object.entries(callers)) {
        expect([kind, (await send("/none", headers)).headers["cache-control"]]).toEqual([kind, "private"]);
        expect((await send("/failed", headers)).headers["cache-control"]).toBe("private");
        expect((await send("/Cache-Control", headers)).headers["cache-control"]).toBe("max-age=5");
        for (const name of ["Expires", "CDN-Cache-Control", "Surrogate-Control"])
          expect((await send(`/${name}`, headers)).headers["cache-control"]).toBeUndefined();
        expect((await send("/static/app.js", headers)).headers["cache-control"]).toBe(
          "public, max-age=31536000, immutable",
        );
      }
    });

    it("is left alone for an anonymous caller, and for one whose credential is refused no-store", async () => {
      const { send } = await start(answers);
      expect((await send("/none")).headers["cache-control"]).toBeUndefined();
      const refused = await send("/none", { "x-api-key": "mcp_AAAA" });
      expect([refused.status, refused.headers["cache-control"]]).toEqual([401, "no-store"]);
    });
  });

  describe("a 304", () => {
    const script = ["'self'", "'nonce'"];
    const policies = {
      headers: {
        contentSecurityPolicy: { directives: { "script-src": script } },
        contentSecurityPolicyReportOnly: { directives: { "script-src": script } },
      },
    };
    const page = (req: Request, res: Response): void =>
      void res.set("ETag", '"v1"').send(req.path === "/nonce" ? String(res.locals["cspNonce"]) : "plain");

    it.each(["/nonce", "/plain"])("carries no policy with a nonce: %s", async (path) => {
      const { send } = await start((app) => void app.get(path, page), policies);
      const first = await send(path);
      expect(first.headers["content-security-policy"]).toContain("script-src 'self'");
      const second = await send(path, { "if-none-match": '"v1"' });
      expect([
        second.status,
        second.headers["content-security-policy"],
        second.headers["content-security-policy-report-only"],
        second.headers["x-content-type-options"],
      ]).toEqual([304, undefined, undefined, "nosniff"]);
    });

    it("carries a policy without a nonce, and one that the app set", async () => {
      const { send } = await start((app) => void app.get("/plain", page));
      expect((await send("/plain", { "if-none-match": '"v1"' })).headers["content-security-policy"]).toContain(
        "default-src",
      );
      const own = await start(
        (app) =>
          void app.get("/plain", (req, res) => page(req, res.set("Content-Security-Policy", "default-src 'self'"))),
        policies,
      );
      expect((await own.send("/plain", { "if-none-match": '"v1"' })).headers["content-security-policy"]).toBe(
        "default-src 'self'",
      );
    });
  });

  it("has the headers of every layer on an error page for which send has removed them", async () => {
    const sendFile = createRequire(require.resolve(name === "Express 5" ? "express" : "express4"))("send") as (
      req: Request,
      path: string,
      options: object,
    ) => { pipe(res: Response): void };
    const { send } = await start((app, security) => {
      app.get("/file", security.rateLimit({ name: "files", limit: 5, windowSeconds: 60 }), (req, res) =>
        sendFile(req, "/none", { root: tmpdir() }).pipe(res),
      );
    });
    const { status, headers } = await send("/file", { origin: "https://app.example.com" });
    expect([
      status,
      headers["access-control-allow-origin"],
      headers["vary"],
      headers["x-content-type-options"],
    ]).toEqual([404, "https://app.example.com", "Origin", "nosniff"]);
    expect(headers["ratelimit"]).toMatch(/^"default";r=\d+;t=\d+, "files";r=4;t=60$/);
  });

  describe("an answer that waits for its session", () => {
    it("is delivered when the app fails after giving it, and the connection ends after that", async () => {
      const store = new SlowStore();
      store.delayMs = 60;
      const { send } = await start(
        (app) =>
          void app.get("/", (req, res) => {
            visit(req, res, () => undefined);
            throw new Error("thrown after the answer");
          }),
        { session: { store } },
      );
      const answer = await send("/");
      expect([answer.status, answer.text, setCookies(answer).length]).toEqual([200, "page", 1]);
      // The connection serves the next request, or a new one does.
      expect((await send("/")).status).toBe(200);
    });

    it("is cut off when the app fails in the middle of it", async () => {
      const store = new SlowStore();
      store.delayMs = 30;
      const { send } = await start(
        (app) =>
          void app.get("/", (req, res) => {
            (req.session as unknown as { visits: number }).visits = 1;
            res.write("half");
            throw new Error("thrown in the middle");
          }),
        { session: { store } },
      );
      await expect(send("/")).rejects.toThrow();
    });

    it("becomes a 503 when the save fails, also when the app fails after giving it", async () => {
      const store = new SlowStore();
      Object.assign(store, { delayMs: 30, fails: true });
      const { send } = await start(
        (app) =>
          void app.get("/", (req, res) => {
            visit(req, res, () => undefined);
            throw new Error("thrown after the answer");
          }),
        { session: { store } },
      );
      const answer = await send("/");
      expect([answer.status, setCookies(answer)]).toEqual([503, []]);
    });
  });
});
