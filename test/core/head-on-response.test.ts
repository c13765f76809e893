import { type IncomingMessage, ServerResponse } from "node:http";
import type { Express, RequestHandler, Response } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerWith, holdHead, passHead, showHeadsOn } from "../../src/core/head-on-response.js";
import { HeaderBlock } from "../../src/core/header-block.js";
import { beginState } from "../../src/core/request-state.js";
import { createRuntime } from "../../src/core/runtime.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

const BLOCK = new HeaderBlock(["X-Frame-Options", "DENY", "Content-Security-Policy", "default-src 'self'", "Referrer-Policy", "no-referrer"]);
const OWN: readonly (readonly [string, string])[] = [["Vary", "Origin"], ["RateLimit", '"default";r=9;t=60']];
const ALL = [...BLOCK.lines.flatMap((name, at) => (at % 2 === 0 ? [[name, BLOCK.lines[at + 1] as string] as const] : [])), ...OWN];
const runtime = createRuntime();

/** What the layers do, by a head. */
const byHead: RequestHandler = (req, res, next) => {
  const state = beginState(req, runtime);
  holdHead(state, res);
  expect(state.head).toBeDefined();
  state.head?.begin(BLOCK, () => undefined);
  for (const [name, value] of OWN) state.head?.setHeader(name, value);
  passHead(state, res);
  next();
};

/** The same, header by header: what it has to look like. */
const oneByOne: RequestHandler = (_req, res, next) => {
  for (const [name, value] of ALL) res.setHeader(name, value);
  next();
};

/** What an app may do to headers. Each gives what it saw. */
type Step = readonly [kind: keyof typeof STEPS, name: string, value: string];
const STEPS = {
  set: (res: Response, name: string, value: string) => void res.setHeader(name, value),
  append: (res: Response, name: string, value: string) => void res.appendHeader(name, value),
  remove: (res: Response, name: string) => res.removeHeader(name),
  get: (res: Response, name: string) => res.getHeader(name),
  has: (res: Response, name: string) => res.hasHeader(name),
  names: (res: Response) => [...res.getHeaderNames()].sort(),
  raw: (res: Response) => [...(res as unknown as { getRawHeaderNames(): string[] }).getRawHeaderNames()].sort(),
  all: (res: Response) => Object.fromEntries(Object.entries(res.getHeaders()).sort()),
  vary: (res: Response, name: string) => void res.vary(name),
  setHeaders: (res: Response, name: string, value: string) => void res.setHeaders(new Map([[name, value], ["x-more", "1"]])),
} as const;

const spelled = (name: string): fc.Arbitrary<string> => fc.constantFrom(name, name.toLowerCase(), name.toUpperCase());
const nameOf = fc.constantFrom("X-Frame-Options", "Content-Security-Policy", "Referrer-Policy", "Vary", "RateLimit", "ETag", "X-Own", "Content-Type", "X-App-Metrics-1").chain(spelled);
const step: fc.Arbitrary<Step> = fc.tuple(fc.constantFrom(...(Object.keys(STEPS) as (keyof typeof STEPS)[])), nameOf, fc.constantFrom("a", "b", "\"x\""));
/** How the answer is sent. */
const SENDS = {
  json: (res: Response) => void res.json({ a: 1 }),
  end: (res: Response) => void res.end("x"),
  flush: (res: Response) => (res.flushHeaders(), void res.end()),
  head: (res: Response) => (res.writeHead(201), void res.end()),
  reason: (res: Response) => (res.writeHead(201, "Fine"), void res.end()),
  object: (res: Response) => (res.writeHead(201, { "x-frame-options": "SAMEORIGIN", "X-New": "1" }), void res.end()),
  list: (res: Response) => (res.writeHead(201, "Fine", ["X-Frame-Options", "SAMEORIGIN", "X-New", "1"]), void res.end()),
  redirect: (res: Response) => res.redirect("/elsewhere"),
  error: (res: Response) => {
    res.status(500);
    throw Object.assign(new Error("boom"), { stack: "without lines, which differ" });
  },
  nothing: undefined,
} as const;

