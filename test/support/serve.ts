import { once } from "node:events";
import { type Agent, createServer, type IncomingHttpHeaders, type RequestListener, request, Server } from "node:http";
import { connect } from "node:net";
import type { Express } from "express";
import type { AddressInfo } from "node:net";

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Names and values as they came over the wire. */
  rawHeaders: string[];
  text: string;
  json: () => unknown;
}

export interface TestServer {
  port: number;
  origin: string;
  server: Server;
  /** One request over a connection of its own, or of `agent`. */
  send(
    path: string,
    options?: { method?: string; headers?: Record<string, string | string[]>; body?: string; agent?: Agent },
  ): Promise<Answer>;
  /** Bytes as written, for what no HTTP client would send. Resolves with all that came back until the server closed. */
  raw(bytes: string | Buffer, waitMs?: number): Promise<string>;
  close(): Promise<void>;
}

/**
 * Serves an app on a free port of 127.0.0.1 over a real socket: an Express app by its `listen`, so that a secured one has
 * the server that its users have. A server is started as it is. With PORTCULLIS_PLAIN_SERVER set, every app has a plain one.
 */
export async function serve(app: RequestListener | Server): Promise<TestServer> {
  const server =
    app instanceof Server || (isExpressApp(app) && process.env["PORTCULLIS_PLAIN_SERVER"] === undefined)
      ? app.listen(0, "127.0.0.1")
      : createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    server,
    send: (path, options = {}) => send(port, path, options),
    raw: (bytes, waitMs = 2000) => raw(port, bytes, waitMs),
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve, reject) => server.close((error) => (error ? reject(error) : resolve())));
    },
  };
}

function isExpressApp(app: RequestListener): app is Express {
  return "listen" in app && typeof app.listen === "function";
}

function send(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string | string[]>; body?: string; agent?: Agent },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      ...(options.body === undefined ? {} : { "content-length": String(Buffer.byteLength(options.body)) }),
      ...options.headers,
    };
    const req = request(
      { host: "127.0.0.1", port, path, method: options.method ?? "GET", headers, agent: options.agent ?? false },
      (res) => {
        const chunks: Buffer[] = [];
        res.on("data", (chunk: Buffer) => chunks.push(chunk));
        res.on("error", reject);
        res.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          resolve({
            status: res.statusCode ?? 0,
            headers: res.headers,
            rawHeaders: res.rawHeaders,
            text,
            json: () => JSON.parse(text) as unknown,
          });
        });
      },
    );
    req.on("error", reject);
    req.end(options.body);
  });
}

function raw(port: number, bytes: string | Buffer, waitMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => socket.destroy(), waitMs);
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNRESET" || error.code === "EPIPE" ? undefined : reject(error),
    );
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString("latin1"));
    });
    socket.on("end", () => socket.end());
    socket.write(bytes);
  });
}
