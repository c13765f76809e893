import type { Express, Request, RequestHandler, Response } from "express";
import session from "express-session";
import { standalone } from "../../src/core/pipeline.js";
import type { Clock } from "../../src/core/clock.js";
import type { SecurityEvent } from "../../src/core/events.js";
import { createRuntime, type Runtime } from "../../src/core/runtime.js";
import { createSession, type SessionLayer } from "../../src/session/middleware.js";
import { sessionSchema, type SessionSettings } from "../../src/session/settings.js";
import { parse } from "../../src/settings/object.js";
import type { Answer } from "../support/serve.js";

export const SECRET = "wJ8s7Yk2pQz4Nf6Vb1Xc3Mh5Lr9Tg0Ud";
export const OTHER_SECRET = "Zk3Qm8Rv1Wx6Lp9Tn4Hs7Bd2Fy5Gc0Ja";
export const COOKIE = "__Host-mcp_session";

export interface Bench {
  layer: SessionLayer;
  runtime: Runtime;
  events: SecurityEvent[];
  names(): string[];
}

/** A layer with its events recorded. */
export function bench(settings: SessionSettings = {}, overrides: { clock?: Clock; debug?: boolean } = {}): Bench {
  const runtime = createRuntime(overrides);
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const layer = createSession(parse(sessionSchema, { secret: SECRET, ...settings }), runtime);
  return { layer, runtime, events, names: () => events.map(({ event }) => event) };
}

/** Data that the tests put on sessions. */
declare module "express-session" {
  interface SessionData {
    count?: number;
    note?: string;
  }
}

export const asHandler =
  (handle: (req: Request, res: Response) => Promise<unknown>): RequestHandler =>
  (req, res, next) =>
    void handle(req, res).catch(next);

/** An app with the routes most tests need. */
export function routes(app: Express, { layer, runtime }: Pick<Bench, "layer" | "runtime">): Express {
  app.use(standalone([layer], runtime));
  app.get(
    "/plain",
    (req, res) =>
      void res.json({
        principal: req.principal ?? null,
        wrapped: Object.hasOwn(res, "end") || Object.hasOwn(res, "write"),
      }),
  );
  app.get(
    "/who",
    (req, res) =>
      void res.json({
        id: req.principal?.id ?? null,
        credentialId: req.principal?.credentialId ?? null,
        count: req.session.count ?? null,
      }),
  );
  app.get("/count", (req, res) => void res.json({ count: (req.session.count = (req.session.count ?? 0) + 1) }));
  app.get("/read", (req, res) => void res.json({ count: req.session.count ?? null }));
  app.get(
    "/in/:id",
    asHandler(async (req, res) => {
      await layer.logIn(req, { id: String(req.params.id), scopes: ["read", "orders:*"], roles: ["staff"] });
      res.json({ principal: req.principal });
    }),
  );
  app.get(
    "/out",
    asHandler(async (req, res) => {
      await layer.logOut(req, res);
      res.json({ principal: req.principal ?? null });
    }),
  );
  return app;
}

/** The Set-Cookie lines of an answer. */
export const setCookies = (answer: Answer): string[] => answer.headers["set-cookie"] ?? [];

/** `name=value` of the answer's session cookie, to send back. */
export function cookieOf(answer: Answer): string {
  const line = setCookies(answer).find((one) => /mcp_session=s/.test(one));
  if (line === undefined) throw new Error(`no session cookie in ${JSON.stringify(answer.headers)} ${answer.text}`);
  return line.slice(0, line.indexOf(";"));
}

export const withCookie = (cookie: string): { headers: { cookie: string } } => ({ headers: { cookie } });

export const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Where a request waits until the test has done something else. */
export class Gate {
  #reach: () => void = () => undefined;
  #open: () => void = () => undefined;
  /** Resolves once a request has come here. */
  readonly reached = new Promise<void>((resolve) => (this.#reach = resolve));
  readonly #opened = new Promise<void>((resolve) => (this.#open = resolve));

  wait(): Promise<void> {
    this.#reach();
    return this.#opened;
  }

  open(): void {
    this.#open();
  }
}

/** An express-session store of the plain kind: asynchronous, without touch or index; counts, delays and fails as told. */
export class SlowStore extends session.Store {
  readonly records = new Map<string, string>();
  calls = { get: 0, set: 0, destroy: 0 };
  delay = { get: 0, set: 0, destroy: 0 };
  failing: "no" | "error" | "hang" | "throw" = "no";

  #answer(
    kind: "get" | "set" | "destroy",
    act: () => unknown,
    callback?: (error?: unknown, value?: never) => void,
  ): void {
    this.calls[kind] += 1;
    if (this.failing === "throw") throw new Error("thrown by the store");
    if (this.failing === "hang") return;
    setTimeout(() => {
      if (this.failing === "error") callback?.(new Error("connection lost"));
      else callback?.(null, act() as never);
    }, this.delay[kind]);
  }

  override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
    this.#answer("get", () => JSON.parse(this.records.get(sid) ?? "null") as unknown, callback);
  }

  override set(sid: string, data: session.SessionData, callback?: (error?: unknown) => void): void {
    const json = JSON.stringify(data);
    this.#answer("set", () => void this.records.set(sid, json), callback);
  }

  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    this.#answer("destroy", () => void this.records.delete(sid), callback);
  }
}
