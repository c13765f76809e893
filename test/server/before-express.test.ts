import { createServer } from "node:http";
import session from "express-session";
import express5, { type ErrorRequestHandler, type Express } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity, type Security, type SecuritySettings } from "../../src/index.js";
import { serve, type TestServer } from "../support/serve.js";

const SETTINGS = {
  secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ-before-express",
  trustedHosts: ["127.0.0.1"],
  debug: true,
  trustProxy: 1,
  rateLimit: { limit: 3 },
  cors: { origins: ["https://app.example"], credentials: true },
  session: {},
  apiKeys: {},
  jwt: {},
} satisfies SecuritySettings;

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

type Prepare = (app: Express, security: Security) => void;

/** The same app twice: on its own server, where the layers run before Express, and on a plain one. */
async function onBoth(
  prepare: Prepare,
  { express = express5, before = () => undefined }: { express?: typeof express5; before?: (app: Express) => void } = {},
): Promise<{ fast: TestServer; plain: TestServer }> {
  const start = async (isFast: boolean): Promise<TestServer> => {
    const app = express();
    before(app);
    const security = applySecurity(app, SETTINGS) as Security;
    prepare(app, security);
    await security.ready();
    const server = await serve(isFast ? security.createServer() : createServer(app));
    open.push(async () => {
      await server.close();
      await security.close();
    });
    return server;
  };
  return { fast: await start(true), plain: await start(false) };
}

type Sent = Parameters<TestServer["send"]>[1];

/** What is the same for two requests of the same kind. */
const seen = async (server: TestServer, path: string, options?: Sent): Promise<unknown> => {
  const { status, rawHeaders, text } = await server.send(path, options);
  const headers = rawHeaders.map((value, at) => (/^date$/i.test(rawHeaders[at - 1] ?? "") ? "" : value));
  return { status, headers, text: text.replace(/127\.0\.0\.1:\d+/g, "host") };
};

const app: Prepare = (to, security) => {
  to.get("/", (req, res) => void res.json([req.baseUrl, req.originalUrl, req.path, req.query, req.ip, req.hostname]));
  to.get("/me", security.requireAuth(), (_req, res) => void res.send("me"));
  to.post("/", (_req, res) => void res.send("posted"));
  to.get("/fails", () => {
    throw new Error("the route fails");
  });
  const onError: ErrorRequestHandler = (error: Error, _req, res, _next) => void res.status(500).send(error.message);
  to.use(onError);
};

const REQUESTS: [name: string, path: string, options?: Sent][] = [
  ["a served request", "/?a=1"],
  ["a host that is not trusted", "/", { headers: { host: "elsewhere.example" } }],
  [
    "a preflight",
    "/",
    { method: "OPTIONS", headers: { origin: "https://app.example", "access-control-request-method": "PUT" } },
  ],
  [
    "a preflight of a stranger",
    "/",
    { method: "OPTIONS", headers: { origin: "https://x.example", "access-control-request-method": "PUT" } },
  ],
  ["a forged form", "/", { method: "POST", headers: { origin: "https://x.example", cookie: "session=x" } }],
  ["a form of its own page", "/", { method: "POST", headers: { "sec-fetch-site": "same-origin" } }],
  ["a bad API key", "/me", { headers: { "x-api-key": "mcp_not-a-key" } }],
  ["a bad token", "/me", { headers: { authorization: "Bearer a.b.c" } }],
  ["two credentials", "/me", { headers: { authorization: "Bearer a.b.c", "x-api-key": "mcp_not-a-key" } }],
  ["no credential", "/me"],
  ["a damaged cookie", "/", { headers: { cookie: "session=%00; session=b" } }],
  ["no route", "/nowhere"],
  ["a route that fails", "/fails"],
  ["an address that proxies name", "/", { headers: { "x-forwarded-for": "203.0.113.9" } }],
  ["a HEAD request", "/", { method: "HEAD" }],
];

describe.each([
  ["5", express5],
  ["4", express4],
] as const)("on Express %s", (_version, express) => {
  it.each(REQUESTS)("%s gets the same answer from both servers, header by header", async (_name, path, options) => {
    const { fast, plain } = await onBoth(app, { express });
    expect(await seen(fast, path, options)).toEqual(await seen(plain, path, options));
  });

  it("a client over its limit gets the same 429 from both servers", async () => {
    const { fast, plain } = await onBoth(app, { express });
    for (let turn = 0; turn < 3; turn += 1) await Promise.all([fast.send("/"), plain.send("/")]);
    expect(await seen(fast, "/")).toEqual(await seen(plain, "/"));
    expect((await fast.send("/")).status).toBe(429);
  });

  it("the error of a layer goes to the error handling of the app", async () => {
    const fails = (to: Express): void => {
      Object.defineProperty(to.request, "secure", {
        get: () => {
          throw new Error("the layer fails");
        },
      });
    };
    const { fast, plain } = await onBoth(
      (to, security) => {
        fails(to);
        app(to, security);
      },
      { express },
    );
    expect(await fast.send("/")).toMatchObject({ status: 500, text: "the layer fails" });
    expect(await seen(fast, "/")).toEqual(await seen(plain, "/"));
  });

  it("middleware that is mounted before the layers runs before them", async () => {
    const before = (to: Express): void => void to.use((_req, res, next) => void (res.set("X-First", "yes"), next()));
    const { fast, plain } = await onBoth(app, { express, before });
    const refused = await fast.send("/", { headers: { host: "elsewhere.example" } });
    expect([refused.status, refused.headers["x-first"]]).toEqual([400, "yes"]);
    expect(await seen(fast, "/")).toEqual(await seen(plain, "/"));
  });

  it("a request that enters the app again passes the layers again, and counts once", async () => {
    const again: Prepare = (to, security) => {
      to.get("/again", (req, res, next) => {
        req.url = "/me";
        to(req, res, next);
      });
      app(to, security);
    };
    const { fast, plain } = await onBoth(again, { express });
    const answer = await seen(fast, "/again");
    expect(answer).toMatchObject({ status: 401 });
    expect(answer).toEqual(await seen(plain, "/again"));
  });
});

