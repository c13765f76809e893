/**
 * Serves an app over TLS on a free port of loopback, as scanners meet it: a certificate for `localhost` by an authority made
 * for this run, and plain http on the same port that redirects to https, as the proxy or load balancer in front of an app does.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createPlainServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createTlsServer, request } from "node:https";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { makeCertificates } from "../support/servers/certificates.js";

/** RFC 8446 section 5.1: the record type of a handshake, the first byte of every TLS connection and of no HTTP request. */
const HANDSHAKE = 22;

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export interface OverTls {
  /** `https://localhost:<port>` */
  origin: string;
  /** `localhost:<port>` */
  authority: string;
  /** Path of the authority's certificate. */
  ca: string;
  /** How often each of `GET /page 200` was answered over TLS, without query strings. */
  answers: ReadonlyMap<string, number>;
  ask(path: string, options?: { method?: string; headers?: Record<string, string>; body?: string }): Promise<Reply>;
  close(): Promise<void>;
}

export async function serveOverTls(app: RequestListener): Promise<OverTls> {
  const certificates = makeCertificates("DNS:localhost");
  const ca = readFileSync(certificates.ca);
  const answers = new Map<string, number>();
  const tls = createTlsServer(
    { cert: readFileSync(certificates.cert), key: readFileSync(certificates.key) },
    (req, res) => {
      const path = (req.url ?? "").split("?")[0] ?? "";
      res.once("finish", () => {
        const answer = `${req.method} ${path} ${res.statusCode}`;
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      });
      app(req, res);
    },
  );
  const plain = createPlainServer((req, res) => void res.writeHead(301, { Location: `${origin}${req.url}` }).end());

  const sockets = new Set<Socket>();
  const front = createServer((socket) => {
    sockets.add(socket.once("close", () => sockets.delete(socket)));
    // A scanner may break off whenever it likes.
    socket.on("error", () => socket.destroy());
    socket.once("data", (first) => {
      socket.pause();
      socket.unshift(first);
      if (first[0] === HANDSHAKE) tls.emit("connection", socket);
      else {
        plain.emit("connection", socket);
        socket.resume();
      }
    });
  }).listen(0, "127.0.0.1");
  await once(front, "listening");
  const authority = `localhost:${(front.address() as AddressInfo).port}`;
  const origin = `https://${authority}`;

  return {
    origin,
    authority,
    ca: certificates.ca,
    answers,
    ask: (path, options) => ask(new URL(path, origin), ca, options),
    close: async () => {
      front.close();
      for (const socket of sockets) socket.destroy();
      certificates.remove();
      await once(front, "close");
    },
  };
}

function ask(
  url: URL,
  ca: Buffer,
  { method = "GET", headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const req = request(url, { method, headers, ca, servername: url.hostname, agent: false, family: 4 }, (res) => {
      let text = "";
      res.setEncoding("utf8");
      res.on("data", (chunk: string) => (text += chunk));
      res.on("error", reject);
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text }));
    });
    req.on("error", reject);
    req.end(body);
  });
}
