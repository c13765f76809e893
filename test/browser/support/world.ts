import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { type Certificates, makeCertificates } from "../../support/servers/certificates.js";
import { launchChromium } from "./chromium.js";
import type { Site } from "./site.js";

/** What reached a server, before any app saw it. */
export interface Seen {
  readonly scheme: "https" | "http";
  readonly host: string;
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** What was answered. A page cannot see it where the browser keeps the answer back. */
  readonly status: number;
  readonly answered: boolean;
}

/** A browser and the sites that are all it knows of, each over https and plain http on the default ports. */
export interface World {
  /** Requests that came since they were last forgotten, in order. */
  readonly seen: readonly Seen[];
  /** Those of `METHOD https://host/path`; with `*` in place of the method, any. */
  requests(line: string): Seen[];
  /** A page of a new profile: no cookies, no cache, no HSTS from before. */
  page(options?: BrowserContextOptions): Promise<Page>;
  forget(): void;
  /** Ends all profiles and forgets what was seen. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export interface WorldOptions {
  /** More of Chromium's command line. */
  readonly flags?: readonly string[];
  /** A site whose certificate was made by somebody else. */
  readonly forged?: string;
}

/** @throws Error when there is no browser or no openssl */
export async function startWorld(
  sites: Readonly<Record<string, Site>>,
  { flags = [], forged }: WorldOptions = {},
): Promise<World> {
  const names = Object.keys(sites);
  const certificates = makeCertificates(names.map((name) => `DNS:${name}`).join(","));
  const seen: Seen[] = [];
  const serve = (scheme: Seen["scheme"]) => (req: IncomingMessage, res: ServerResponse) => {
    const host = req.headers.host ?? "";
    const site = sites[host];
    if (site === undefined) throw new Error(`no site is called ${host}`);
    const { method = "", url: path = "", headers } = req;
    seen.push({
      scheme,
      host,
      method,
      path,
      headers,
      get status() {
        return res.statusCode;
      },
      get answered() {
        return res.headersSent;
      },
    });
    site.app(req, res);
  };
  const https = createHttpsServer(keys(certificates), serve("https"));
  if (forged !== undefined) https.addContext(forged, forgedKeys(forged));
  const servers: Server[] = [https, createHttpServer(serve("http"))];
  const [httpsPort = 0, httpPort = 0] = await Promise.all(servers.map(listen));
  const browser = await launchChromium({ httpsPort, httpPort, names, certificate: certificates.cert }, flags);
  const contexts: BrowserContext[] = [];
  const forget = () => void (seen.length = 0);
  const reset = async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()));
    forget();
  };
  return {
    seen,
    requests: (line) =>
      seen.filter(({ scheme, host, method, path }) =>
        [`${method} ${scheme}://${host}${path}`, `* ${scheme}://${host}${path}`].includes(line),
      ),
    async page(options) {
      const context = await browser.newContext(options);
      contexts.push(context);
      context.setDefaultTimeout(10_000);
      return context.newPage();
    },
    forget,
    reset,
    async close() {
      await reset();
      await browser.close();
      for (const server of servers) {
        server.closeAllConnections();
        server.close();
      }
      for (const { security } of Object.values(sites)) await security?.close();
      certificates.remove();
    },
  };
}

const keys = ({ cert, key }: Certificates) => ({ cert: readFileSync(cert), key: readFileSync(key) });

function forgedKeys(name: string): ReturnType<typeof keys> {
  const certificates = makeCertificates(`DNS:${name}`);
  try {
    return keys(certificates);
  } finally {
    certificates.remove();
  }
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
