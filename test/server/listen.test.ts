import { once } from "node:events";
import http, { createServer, Server, type ServerResponse } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import express5, { type Express } from "express";
import express4 from "express4";
import { afterEach, describe, expect, it } from "vitest";
import { applySecurity } from "../../src/index.js";

const SETTINGS = { trustedHosts: ["127.0.0.1"], debug: true } as const;

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});
const kept = (server: Server): Server => {
  servers.push(server);
  return server;
};

describe.each([
  ["5", express5],
  ["4", express4],
] as const)("app.listen on Express %s", (version, express) => {
  const secured = (settings: object = {}): Express => {
    const app = express();
    applySecurity(app, { ...SETTINGS, ...settings });
    return app;
  };
  const both = [
    ["of a secured app", () => secured()],
    ["of an app without security", () => express()],
  ] as const;

  it.each(both)("%s takes a port, a host, a backlog and a callback", async (_name, create) => {
    const called: unknown[] = [];
    const server = kept(create().listen(0, "127.0.0.1", 10, (...args: unknown[]) => void called.push(args)));
    expect(server).toBeInstanceOf(Server);
    await once(server, "listening");
    expect((server.address() as AddressInfo).address).toBe("127.0.0.1");
    expect(called).toEqual([[]]);
  });

  it.each(both)("%s takes nothing but a callback, whose `this` is the server", async (_name, create) => {
    const called: unknown[] = [];
    const server = kept(
      create().listen(function (this: unknown) {
        called.push(this);
      }),
    );
    await once(server, "listening");
    expect(called).toHaveLength(1);
    expect(called[0]).toBe(server);
  });

  it.each(both)("%s takes the options of net.Server", async (_name, create) => {
    const listen = create().listen as unknown as (options: object) => Server;
    const server = kept(listen({ port: 0, host: "127.0.0.1", exclusive: true }));
    await once(server, "listening");
    expect((server.address() as AddressInfo).address).toBe("127.0.0.1");
  });

  it.each(both)("%s takes the path of a socket", async (_name, create) => {
    const folder = await mkdtemp(join(tmpdir(), "portcullis-listen-"));
    const path = join(folder, "app.sock");
    const server = kept(create().listen(path));
    await once(server, "listening");
    expect(server.address()).toBe(path);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    await rm(folder, { recursive: true });
  });

  it.each(both)("%s reports a port in use as this version of Express does", async (_name, create) => {
    const first = kept(createServer().listen(0, "127.0.0.1"));
    await once(first, "listening");
    const { port } = first.address() as AddressInfo;
    const called: unknown[] = [];
    const second = create().listen(port, "127.0.0.1", (...args: unknown[]) => void called.push(...args));
    const [error] = (await once(second, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("EADDRINUSE");
    expect(called).toEqual(version === "5" ? [error] : []);
  });

  it("creates a server whose requests have the prototypes of the app", async () => {
    const server = kept(secured().listen(0));
    await once(server, "listening");
    const options = server as unknown as Record<symbol, unknown>;
    const classes = Object.getOwnPropertySymbols(server).map((symbol) => options[symbol]);
    expect(classes.some((value) => typeof value === "function" && value.name === "Request")).toBe(true);
  });

  it("stays Express's own with fastServer: false", () => {
    const app = express();
    const { listen } = app;
    applySecurity(app, { ...SETTINGS, fastServer: false });
    expect(app.listen).toBe(listen);
    const fast = express();
    applySecurity(fast, SETTINGS);
    expect(fast.listen).not.toBe(listen);
  });

  it("stays the one that another package has put in place", () => {
    const app = express();
    // As express-ws does.
    const server = createServer(app);
    const listen = (...args: unknown[]): Server => server.listen(...(args as [number]));
    app.listen = listen;
    applySecurity(app, SETTINGS);
    expect(app.listen).toBe(listen);
  });

  it.each<[name: string, wrap: (app: Express) => { listen: unknown }]>([
    ["an object that borrows it", (app) => Object.assign(wrapper(app), { listen: app.listen })],
    [
      "a proxy",
      (app) => new Proxy(app, { apply: (_app, _this, args) => void (args[1] as ServerResponse).end("wrapper") }),
    ],
  ])("serves the wrapper when it is called on %s", async (_name, wrap) => {
    const app = secured();
    app.get("/", (_req, res) => void res.send("app"));
    const listen = wrap(app) as { listen(port: number): Server };
    const server = kept(listen.listen(0));
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("wrapper");
  });

  it("stays an own one that also creates a server", () => {
    const app = express();
    const own = function listen(this: Express, ...args: unknown[]): Server {
      const server = http.createServer(this);
      server.maxRequestsPerSocket = 7;
      return server.listen(...(args as [number]));
    };
    app.listen = own as Express["listen"];
    applySecurity(app, SETTINGS);
    expect(app.listen).toBe(own);
  });
});

const wrapper =
  (_app: Express) =>
  (_req: unknown, res: ServerResponse): void =>
    void res.end("wrapper");
