import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type ErrorRequestHandler, type Request, type Response } from "express";
import { vi } from "vitest";
import {
  applySecurity,
  type CreateApiKeyInput,
  type CreatedApiKey,
  type IssuedTokens,
  type Security,
} from "portcullis";
import { HashQueue } from "../../src/api-key/keys/hash-queue.js";
import { WatchedStore } from "../api-key/support.js";
import { ManualClock } from "../support/manual-clock.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";
import { AccountsLab } from "./accounts-app.js";
import { type Ask, json, MARK, type Seen } from "./attack.js";
import { exchange } from "./exchange.js";
import { Forger } from "./forger.js";

export const HOST = "api.example.com";
export const APP_ORIGIN = "https://app.example.com";
export const COOKIE = "__Host-mcp_session";
export const SIGNING_KEY = generateKeyPairSync("ec", { namedCurve: "P-256" });
/** Clients that are counted one by one: few, so that a flood of addresses is quickly more than that. */
export const MAX_CLIENTS = 200;

/** Clients whom the app has shut out. */
export const DENIED_RANGE = "192.88.99.0/24";
export const FAILURES = 20;

const USERS: Readonly<Record<string, { password: string; scopes: readonly string[] }>> = {
  ada: { password: "correct horse", scopes: ["read", "orders:*"] },
  mallory: { password: "battery staple", scopes: ["read"] },
};

function settings(store: WatchedStore) {
  return {
    secretKey: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E",
    trustedHosts: [HOST, "*.apps.example.com"],
    trustProxy: 1,
    cors: { origins: [APP_ORIGIN, "https://*.apps.example.com"], credentials: true, refused: "reject" as const },
    rateLimit: { limit: 100, maxClients: MAX_CLIENTS, perPrincipal: { limit: 50 }, deny: [DENIED_RANGE] },
    csrf: {},
    session: {},
    apiKeys: { store, failures: { limit: FAILURES } },
    jwt: { algorithm: "ES256" as const, privateKey: SIGNING_KEY.privateKey },
  };
}

type Secured = Security<ReturnType<typeof settings>>;

/** The one app that all attacks are run against, with everything on, and what can be seen of its inside. */
export class Lab {
  readonly clock = new ManualClock();
  readonly store = new WatchedStore();
  /** Every hash of argon2 takes a place in the queue. */
  readonly hashing = vi.spyOn(HashQueue.prototype, "run");
  readonly errors: unknown[] = [];
  readonly events: string[] = [];
  readonly reached: string[] = [];
  readonly security: Secured;
  /** The app with accounts, for the attacks on them. */
  readonly accounts = new AccountsLab();
  /** The client's address, as the one proxy in front has written it: of its own for each attack. */
  address = "";
  /** What `GET /hold` waits for. */
  gate: Promise<void> = Promise.resolve();
  readonly #app = express();
  readonly #impatient: Server;
  #server: TestServer | undefined;
  #clients = 0;

  constructor() {
    this.security = applySecurity(this.#app, settings(this.store), { clock: this.clock });
    this.security.events.on("*", (event) => this.events.push(JSON.stringify(event)));
    this.#routes();
    // The same app behind Node's own guards against slowness, and with room for headers of the size that hurts.
    this.#impatient = createServer(
      { maxHeaderSize: 262_144, headersTimeout: 200, requestTimeout: 300, connectionsCheckingInterval: 50 },
      this.#app,
    );
  }

  async open(): Promise<void> {
    await this.security.ready();
    this.#server = await serve(this.#app);
    this.#impatient.listen(0, "127.0.0.1");
    await once(this.#impatient, "listening");
    await this.accounts.open();
  }

  async close(): Promise<void> {
    this.#impatient.closeAllConnections();
    this.#impatient.close();
    await this.#server?.close();
    await this.security.close();
    await this.accounts.close();
    this.hashing.mockRestore();
  }

  /** Another client, in a minute in which nothing has been counted. */
  begin(): void {
    this.clock.advance(61_000);
    this.address = this.anotherAddress();
    this.reached.length = 0;
    this.store.gets = 0;
    this.hashing.mockClear();
  }

  anotherAddress(): string {
    this.#clients += 1;
    return `198.18.${this.#clients >> 8}.${this.#clients & 255}`;
  }

  /** Hashes computed; those refused a place are none. */
  get hashes(): number {
    return this.hashing.mock.settledResults.filter(({ type }) => type === "fulfilled").length;
  }

  get port(): number {
    return this.#server?.port ?? 0;
  }

  async send({ method, path = "/guarded", headers, body }: Ask): Promise<Seen> {
    const before = this.reached.length;
    const all = {
      Host: HOST,
      "X-Forwarded-Proto": "https",
      "X-Forwarded-For": this.address,
      "X-Marker": MARK,
      ...headers,
    };
    const sent = Object.fromEntries(
      Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    );
    if (this.#server === undefined) throw new Error("open() first");
    const answer: Answer = await this.#server.send(path, {
      headers: sent,
      ...(method === undefined ? {} : { method }),
      ...(body === undefined ? {} : { body }),
    });
    return { ...answer, reached: this.reached.slice(before), responses: 1 };
  }