describe.each(EXPRESS)("the head of a response on $name", ({ express }) => {
  async function seen(before: RequestHandler, steps: readonly Step[], how: keyof typeof SENDS, configure: (app: Express) => void = () => undefined) {
    const app = express().disable("x-powered-by").set("env", "test");
    showHeadsOn(app.response);
    configure(app);
    let saw: unknown[] = [];
    app.use(before);
    app.use((_req, res, next) => {
      saw = steps.map(([kind, name, value]) => STEPS[kind](res, name, value));
      const send = SENDS[how];
      if (send === undefined) next();
      else send(res);
    });
    const server = await serve(app);
    try {
      const { status, headers, rawHeaders } = await server.send("/");
      return { saw, status, headers: { ...headers, date: undefined }, count: rawHeaders.length };
    } finally {
      await server.close();
    }
  }

  it("is to an app what headers set one by one are, whatever it does with them and however it answers", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 6 }), fc.constantFrom(...(Object.keys(SENDS) as (keyof typeof SENDS)[])), async (steps, how) => {
        expect(await seen(byHead, steps, how)).toEqual(await seen(oneByOne, steps, how));
      }),
      { numRuns: 300 },
    );
  });

  it("goes out once, in front of the app's own headers", async () => {
    const app = express().disable("x-powered-by");
    showHeadsOn(app.response);
    app.use(byHead, (_req, res) => void res.setHeader("X-Own", "1").end());
    const server = await serve(app);
    const { rawHeaders } = await server.send("/");
    await server.close();
    expect(rawHeaders.slice(0, 12)).toEqual([...ALL.flat(), "X-Own", "1"]);
  });

  it("what was sent can still be read, and no longer changed", async () => {
    const app = express().disable("x-powered-by");
    showHeadsOn(app.response);
    const errors: unknown[] = [];
    let read: unknown;
    app.use(byHead, (_req, res) => {
      res.flushHeaders();
      read = [res.getHeader("x-frame-options"), res.getHeader("Vary"), res.hasHeader("vary")];
      for (const change of [() => res.setHeader("Vary", "x"), () => res.removeHeader("X-Frame-Options"), () => res.appendHeader("RateLimit", "x"), () => res.writeHead(200, { Vary: "x" })]) {
        try {
          change();
        } catch (error) {
          errors.push((error as { code?: string }).code);
        }
      }
      res.end();
    });
    const server = await serve(app);
    const { headers } = await server.send("/");
    await server.close();
    expect(read).toEqual(["DENY", "Origin", true]);
    expect(errors).toEqual(Array(4).fill("ERR_HTTP_HEADERS_SENT"));
    expect(headers["vary"]).toBe("Origin");
  });

  it("is refused where Node refuses it: names that are none, and values that would end the line", async () => {
    const app = express().disable("x-powered-by");
    showHeadsOn(app.response);
    const codes: unknown[] = [];
    app.use(byHead, (_req, res) => {
      for (const call of [() => res.getHeader(1 as never), () => res.hasHeader({} as never), () => res.setHeader("a b", "1"), () => res.setHeader("Vary", "a\r\nSet-Cookie: b"), () => res.removeHeader(undefined as never)]) {
        try {
          call();
          codes.push("passed");
        } catch (error) {
          codes.push((error as { code?: string }).code);
        }
      }
      res.end();
    });
    const server = await serve(app);
    const { headers } = await server.send("/");
    await server.close();
    expect(codes).toEqual(["ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_TYPE", "ERR_INVALID_HTTP_TOKEN", "ERR_INVALID_CHAR", "ERR_INVALID_ARG_TYPE"]);
    expect(headers["vary"]).toBe("Origin");
    expect(() => new HeaderBlock(["X", "a\nb"])).toThrow(TypeError);
    expect(() => new HeaderBlock(["X\r\nY", "a"])).toThrow(TypeError);
  });

  it("a middleware that wraps writeHead, as compression and on-headers do, finds all headers and may change them", async () => {
    const wrapping: RequestHandler = (_req, res, next) => {
      const inherited = res.writeHead;
      res.writeHead = function writeHead(this: Response, ...args: unknown[]) {
        this.setHeader("X-Seen", `${String(this.getHeader("x-frame-options"))}, ${this.getHeaderNames().includes("ratelimit")}`);
        this.vary("Accept-Encoding");
        return Reflect.apply(inherited, this, args) as Response;
      } as never;
      next();
    };
    for (const order of [[wrapping, byHead], [byHead, wrapping]]) {
      const app = express().disable("x-powered-by");
      showHeadsOn(app.response);
      app.use(...order, (_req, res) => void res.json({}));
      const server = await serve(app);
      const { headers, rawHeaders } = await server.send("/");
      await server.close();
      expect(headers["x-seen"]).toBe("DENY, true");
      expect(headers["vary"]).toBe("Origin, Accept-Encoding");
      expect(rawHeaders.filter((text) => text === "Vary")).toHaveLength(1);
    }
  });

  it("reaches the client from apps mounted in the app, and from an app that is only called by it", async () => {
    for (const attach of [(app: Express, inner: Express) => app.use("/in", inner), (app: Express, inner: Express) => app.use("/in", (req, res, next) => void inner(req, res, next))]) {
      const app = express().disable("x-powered-by");
      const inner = express().disable("x-powered-by");
      showHeadsOn(app.response);
      inner.get("/same", (_req, res) => void res.send("x"));
      inner.get("/other", (_req, res) => void res.set("X-Frame-Options", "SAMEORIGIN").send("x"));
      inner.get("/list", (_req, res) => void res.writeHead(200, ["x-frame-options", "SAMEORIGIN"]).end());
      app.use(byHead);
      attach(app, inner);
      const server = await serve(app);
      for (const [path, frame] of [["/in/same", "DENY"], ["/in/other", "SAMEORIGIN"], ["/in/list", "SAMEORIGIN"], ["/in/none", "DENY"]] as const) {
        const { headers, rawHeaders } = await server.send(path);
        expect([path, headers["x-frame-options"], headers["referrer-policy"], headers["vary"]]).toEqual([path, frame, "no-referrer", "Origin"]);
        expect(rawHeaders.filter((text) => text.toLowerCase() === "x-frame-options")).toHaveLength(1);
      }
      await server.close();
    }
  });

  it("is not begun where it could be lost or would be wrong", async () => {
    const without = async (configure: (app: Express) => Express, before?: RequestHandler): Promise<unknown> => {
      const app = express().disable("x-powered-by");
      let head: unknown = "not run";
      const outer = configure(app);
      if (before !== undefined) app.use(before);
      app.use((req, res) => {
        const state = beginState(req, runtime);
        holdHead(state, res);
        head = state.head;
        res.end();
      });
      const server = await serve(outer);
      await server.send("/");
      await server.close();
      return head;
    };
    const shown = (app: Express): Express => (showHeadsOn(app.response), app);
    expect(await without(shown)).toBeDefined();
    expect(await without((app) => express().use(shown(app)))).toBeUndefined(); // the outer app takes its own methods back
    expect(await without(shown, (_req, res, next) => (res.setHeader("X-Frame-Options", "ALLOW"), next()))).toBeUndefined();
    expect(await without(shown, (_req, res, next) => (Object.assign(res, { _storeHeader: () => undefined, end: ServerResponse.prototype.end.bind(res) }), res.on("error", () => undefined), res.socket?.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), next()))).toBeUndefined();
  });

  it("an answer that a layer gives has the head and its own lines, once each", async () => {
    const app = express().disable("x-powered-by");
    showHeadsOn(app.response);
    const answer: RequestHandler = (req, res) => answerWith(beginState(req, runtime), res, 429, ["Content-Type", "text/plain", "Content-Length", "1"], "x");
    app.use(byHead);
    app.get("/bare", answer);
    app.get("/set", (_req, res, next) => (res.setHeader("Vary", "Accept"), next()), answer);
    const server = await serve(app);
    const bare = await server.send("/bare");
    expect([bare.status, bare.text, ...bare.rawHeaders.slice(0, 14)]).toEqual([429, "x", ...ALL.flat(), "Content-Type", "text/plain", "Content-Length", "1"]);
    const set = await server.send("/set");
    expect([set.status, set.headers["vary"], set.headers["x-frame-options"], set.headers["content-type"]]).toEqual([429, "Accept", "DENY", "text/plain"]);
    await server.close();
  });
});

describe("a Node whose responses are made otherwise", () => {
  it("is recognised, and headers are put on the response", async () => {
    const target = ServerResponse.prototype as unknown as { _storeHeader: (first: string, headers: unknown) => void };
    const original = target._storeHeader;
    const { vi } = await import("vitest");
    vi.resetModules();
    // As if the first line were no longer what comes first.
    target._storeHeader = function (this: ServerResponse, first, headers) {
      return original.call(this, first.split("\r\n", 1)[0] + "\r\n", headers);
    };
    try {
      const fresh = await import("../../src/core/head-on-response.js");
      const [{ express }] = EXPRESS as unknown as [{ express: () => Express }];
      const app = express().disable("x-powered-by");
      fresh.showHeadsOn(app.response);
      let head: unknown = "not run";
      app.use((req, res) => {
        const state = beginState(req as IncomingMessage as never, runtime);
        fresh.holdHead(state, res);
        head = state.head;
        res.end();
      });
      const server = await serve(app);
      await server.send("/");
      await server.close();
      expect(head).toBeUndefined();
    } finally {
      target._storeHeader = original;
    }
  });
});
