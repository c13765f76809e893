import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream";

/** An app process behind the proxy. */
export interface Upstream {
  readonly name: string;
  readonly port: number;
}

export interface Proxy {
  readonly port: number;
  close(): Promise<void>;
}

/** How long a process that refused a connection is passed over, in milliseconds. Then one request tries it again. */
const REST_MS = 250;
/** How long a process may take to answer, in milliseconds. */
const ANSWER_MS = 10_000;

/** RFC 9110 section 7.6.1: these concern one connection and are not passed on. */
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

/**
 * A round-robin proxy on 127.0.0.1, as small as can be. In earnest this is nginx, HAProxy or a cloud's load balancer; what
 * it does for the app is the same: passes Host on, and says who is calling in X-Forwarded-For.
 *
 * - A process that refuses the connection never saw the request: the next one gets it, whatever the method.
 * - A connection that breaks before an answer: GET and HEAD without a body go to the next process. Anything else may have
 *   been carried out, so it is not sent twice; the client gets 502 and has to find out.
 *
 * @param port 0 for any free one
 */
export async function startProxy(upstreams: readonly Upstream[], port: number): Promise<Proxy> {
  const restsUntil = new Map<Upstream, number>();
  let turn = 0;

  function next(tried: ReadonlySet<Upstream>): Upstream | undefined {
    const inTurn = upstreams
      .map((_, index) => upstreams[(turn + index) % upstreams.length])
      .filter((upstream) => upstream !== undefined && !tried.has(upstream));
    const chosen =
      inTurn.find((upstream) => upstream !== undefined && (restsUntil.get(upstream) ?? 0) <= performance.now()) ??
      inTurn[0];
    if (chosen !== undefined) turn = upstreams.indexOf(chosen) + 1;
    return chosen;
  }

  function forward(req: IncomingMessage, res: ServerResponse, tried: Set<Upstream>): void {
    const upstream = next(tried);
    if (upstream === undefined) return refuse(res, "proxy", "No process answers.");
    tried.add(upstream);
    let isConnected = false;
    // A connection of its own for each request: a kept one may be closed by the process in the moment it is used again.
    const passed = request({
      host: "127.0.0.1",
      port: upstream.port,
      method: req.method,
      path: req.url,
      headers: requestHeaders(req),
      agent: false,
      timeout: ANSWER_MS,
    });
    const abandon = (): void => void passed.destroy();
    res.once("close", abandon);
    passed.once("socket", (socket) =>
      socket.once("connect", () => {
        isConnected = true;
        req.pipe(passed);
      }),
    );
    passed.once("timeout", abandon);
    passed.once("response", (answer) => {
      restsUntil.delete(upstream);
      res.writeHead(answer.statusCode ?? 502, { ...passedOn(answer), "X-Served-By": upstream.name });
      // A process that dies in the middle of its answer: the client's connection breaks too, which is the truth.
      pipeline(answer, res, () => undefined);
    });
    passed.on("error", () => {
      res.off("close", abandon);
      if (res.headersSent || res.destroyed) return;
      restsUntil.set(upstream, performance.now() + REST_MS);
      if (!isConnected || isRepeatable(req)) return forward(req, res, tried);
      refuse(
        res,
        upstream.name,
        "The process went away while it had this request. Whether it was carried out is not known.",
      );
    });
  }

  const server = createServer((req, res) => forward(req, res, new Set())).listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function refuse(res: ServerResponse, servedBy: string, detail: string): void {
  res.writeHead(502, { "Content-Type": "application/problem+json", "X-Served-By": servedBy });
  res.end(JSON.stringify({ title: "Bad Gateway", status: 502, detail }));
}

function isRepeatable(req: IncomingMessage): boolean {
  const hasBody = req.headers["content-length"] !== undefined || req.headers["transfer-encoding"] !== undefined;
  return (req.method === "GET" || req.method === "HEAD") && !hasBody;
}

/** Every header line as it came, but for those of one connection. */
function passedOn(message: IncomingMessage): Record<string, string | string[]> {
  const dropped = new Set([...HOP_BY_HOP, ...(message.headers.connection ?? "").toLowerCase().split(/[\s,]+/)]);
  const kept = Object.entries(message.headersDistinct).filter(([name]) => !dropped.has(name));
  return Object.fromEntries(
    kept.map(([name, values = []]) => [name, values.length === 1 ? (values[0] ?? "") : values]),
  );
}

/**
 * The app trusts what the proxy says about the client (`trustProxy: 1`), so the proxy says it itself: the address is put
 * at the end of X-Forwarded-For, where the app reads it, and what a client claims of the scheme and host is overwritten.
 */
function requestHeaders(req: IncomingMessage): Record<string, string | string[]> {
  const headers = passedOn(req);
  delete headers["forwarded"];
  const claimed = req.headersDistinct["x-forwarded-for"] ?? [];
  return {
    ...headers,
    ...(req.headers["transfer-encoding"] === undefined ? {} : { "transfer-encoding": "chunked" }),
    "x-forwarded-for": [...claimed, req.socket.remoteAddress ?? ""].join(", "),
    "x-forwarded-proto": "http",
    "x-forwarded-host": req.headers.host ?? "",
  };
}