it("a secured app that is called before the layers of the outer one runs its own layers", async () => {
  const outer = express5();
  const security = applySecurity(outer, { ...SETTINGS, session: false, rateLimit: false });
  const inner = express5();
  applySecurity(inner, { trustedHosts: ["inner.example"], rateLimit: false });
  inner.get("/", (_req, res) => void res.send("inner"));
  outer.use((req, res, next) => inner(req, res, next));
  // As a tool does that puts its middleware before all others.
  const { stack } = outer.router as unknown as { stack: unknown[] };
  stack.unshift(stack.pop());
  const server = await serve(security.createServer());
  open.push(() => server.close());
  expect(await server.send("/")).toMatchObject({ status: 400 });
});

describe("the layers run before Express only while they come first", () => {
  const REFUSED = { headers: { host: "elsewhere.example" } };

  async function start(prepare: (app: Express) => void): Promise<TestServer> {
    const app = express5();
    const security = applySecurity(app, { ...SETTINGS, session: false, rateLimit: false });
    app.get("/", (_req, res) => void res.send("served"));
    prepare(app);
    const server = await serve(security.createServer());
    open.push(() => server.close());
    return server;
  }
  const mark = (app: Express): void => {
    const { handle } = app as unknown as { handle: (...args: unknown[]) => void };
    Object.assign(app, {
      handle(...args: unknown[]) {
        (args[1] as express5.Response).set("X-Seen", "yes");
        handle.apply(app, args);
      },
    });
  };

  it.each<[name: string, prepare: (app: Express) => void, seen: string | undefined]>([
    ["an app that is as applySecurity left it", () => undefined, undefined],
    ["an app with another handle", mark, "yes"],
    [
      "an app with a middleware that was put first",
      (app) => {
        app.use((_req, res, next) => void (res.set("X-Seen", "yes"), next()));
        const { stack } = app.router as unknown as { stack: unknown[] };
        stack.unshift(stack.pop());
      },
      "yes",
    ],
  ])("%s", async (_name, prepare, seen) => {
    const server = await start(prepare);
    const refused = await server.send("/", REFUSED);
    expect([refused.status, refused.headers["x-seen"]]).toEqual([400, seen]);
    expect((await server.send("/")).text).toBe("served");
  });

  it("keeps what a listener in front has set", async () => {
    const app = express5();
    const security = applySecurity(app, { ...SETTINGS, session: false });
    app.get("/x", (req, res) => void res.json([req.originalUrl, req.baseUrl, res.locals]));
    const server = await serve(
      security.createServer().prependListener("request", (req, res) => {
        Object.assign(req, { originalUrl: "/v1/x", baseUrl: "/v1" });
        Object.assign(res, { locals: { tenant: "acme" } });
      }),
    );
    open.push(() => server.close());
    expect((await server.send("/x")).json()).toEqual([
      "/v1/x",
      "/v1",
      { tenant: "acme", cspNonce: expect.any(String) },
    ]);
  });

  it("a function of the settings reads req.params as on a plain server", async () => {
    const seen: unknown[] = [];
    const app = express5();
    const rateLimit = { limit: 3, key: (req: express5.Request) => (seen.push({ ...req.params }), "one") };
    const security = applySecurity(app, { ...SETTINGS, session: false, rateLimit });
    for (const listener of [security.createServer(), createServer(app)]) {
      const server = await serve(listener);
      await server.send("/");
      await server.close();
    }
    expect(seen).toEqual([{}, {}]);
  });
});

it("a response that was sent while the session was looked up ends no process", async () => {
  const app = express5();
  const store = new session.MemoryStore();
  const get = store.get.bind(store);
  store.get = (sid, done) => void setTimeout(() => get(sid, done), 100);
  app.use((_req, res, next) => {
    setTimeout(() => {
      if (!res.headersSent) res.status(503).send("too late");
    }, 30);
    next();
  });
  const security = applySecurity(app, { ...SETTINGS, session: { store } });
  app.post("/in", (req, res, next) => void security.logIn(req, { id: "ada" }).then(() => res.send("in"), next));
  app.get("/", (_req, res) => {
    if (!res.headersSent) res.send("served");
  });
  const server = await serve(app);
  open.push(
    () => server.close(),
    () => security.close(),
  );
  const failures: unknown[] = [];
  const note = (error: unknown): void => void failures.push(error);
  process.on("unhandledRejection", note);
  const { headers } = await server.send("/in", { method: "POST", headers: { "sec-fetch-site": "same-origin" } });
  const cookie = (headers["set-cookie"] ?? []).map((line) => line.split(";")[0]).join("; ");
  expect(cookie).not.toBe("");
  expect(await server.send("/", { headers: { cookie } })).toMatchObject({ status: 503, text: "too late" });
  await new Promise((resolve) => setTimeout(resolve, 150));
  process.off("unhandledRejection", note);
  expect(failures).toEqual([]);
});
