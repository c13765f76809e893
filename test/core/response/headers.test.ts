import { ServerResponse } from "node:http";
import type { Express, RequestHandler, Response } from "express";
import { describe, expect, it } from "vitest";
import { applySecurity } from "../../../src/apply-security.js";
import { EXPRESS } from "../../support/express-versions.js";
import { type Answer, serve } from "../../support/serve.js";

describe.each(EXPRESS)("headers of the layers, on $name", ({ express }) => {
  const settings = {
    trustedHosts: ["127.0.0.1"],
    cors: { origins: ["https://app.example.com"] },
    apiKeys: {},
    secretKey: "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq",
  } as const;
  const called =
    (inner: Express): RequestHandler =>
    (req, res, next) =>
      void inner(req, res, next);
  const lines = ({ rawHeaders }: Answer, name: string): string[] =>
    rawHeaders.filter((_text, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);

  async function answer(
    build: (app: Express, security: ReturnType<typeof applySecurity<typeof settings>>) => Express | void,
    path = "/",
  ): Promise<Answer> {
    const app = express().disable("x-powered-by");
    const security = applySecurity(app, settings);
    const server = await serve(build(app, security) ?? app);
    try {
      return await server.send(path);
    } finally {
      await server.close();
      await security.close();
    }
  }

  it("are sent once when an app in between sets them and passes the request on", async () => {
    const sent = await answer((app) => {
      const outer = express().disable("x-powered-by");
      const mounted = express().disable("x-powered-by");
      mounted.use((_req, res, next) => (res.set("X-Frame-Options", "SAMEORIGIN"), next()));
      const plain = express().disable("x-powered-by");
      plain.use((_req, res, next) => (res.set("Referrer-Policy", "origin"), next()));
      app.use(mounted).use(called(plain));
      outer.use(called(app)).use((_req, res) => void res.send("x"));
      return outer;
    });
    expect(lines(sent, "x-frame-options")).toEqual(["SAMEORIGIN"]);
    expect(lines(sent, "referrer-policy")).toEqual(["origin"]);
    expect(lines(sent, "content-security-policy")).toHaveLength(1);
  });

  it.each([
    [
      "setHeader",
      (res: Response) => void ServerResponse.prototype.setHeader.call(res, "X-Frame-Options", "SAMEORIGIN").end(),
    ],
    [
      "writeHead, list",
      (res: Response) =>
        void ServerResponse.prototype.writeHead.call(res, 200, ["X-Frame-Options", "SAMEORIGIN"]).end(),
    ],
    [
      "writeHead, object",
      (res: Response) =>
        void ServerResponse.prototype.writeHead.call(res, 200, { "x-frame-options": "SAMEORIGIN" }).end(),
    ],
  ])("are sent once when the app goes past Express: %s of Node's prototype", async (_name, route) => {
    const sent = await answer((app) => void app.use((_req, res) => route(res)));
    expect(lines(sent, "x-frame-options")).toEqual(["SAMEORIGIN"]);
    expect(lines(sent, "vary")).toEqual(["Origin"]);
  });

  it("are visible to an app that is called directly: Vary and the limit's headers add up, and a removed header is gone", async () => {
    const sent = await answer((app, security) => {
      const inner = express().disable("x-powered-by");
      inner.use(security.rateLimit({ name: "route", limit: 5, windowSeconds: 60 }), (_req, res) => {
        res.vary("Accept-Encoding").removeHeader("X-Frame-Options");
        res.json({
          csp: res.getHeader("content-security-policy"),
          names: res.getHeaderNames().includes("referrer-policy"),
        });
      });
      app.use(called(inner));
    });
    expect(sent.headers["vary"]).toBe("Origin, Accept-Encoding");
    expect(sent.headers["ratelimit"]).toMatch(/^"default";r=\d+;t=\d+, "route";r=4;t=60$/);
    expect(sent.headers["x-frame-options"]).toBeUndefined();
    expect(sent.json()).toMatchObject({ csp: sent.headers["content-security-policy"], names: true });
  });

  it("of a guard's refusal can be changed by a wrapper of end, and are complete for a reader on finish", async () => {
    let seen: object = {};
    const wrapping: RequestHandler = (_req, res, next) => {
      const { end } = res;
      res.end = function (this: Response, ...args: unknown[]) {
        this.setHeader("X-Response-Time", "1");
        return Reflect.apply(end, this, args) as Response;
      };
      res.on("finish", () => (seen = res.getHeaders()));
      next();
    };
    const sent = await answer((app, security) => void app.use(wrapping, security.requireAuth()));
    expect([sent.status, sent.headers["x-response-time"], sent.headers["x-frame-options"]]).toEqual([401, "1", "DENY"]);
    expect(seen).toMatchObject({
      "content-type": "application/problem+json; charset=utf-8",
      "www-authenticate": sent.headers["www-authenticate"],
      "x-frame-options": "DENY",
    });
  });

  it("pass through a writeHead that the app has put on its responses, refusals too", async () => {
    const patched = (path: string): Promise<Answer> =>
      answer((own, security) => {
        const { writeHead } = own.response;
        own.response.writeHead = function (this: Response, ...args: unknown[]) {
          this.setHeader("X-Patched", "1");
          return Reflect.apply(writeHead, this, args) as Response;
        } as never;
        own.get("/guarded", security.requireAuth());
        own.get("/open", (_req, res) => void res.send("x"));
      }, path);
    for (const path of ["/open", "/guarded"]) expect((await patched(path)).headers["x-patched"]).toBe("1");
  });

  it("are set one by one on a mock response, or where setHeader is wrapped", async () => {
    const app = express().disable("x-powered-by");
    const security = applySecurity(app, settings);
    app.use((_req, res) => void res.end());
    const set: Record<string, string> = {};
    const mock = {
      statusCode: 200,
      setHeader: (name: string, value: string) => void (set[name.toLowerCase()] = value),
      getHeader: (name: string) => set[name.toLowerCase()],
      getHeaderNames: () => Object.keys(set),
      hasHeader: (name: string) => name.toLowerCase() in set,
      removeHeader: (name: string) => void delete set[name.toLowerCase()],
      writeHead: () => mock,
      on: () => mock,
      end: () => mock,
    };
    const request = {
      method: "GET",
      url: "/",
      headers: { host: "127.0.0.1" },
      rawHeaders: ["Host", "127.0.0.1"],
      socket: { remoteAddress: "127.0.0.1" },
      httpVersionMajor: 1,
    };
    app(request as never, mock as never);
    await security.close();
    expect(set).toMatchObject({ "x-frame-options": "DENY", vary: "Origin" });

    const outer = express().disable("x-powered-by");
    outer.use((_req, res, next) => {
      const { setHeader } = res;
      res.setHeader = function (this: Response, name: string, value: never) {
        return setHeader.call(this, name, name === "X-Frame-Options" ? "SAMEORIGIN" : value) as never;
      };
      next();
    });
    const inner = applySecurity(outer, settings);
    outer.use((_req, res) => void res.end());
    const server = await serve(outer);
    expect((await server.send("/")).headers["x-frame-options"]).toBe("SAMEORIGIN");
    await server.close();
    await inner.close();
  });

  it("contain the nonce of a patch even when the app has replaced res.locals or its members", async () => {
    for (const change of [
      (res: Response) => void (res.locals = { user: "ann" }),
      (res: Response) => void (res.locals["cspNonce"] = "mine"),
    ]) {
      const sent = await answer((app, security) => {
        app.use((_req, res, next) => (change(res), next()));
        app.use(
          security.headers({ contentSecurityPolicy: { directives: { "script-src": ["'nonce'"] } } }),
          (_req, res) => void res.send(String(res.locals["cspNonce"])),
        );
      });
      expect(sent.headers["content-security-policy"]).toContain(`'nonce-${sent.text}'`);
    }
  });
});