  async wire(bytes: string, impatient = false): Promise<Seen> {
    const before = this.reached.length;
    const port = impatient ? (this.#impatient.address() as AddressInfo).port : this.port;
    const answer = await exchange(port, bytes.replaceAll("{address}", this.address));
    return { ...answer, reached: this.reached.slice(before) };
  }

  /** Logs in over the wire. Gives the cookie to send back. */
  async logIn(user: "ada" | "mallory" = "ada", headers: Ask["headers"] = {}): Promise<string> {
    const login = json({ user, password: USERS[user]?.password });
    return cookieOf(await this.send({ ...login, path: "/login", headers: { ...login.headers, ...headers } }));
  }

  /** A key of ada's, unless told otherwise. */
  key(input: Partial<CreateApiKeyInput> = {}): Promise<CreatedApiKey> {
    return this.security.apiKeys.create({ ownerId: "ada", name: "k", ...input });
  }

  tokens(scopes: readonly string[] = ["read"]): Promise<IssuedTokens> {
    return this.security.jwt.issue("ada", { scopes: [...scopes] });
  }

  async forger(): Promise<Forger> {
    return new Forger(SIGNING_KEY, await this.security.jwt.signAccessToken("ada", { scopes: ["read"] }));
  }

  #routes(): void {
    const app = this.#app;
    const { security } = this;
    const serveIt = (req: Request, res: Response): void => {
      this.reached.push(`${req.method} ${req.path}`);
      res.send("served");
    };
    app.get("/public", serveIt);
    app.get("/guarded", security.requireAuth(), serveIt);
    app.post("/guarded", security.requireAuth(), serveIt);
    app.get("/orders", security.requireAuth({ scopes: ["orders:read"] }), serveIt);
    app.get("/admin", security.requireAuth({ roles: ["admin"] }), serveIt);
    app.get("/limited", security.rateLimit({ name: "limited", limit: 3, windowSeconds: 60, key: "address" }), serveIt);
    // What a mail with a link would say: here a forged host does its harm.
    app.get("/link", (req, res) => void res.json({ link: `${req.protocol}://${req.hostname}/reset` }));
    app.post("/note", (req, res) => {
      req.session.note = "kept";
      serveIt(req, res);
    });
    app.get("/hold", security.requireSession(), (req, res, next) => {
      req.session.note = "written late";
      this.gate.then(() => serveIt(req, res), next);
    });
    app.post(
      "/login",
      security.rateLimit({ name: "login", limit: 5, windowSeconds: 60, key: "address" }),
      express.json(),
      (req, res, next) => {
        const { user, password } = req.body as { user?: unknown; password?: unknown };
        const known = typeof user === "string" && Object.hasOwn(USERS, user) ? USERS[user] : undefined;
        if (known === undefined || known.password !== password) return void res.status(401).json({ loggedIn: false });
        security.logIn(req, { id: String(user), scopes: known.scopes }).then(() => serveIt(req, res), next);
      },
    );
    app.post("/logout", (req, res, next) => {
      security.logOut(req, res).then(() => serveIt(req, res), next);
    });
    app.use("/api-keys", security.apiKeyRoutes());
    app.use("/tokens", security.tokenRoutes());
    app.use(((error, _req, res, _next) => {
      this.errors.push(error);
      res.status(500).end();
    }) as ErrorRequestHandler);
  }
}

/** `name=value` of the session cookie of an answer. */
export function cookieOf(answer: Answer): string {
  const line = answer.headers["set-cookie"]?.find((one) => one.startsWith(`${COOKIE}=s`));
  if (line === undefined) throw new Error(`no session cookie: ${answer.status} ${answer.text}`);
  return line.slice(0, line.indexOf(";"));
}
