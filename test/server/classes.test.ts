import { once } from "node:events";
import { readFileSync } from "node:fs";
import { IncomingMessage, request, Server, ServerResponse } from "node:http";
import { createServer as createTlsServer, request as tlsRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import express5, { type Express } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { applySecurity } from "../../src/index.js";
import { serve, type TestServer } from "../support/serve.js";
import { makeCertificates } from "../support/servers/certificates.js";

const SETTINGS = { trustedHosts: ["127.0.0.1"], debug: true, rateLimit: false } as const;

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

describe.each([
  ["5", express5],
  ["4", express4],
] as const)("on Express %s", (_version, express) => {
  it("requests and responses have the app's prototypes before Express sees them, and Express changes nothing", async () => {
    const app = express();
    const security = applySecurity(app, SETTINGS);
    const changed = vi.spyOn(Object, "setPrototypeOf");
    const seen: unknown[] = [];
    app.get("/", (req, res) => {
      seen.push(Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response);
      seen.push(req instanceof IncomingMessage, res instanceof ServerResponse, req.app === app, res.app === app);
      // With the prototype that each object had before it.
      const targets = changed.mock.calls.flatMap(([target], at) => (target === req || target === res ? [at] : []));
      seen.push(targets.every((at) => [app.request, app.response].includes(changed.mock.calls[at]?.[1] as never)));
      res.send("ok");
    });
    const httpServer = security.createServer();
    const before: unknown[] = [];
    httpServer.prependListener("request", (req, res) => {
      before.push(Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response);
    });
    server = await serve(httpServer);
    expect((await server.send("/")).text).toBe("ok");
    changed.mockRestore();
    expect(before).toEqual([true, true]);
    expect(seen).toEqual([true, true, true, true, true, true, true]);
  });

  it("what is added to app.request and app.response later is there", async () => {
    const app: Express = express();
    const security = applySecurity(app, SETTINGS);
    const httpServer = security.createServer();
    Object.assign(app.request, { greeting: () => "hello" });
    Object.assign(app.response, {
      greet(this: express5.Response, text: string) {
        return this.send(text);
      },
    });
    app.get("/", (req, res) => {
      const added = { ...req, ...res } as never;
      void added;
      (res as unknown as { greet(text: string): void }).greet((req as unknown as { greeting(): string }).greeting());
    });
    server = await serve(httpServer);
    expect((await server.send("/")).text).toBe("hello");
  });

  it("an app that replaces app.request has its own as the prototype, as on a plain server", async () => {
    const app: Express = express();
    const security = applySecurity(app, SETTINGS);
    const httpServer = security.createServer();
    app.request = Object.create(app.request, { mark: { value: "mine" } }) as Express["request"];
    app.get("/", (req, res) => void res.send((req as unknown as { mark: string }).mark));
    server = await serve(httpServer);
    expect((await server.send("/")).text).toBe("mine");
  });

  it("a mounted app has its own prototypes inside, and the outer app has its own afterwards", async () => {
    const app: Express = express();
    const inner: Express = express();
    Object.assign(inner.request, { where: "inner" });
    inner.get("/here", (req, res) => void res.send((req as unknown as { where: string }).where));
    const security = applySecurity(app, { ...SETTINGS, secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ", session: {} });
    app.use("/inner", inner);
    app.use((req, res) => {
      res
        .status(404)
        .json([
          (req as unknown as { where?: string }).where ?? "outer",
          Object.getPrototypeOf(req) === app.request,
          typeof req.session,
        ]);
    });
    server = await serve(security.createServer());
    expect((await server.send("/inner/here")).text).toBe("inner");
    expect((await server.send("/inner/nowhere")).json()).toEqual(["outer", true, "object"]);
  });

  it("an app that a function calls sees the session and the principal", async () => {
    const app: Express = express();
    const other: Express = express();
    other.get("/", (req, res) => void res.json([typeof req.session, req.principal ?? null]));
    const security = applySecurity(app, { ...SETTINGS, secretKey: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ", session: {} });
    // As the package vhost calls an app.
    app.use((req, res, next) => other(req, res, next));
    server = await serve(security.createServer());
    expect((await server.send("/")).json()).toEqual(["object", null]);
  });

  it("the classes serve https too, and the protections run", async () => {
    const app = express();
    const security = applySecurity(app, SETTINGS);
    app.get("/", (req, res) => {
      res.json([req.secure, Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response]);
    });
    const { IncomingMessage: Request, ServerResponse: Response } = security.serverOptions;
    expect([Request.prototype, Response.prototype]).toEqual([app.request, app.response]);
    expect([Object.getPrototypeOf(Request), Object.getPrototypeOf(Response)]).toEqual([
      IncomingMessage,
      ServerResponse,
    ]);
    expect(Object.isFrozen(security.serverOptions)).toBe(true);
    const files = makeCertificates("IP:127.0.0.1,DNS:elsewhere.example");
    onTestFinished(() => files.remove());
    const [ca, cert, key] = [files.ca, files.cert, files.key].map((path) => readFileSync(path));
    const tls = createTlsServer({ ...security.serverOptions, cert, key }, app).listen(0, "127.0.0.1");
    onTestFinished(() => void tls.close());
    await once(tls, "listening");
    const ask = async (headers: Record<string, string>): Promise<[status: number | undefined, body: string]> => {
      const options = { ca, host: "127.0.0.1", port: (tls.address() as AddressInfo).port, headers, agent: false };
      const [answer] = (await once(tlsRequest(options).end(), "response")) as [IncomingMessage];
      return [answer.statusCode, await text(answer)];
    };
    expect(await ask({})).toEqual([200, "[true,true,true]"]);
    expect(await ask({ host: "elsewhere.example" })).toEqual([400, expect.stringContaining("untrusted-host")]);
  });

  it("an upgrade request has the methods of Express, and its socket is the app's to use", async () => {
    const app = express();
    const security = applySecurity(app, SETTINGS);
    const httpServer = security.createServer();
    const seen: unknown[] = [];
    httpServer.on("upgrade", (req: express5.Request, socket) => {
      seen.push(req instanceof IncomingMessage, Object.getPrototypeOf(req) === app.request, req.get("upgrade"), req.ip);
      socket.end(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: test\r\nConnection: Upgrade\r\n\r\n${req.url}`);
    });
    httpServer.listen(0, "127.0.0.1");
    onTestFinished(() => void httpServer.close());
    await once(httpServer, "listening");
    const { port } = httpServer.address() as AddressInfo;
    const req = request({ port, path: "/socket", headers: { connection: "Upgrade", upgrade: "test" } }).end();
    const [, , head] = (await once(req, "upgrade")) as [unknown, unknown, Buffer];
    expect(head.toString()).toBe("/socket");
    expect(seen).toEqual([true, true, "test", "127.0.0.1"]);
  });

  it("a patched http.Server.prototype.emit, as OpenTelemetry has, sees the request before the layers and the app", async () => {
    const { emit } = Server.prototype;
    const order: string[] = [];
    Server.prototype.emit = function (this: Server, name: string, ...args: unknown[]) {
      if (name === "request") order.push(`instrumentation ${(args[0] as IncomingMessage).url}`);
      return (emit as (...all: unknown[]) => boolean).call(this, name, ...args);
    } as typeof emit;
    onTestFinished(() => void (Server.prototype.emit = emit));
    const app = express();
    const security = applySecurity(app, { ...SETTINGS, onRefusal: (problem) => void order.push(problem.code) });
    app.get("/", (_req, res) => {
      order.push("app");
      res.send("ok");
    });
    server = await serve(security.createServer());
    await server.send("/");
    await server.send("/refused", { headers: { host: "elsewhere.example" } });
    expect(order).toEqual(["instrumentation /", "app", "instrumentation /refused", "untrusted-host"]);
  });
});

it.each(["IncomingMessage", "ServerResponse"])("createServer refuses a class of the app for %s", (name) => {
  const security = applySecurity(express5(), SETTINGS);
  const own = name === "IncomingMessage" ? IncomingMessage : ServerResponse;
  expect(() => security.createServer({ [name]: own })).toThrow(
    `createServer sets ${name} itself. Remove it from the options, or call http.createServer(options, app).`,
  );
});

it("createServer passes the other options to Node", () => {
  const security = applySecurity(express5(), SETTINGS);
  const created = security.createServer({ keepAliveTimeout: 65_000, headersTimeout: 66_000 });
  expect([created.keepAliveTimeout, created.headersTimeout]).toEqual([65_000, 66_000]);
});

it("createServer takes no listener: its listener is the app", () => {
  const security = applySecurity(express5(), SETTINGS);
  const create = security.createServer as (...args: unknown[]) => unknown;
  const listener = (): void => undefined;
  for (const args of [[listener], [{}, listener], [null]])
    expect(() => create(...args)).toThrow("createServer takes the options of http.createServer and nothing else");
});
