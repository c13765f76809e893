import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Express } from "express";
import expressWs from "express-ws";
import { applySecurity, type Security } from "portcullis";
import { Server as SocketServer } from "socket.io";
import { io } from "socket.io-client";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { EXPRESS } from "../support/express-versions.js";

/** The packages that people use beside our server, as their own READMEs say. */

const SETTINGS = {
  debug: true,
  secretKey: randomBytes(32).toString("base64url"),
  trustedHosts: ["127.0.0.1"],
  session: {},
  rateLimit: { limit: 50 },
};

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

type Start = (app: Express, security: Security<typeof SETTINGS>) => Server;

const SERVERS: { server: string; start: Start }[] = [
  { server: "http.createServer(app)", start: (app) => createServer(app) },
  { server: "security.createServer()", start: (_app, security) => security.createServer() },
];

async function portOf(server: Server): Promise<number> {
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  open.push(() => (server.closeAllConnections(), server.close()));
  return (server.address() as AddressInfo).port;
}

async function said(socket: WebSocket, text: string): Promise<string> {
  open.push(() => socket.terminate());
  await once(socket, "open");
  socket.send(text);
  const [answer] = (await once(socket, "message")) as [Buffer];
  return answer.toString();
}

const ON_BOTH = EXPRESS.flatMap((version) => SERVERS.map((server) => ({ ...version, ...server })));

describe.each(ON_BOTH)("on $name, beside $server", ({ express, start }) => {
  it("ws takes upgrade requests, and the app answers others", async () => {
    const app = express();
    const security = applySecurity(app, SETTINGS);
    app.get("/", (_req, res) => void res.send("page"));
    const server = start(app, security);
    const sockets = new WebSocketServer({ noServer: true });
    server.on("upgrade", (req, socket, head) =>
      sockets.handleUpgrade(req, socket, head, (ws) =>
        ws.on("message", (text: Buffer) => ws.send(`${text.toString()} from ${req.url ?? ""}`)),
      ),
    );
    const port = await portOf(server);
    expect(await said(new WebSocket(`ws://127.0.0.1:${port}/socket`), "hello")).toBe("hello from /socket");
    const page = await fetch(`http://127.0.0.1:${port}/`);
    expect([await page.text(), page.headers.get("x-frame-options")]).toEqual(["page", "DENY"]);
  });

  it.each([[["polling"]], [["websocket"]], [["polling", "websocket"]]])(
    "socket.io answers over %s, and the app answers its own paths",
    async (transports) => {
      const app = express();
      const security = applySecurity(app, SETTINGS);
      app.get("/", (_req, res) => void res.send("page"));
      const server = start(app, security);
      const sockets = new SocketServer(server);
      open.push(() => sockets.close());
      sockets.on("connection", (socket) =>
        socket.on("double", (n: number, answer: (n: number) => void) => answer(2 * n)),
      );
      const port = await portOf(server);
      const client = io(`http://127.0.0.1:${port}`, { transports });
      open.push(() => client.close());
      expect(await client.emitWithAck("double", 21)).toBe(42);
      expect(client.io.engine.transport.name).toBe(transports.at(-1));
      expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("page");
    },
  );
});

describe.each(EXPRESS)("on $name", ({ express }) => {
  it.each(["before", "after"])("express-ws %s applySecurity sees the session of an upgrade request", async (when) => {
    const app = express();
    const before = when === "before" ? expressWs(app) : undefined;
    const security = applySecurity(app, SETTINGS);
    const sockets = before ?? expressWs(app);
    sockets.app.ws("/echo", (ws, req) =>
      ws.on("message", (text: Buffer) => ws.send(`${text.toString()} ${typeof req.session}`)),
    );
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    open.push(() => security.close());
    const port = await portOf(server);
    expect(await said(new WebSocket(`ws://127.0.0.1:${port}/echo`), "hello")).toBe("hello object");
  });
});

/** A folder called `express`, by which OpenTelemetry knows the package. */
async function expressFolder(name: string): Promise<string> {
  const installed = fileURLToPath(new URL(`../../node_modules/${name}`, import.meta.url));
  if (name === "express") return installed;
  const folder = await mkdtemp(join(tmpdir(), "portcullis-express-"));
  open.push(() => rm(folder, { recursive: true }));
  const copy = join(folder, "node_modules/express");
  await cp(installed, copy, { recursive: true });
  return copy;
}

it.each([
  { version: 5, name: "express", handlers: ["portcullis"] },
  { version: 4, name: "express4", handlers: ["query", "expressInit", "portcullis"] },
])(
  "OpenTelemetry traces every request to Express $version, refused ones too, and the handlers of the app, as on a plain server",
  async ({ name, handlers }) => {
    const script = fileURLToPath(new URL("traced-app.cjs", import.meta.url));
    const folder = await expressFolder(name);
    const env = { ...process.env, NODE_PATH: fileURLToPath(new URL("../../node_modules", import.meta.url)) };
    const [plain, own] = await Promise.all(
      ["plain", "own"].map(
        async (kind) => (await promisify(execFile)(process.execPath, [script, kind, folder], { env })).stdout,
      ),
    );
    expect(JSON.parse(own ?? "")).toEqual({
      spans: ["GET /users/:id 200", "GET /users/:id 200", "GET 429"],
      handlers: [...handlers, "/users/:id", ...handlers, "/users/:id", ...handlers],
    });
    expect(own).toBe(plain);
  },
);
