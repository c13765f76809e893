import fc from "fast-check";
import session from "express-session";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { ErrorRequestHandler, Express } from "express";
import { InvalidInputError } from "../../src/core/portcullis-error.js";
import { createPrincipal } from "../../src/core/principal.js";
import { standalone } from "../../src/core/pipeline.js";
import { SetupError } from "../../src/core/setup-error.js";
import { logIn, logOut } from "../../src/session/log-in.js";
import { sessions } from "../../src/session/middleware.js";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import {
  COOKIE,
  OTHER_SECRET,
  SECRET,
  asHandler,
  bench,
  cookieOf,
  routes,
  setCookies,
  withCookie,
  type Bench,
} from "./support.js";

describe.each(EXPRESS)("sessions on $name", ({ express }) => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  async function start(made: Bench, extend: (app: Express) => void = () => undefined): Promise<TestServer> {
    const app = routes(express(), made);
    extend(app);
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    return server;
  }

  describe("a request that does not use the session", () => {
    it("gets no cookie and an unwrapped response", async () => {
      const server = await start(bench());
      const answer = await server.send("/plain");
      expect(answer.json()).toEqual({ principal: null, wrapped: false });
      expect(setCookies(answer)).toEqual([]);
      expect(answer.headers["cache-control"]).toBeUndefined();
    });

    it("gets no cookie either when it reads the session without writing, whatever cookie it sent", async () => {
      const made = bench();
      const server = await start(made);
      const forged = `${COOKIE}=s%3A${"a".repeat(32)}.${"A".repeat(43)}`;
      for (const headers of [{}, { cookie: "a=b" }, { cookie: forged }, { cookie: `${COOKIE}=junk` }]) {
        const answer = await server.send("/read", { headers: headers as Record<string, string> });
        expect(answer.json()).toEqual({ count: null });
        expect(setCookies(answer)).toEqual([]);
      }
      expect(made.names()).toEqual(["input_validation_fail"]);
    });
  });

  it("keeps anonymous data, in a cookie bound to host and https", async () => {
    const made = bench();
    const server = await start(made);
    const first = await server.send("/count");
    expect(setCookies(first)).toEqual([
      expect.stringMatching(
        /^__Host-mcp_session=s%3A[\w-]{32}\.[A-Za-z0-9%]{43,}; Max-Age=3600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
      ),
    ]);
    expect(first.headers["cache-control"]).toBe("no-store");
    const again = await server.send("/count", withCookie(cookieOf(first)));
    expect(again.json()).toEqual({ count: 2 });
    expect(cookieOf(again)).toBe(cookieOf(first));
    const read = await server.send("/read", withCookie(cookieOf(first)));
    expect(read.json()).toEqual({ count: 2 });
    expect(setCookies(read)).toEqual([]);
    expect(made.names()).toEqual(["session_created"]);
  });

  it("chooses the cookie's prefix: none in debug, __Secure- with a domain", async () => {
    const debug = await start(bench({ sameSite: "strict", maxAge: 60 }, { debug: true }));
    expect(setCookies(await debug.send("/count"))[0]).toMatch(
      /^mcp_session=s%3A[^;]+; Max-Age=60; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    const shared = await start(bench({ domain: "example.com", cookieName: "sid" }));
    expect(setCookies(await shared.send("/count"))[0]).toMatch(
      /^__Secure-sid=s%3A[^;]+; Max-Age=3600; Path=\/; Domain=example\.com; HttpOnly; Secure; SameSite=Lax$/,
    );
  });

  it("logs in under a new id, keeps the app's data, and ends the old id", async () => {
    const made = bench();
    const server = await start(made);
    const anonymous = cookieOf(await server.send("/count"));
    const answer = await server.send("/in/ada", withCookie(anonymous));
    const mine = cookieOf(answer);
    expect(mine).not.toBe(anonymous);
    expect(setCookies(answer)).toHaveLength(1);
    const { principal } = answer.json() as { principal: Record<string, unknown> };
    expect(principal).toEqual({
      id: "ada",
      kind: "session",
      scopes: ["read", "orders:*"],
      roles: ["staff"],
      credentialId: expect.stringMatching(/^[\w-]{22}$/),
      claims: {},
      authenticatedAt: expect.any(Number),
      methods: [],
    });
    expect(mine).not.toContain(principal.credentialId);

    expect((await server.send("/who", withCookie(mine))).json()).toEqual({
      id: "ada",
      credentialId: principal.credentialId,
      count: 1,
    });
    expect((await server.send("/who", withCookie(anonymous))).json()).toEqual({
      id: null,
      credentialId: null,
      count: null,
    });
    expect(made.names()).toEqual([
      "session_created",
      "authn_login_success",
      "session_created",
      "session_use_after_expire",
    ]);
    expect(made.events[1]).toMatchObject({
      subject: "ada",
      credentialId: principal.credentialId,
      sourceIp: "127.0.0.1",
      path: "/in/ada",
    });
    expect(JSON.stringify(made.events)).not.toContain(decodeURIComponent(mine).slice(mine.indexOf("=") + 3, 40));
  });

  it("renews the id at re-authentication, and keeps nothing of another user's", async () => {
    const made = bench();
    const server = await start(made);
    const first = cookieOf(await server.send("/in/ada"));
    await server.send("/count", withCookie(first));
    const second = cookieOf(await server.send("/in/ada", withCookie(first)));
    expect((await server.send("/who", withCookie(first))).json()).toMatchObject({ id: null });
    expect((await server.send("/who", withCookie(second))).json()).toMatchObject({ id: "ada", count: 1 });
    expect(made.names().slice(0, 4)).toEqual([
      "authn_login_success",
      "session_created",
      "authn_login_success",
      "session_renewed",
    ]);
    const third = cookieOf(await server.send("/in/bob", withCookie(second)));
    expect((await server.send("/who", withCookie(third))).json()).toMatchObject({ id: "bob", count: null });
  });

  it("drops the data at log-in on request", async () => {
    const made = bench();
    const server = await start(made, (app) =>
      app.get(
        "/clean",
        asHandler(async (req, res) => {
          await logIn(req, { id: "ada" }, { keepData: false });
          res.json({ count: req.session.count ?? null });
        }),
      ),
    );
    const anonymous = cookieOf(await server.send("/count"));
    expect((await server.send("/clean", withCookie(anonymous))).json()).toEqual({ count: null });
  });

  it("logs out: ends the id, removes the cookie, sends Clear-Site-Data", async () => {
    const made = bench();
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    const answer = await server.send("/out", withCookie(mine));
    expect(answer.json()).toEqual({ principal: null });
    expect(setCookies(answer)).toEqual([
      `${COOKIE}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/; HttpOnly; Secure; SameSite=Lax`,
    ]);
    expect(answer.headers["clear-site-data"]).toBe('"cache", "cookies", "storage"');
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
    expect(made.events.find(({ event }) => event === "session_logout")).toMatchObject({
      subject: "ada",
      source: "session",
    });
    // Without a session: the browser's part only, and no event.
    const before = made.events.length;
    expect(setCookies(await server.send("/out"))).toHaveLength(1);
    expect(made.events).toHaveLength(before);
  });

  it("serves log-out and log-in in one request", async () => {
    const made = bench();
    const server = await start(made, (app) =>
      app.get(
        "/switch",
        asHandler(async (req, res) => {
          await logOut(req, res);
          await logIn(req, { id: "bob" });
          res.json({});
        }),
      ),
    );
    const mine = cookieOf(await server.send("/in/ada"));
    const answer = await server.send("/switch", withCookie(mine));
    expect(setCookies(answer)).toHaveLength(1);
    expect(answer.headers["clear-site-data"]).toBeUndefined();
    expect((await server.send("/who", withCookie(cookieOf(answer)))).json()).toMatchObject({ id: "bob" });
  });

  it("lists the sessions of one principal and ends them by their handles", async () => {
    const clock = new ManualClock();
    const made = bench({}, { clock });
    const server = await start(made);
    const [one, two] = [cookieOf(await server.send("/in/ada")), cookieOf(await server.send("/in/ada"))];
    const bob = cookieOf(await server.send("/in/bob"));
    const list = await made.layer.list("ada");
    expect(list).toHaveLength(2);
    expect(list[0]).toEqual({
      handle: expect.stringMatching(/^[\w-]{22}$/),
      createdAt: clock.now(),
      lastSeenAt: clock.now(),
      expiresAt: clock.now() + 3_600_000,
    });
    const handle = ((await server.send("/who", withCookie(one))).json() as { credentialId: string }).credentialId;
    expect(list.map((info) => info.handle)).toContain(handle);

    expect(await made.layer.end("bob", handle)).toBe(0);
    expect(await made.layer.end("ada", handle)).toBe(1);
    expect((await server.send("/who", withCookie(one))).json()).toMatchObject({ id: null });
    expect((await server.send("/who", withCookie(two))).json()).toMatchObject({ id: "ada" });
    expect(await made.layer.end("ada")).toBe(1);
    expect(await made.layer.list("ada")).toEqual([]);
    expect((await server.send("/who", withCookie(two))).json()).toMatchObject({ id: null });
    expect((await server.send("/who", withCookie(bob))).json()).toMatchObject({ id: "bob" });
  });

  it("refuses two cookies of its name", async () => {
    const made = bench();
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    const answer = await server.send("/who", withCookie(`${mine}; ${mine}`));
    expect(answer.status).toBe(400);
    expect(answer.json()).toMatchObject({ code: "ambiguous-credentials" });
    const raw = await server.raw(
      `GET /who HTTP/1.1\r\nHost: a\r\nCookie: ${mine}\r\nCookie: ${COOKIE}=x\r\nConnection: close\r\n\r\n`,
    );
    expect(raw).toMatch(/^HTTP\/1\.1 400 /);
    // One, with any other cookie: served.
    expect((await server.send("/who", withCookie(`${mine}; other=1`))).json()).toMatchObject({ id: "ada" });
  });

  it("in report mode lets two cookies pass as an anonymous request", async () => {
    const made = bench({ mode: "report" });
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    expect((await server.send("/who", withCookie(`${mine}; ${mine}`))).json()).toMatchObject({ id: null });
    expect(made.events.at(-1)).toMatchObject({
      event: "input_validation_fail",
      mode: "report",
      reason: "two-session-cookies",
    });
  });

  it("accepts no cookie with any one character changed", async () => {
    const made = bench();
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    const from = mine.indexOf("=") + 1;
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.%+/="';
    await fc.assert(
      fc.asyncProperty(fc.nat(mine.length - from - 1), fc.constantFrom(...alphabet), async (offset, char) => {
        const at = from + offset;
        fc.pre(mine[at] !== char);
        const changed = mine.slice(0, at) + char + mine.slice(at + 1);
        const answer = await server.send("/who", withCookie(changed));
        expect(answer.status).toBe(200);
        expect(answer.json()).toMatchObject({ id: null });
      }),
      { numRuns: 300 },
    );
    for (const changed of [mine.replace("%3A", "%3a"), mine.slice(0, -1), `${mine}A`, mine.replace("%3A", ":")]) {
      expect((await server.send("/who", withCookie(changed))).json()).toMatchObject({ id: null });
    }
  });

  it("signs with the first secret and verifies with all", async () => {
    const store = new session.MemoryStore();
    const before = await start(bench({ secret: OTHER_SECRET, store }));
    const mine = cookieOf(await before.send("/in/ada"));
    const during = await start(bench({ secret: [SECRET, OTHER_SECRET], store }));
    expect((await during.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    const renewed = cookieOf(await during.send("/count", withCookie(mine)));
    expect(renewed).not.toBe(mine);
    const after = await start(bench({ secret: SECRET, store }));
    expect((await after.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
    expect((await after.send("/who", withCookie(renewed))).json()).toMatchObject({ id: "ada" });
  });

  it("does not read the principal from the app's data", async () => {
    const made = bench();
    const server = await start(made, (app) =>
      app.get("/mass", (req, res) => {
        // What `Object.assign(req.session, req.body)` does with a hostile body.
        Object.assign(
          req.session,
          JSON.parse(
            '{"count":7,"portcullis:session":{"createdAt":1,"seenAt":9e15,"principal":{"id":"root","scopes":[],"roles":[]}}}',
          ),
        );
        res.json({});
      }),
    );
    const mine = cookieOf(await server.send("/mass"));
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null, count: 7 });
    const ada = cookieOf(await server.send("/in/ada"));
    await server.send("/mass", withCookie(ada));
    expect((await server.send("/who", withCookie(ada))).json()).toMatchObject({ id: "ada", count: 7 });
  });

  describe("time-outs", () => {
    it("ends an idle session, and not one in use", async () => {
      const clock = new ManualClock();
      const made = bench({ maxAge: 600 }, { clock });
      const server = await start(made);
      const mine = cookieOf(await server.send("/in/ada"));
      for (let i = 0; i < 5; i += 1) {
        clock.advance(400_000);
        const answer = await server.send("/who", withCookie(mine));
        expect(answer.json()).toMatchObject({ id: "ada" });
        // The use was noted, so the browser is told as well.
        expect(setCookies(answer)).toEqual([`${mine}; Max-Age=600; Path=/; HttpOnly; Secure; SameSite=Lax`]);
      }
      clock.advance(599_999);
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
      clock.advance(600_000);
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
      expect(made.events.at(-1)).toMatchObject({ event: "session_expired", reason: "idle", subject: "ada" });
    });

    it("records a use at most once a minute", async () => {
      const clock = new ManualClock();
      const server = await start(bench({}, { clock }));
      const mine = cookieOf(await server.send("/in/ada"));
      clock.advance(59_999);
      expect(setCookies(await server.send("/who", withCookie(mine)))).toEqual([]);
      clock.advance(1);
      expect(setCookies(await server.send("/who", withCookie(mine)))).toHaveLength(1);
      expect(setCookies(await server.send("/who", withCookie(mine)))).toEqual([]);
    });

    it("renews no cookie in an answer that a shared cache may store", async () => {
      const clock = new ManualClock();
      const server = await start(bench({}, { clock }), (app) => {
        app.get("/cache/:control", (req, res) => void res.set("Cache-Control", String(req.params.control)).json({}));
        app.get(
          "/cache-head",
          (_req, res) =>
            void res.writeHead(200, { "Cache-Control": "public, max-age=60", "Set-Cookie": "own=1" }).end(),
        );
      });
      const mine = cookieOf(await server.send("/in/ada"));
      for (const [given, sent] of [
        ["public, max-age=60", "no-store"],
        ["no-cache", "no-store"],
        ['private="x-own", max-age=60', "no-store"],
        ["private, max-age=60", "private, max-age=60"],
        ["max-age=60,private", "max-age=60,private"],
        ["No-Store", "No-Store"],
      ] as const) {
        const path = `/cache/${encodeURIComponent(given)}`;
        clock.advance(60_000);
        const renewed = await server.send(path, withCookie(mine));
        expect([renewed.headers["cache-control"], setCookies(renewed).length]).toEqual([sent, 1]);
        const plain = await server.send(path, withCookie(mine));
        expect([plain.headers["cache-control"], setCookies(plain).length]).toEqual([given, 0]);
      }
      clock.advance(60_000);
      const head = await server.send("/cache-head", withCookie(mine));
      expect([head.headers["cache-control"], setCookies(head).length]).toEqual(["no-store", 2]);
    });

    it("does not send the old cookie again when a log-in overtakes a slow request that renews it", async () => {
      const clock = new ManualClock();
      let release: (() => void) | undefined;
      const server = await start(bench({}, { clock }), (app) =>
        app.get("/slow", (_req, res) => {
          release = () => void res.json({});
        }),
      );
      const old = cookieOf(await server.send("/in/ada"));
      clock.advance(60_000);
      const slow = server.send("/slow", withCookie(old));
      while (release === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
      expect(cookieOf(await server.send("/in/ada", withCookie(old)))).not.toBe(old);
      release();
      expect(setCookies(await slow)).toEqual([]);
    });

    it("ends any session at its absolute age, counted from log-in, and shortens the cookie towards it", async () => {
      const clock = new ManualClock();
      const made = bench({ maxAge: 600, absoluteMaxAge: 1000 }, { clock });
      const server = await start(made);
      const anonymous = cookieOf(await server.send("/count"));
      clock.advance(500_000);
      const mine = cookieOf(await server.send("/in/ada", withCookie(anonymous)));
      clock.advance(590_000);
      const late = await server.send("/who", withCookie(mine));
      expect(late.json()).toMatchObject({ id: "ada" });
      expect(setCookies(late)[0]).toContain("Max-Age=410;");
      clock.advance(409_999);
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
      clock.advance(1);
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
      expect(made.events.at(-1)).toMatchObject({ event: "session_expired", reason: "absolute" });
    });
  });

  describe("the session object", () => {
    it("ends with null, destroy and regenerate, and the log-in with it", async () => {
      const made = bench();
      const server = await start(made, (app) => {
        app.get("/null", (req, res) => {
          (req as { session: unknown }).session = null;
          res.json({ principal: req.principal ?? null, session: req.session ?? null });
        });
        app.get("/destroy", (req, res) => {
          req.session.destroy(() => res.json({ principal: req.principal ?? null, session: req.session ?? null }));
        });
        app.get("/regenerate", (req, res) => {
          req.session.regenerate(() =>
            res.json({ principal: req.principal ?? null, session: null, count: req.session.count }),
          );
        });
      });
      for (const path of ["/null", "/destroy", "/regenerate"]) {
        const mine = cookieOf(await server.send("/in/ada"));
        const answer = await server.send(path, withCookie(mine));
        expect(answer.json()).toEqual({ principal: null, session: null });
        expect(setCookies(answer)).toHaveLength(1);
        expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
        if (path === "/regenerate") expect(cookieOf(answer)).not.toBe(mine);
        else expect(setCookies(answer)[0]).toMatch(/^__Host-mcp_session=; Max-Age=0/);
      }
    });

    it("cannot be deleted, which would end nothing", async () => {
      const server = await start(bench(), (app) =>
        app.get("/delete", (req, res) => {
          expect(() => Reflect.deleteProperty(req, "session")).not.toThrow();
          expect(() => delete (req as { session?: unknown }).session).toThrow(TypeError);
          res.json({ count: req.session.count ?? null });
        }),
      );
      expect((await server.send("/delete")).json()).toEqual({ count: null });
    });

    it("saves, reloads and shows its id as express-session does", async () => {
      const made = bench();
      const server = await start(made, (app) =>
        app.get("/object", (req, res) => {
          const { session: mine } = req;
          mine.count = 5;
          mine.save(() => {
            mine.count = 9;
            req.session.reload(() =>
              res.json({
                count: req.session.count,
                same: req.session.id === req.sessionID && mine.id === req.sessionID,
                store: typeof req.sessionStore.get,
                isSession: req.session instanceof session.Session,
              }),
            );
          });
        }),
      );
      const answer = await server.send("/object");
      expect(answer.json()).toEqual({ count: 5, same: true, store: "function", isSession: true });
      expect((await server.send("/read", withCookie(cookieOf(answer)))).json()).toEqual({ count: 5 });
    });

    it("cannot be replaced, nor hold what JSON cannot represent: the line that tries it throws", async () => {
      const made = bench();
      const server = await start(made, (app) => {
        app.get("/replace", (req) => {
          (req as { session: unknown }).session = { count: 1 };
        });
        app.get("/bigint", (req, res) => {
          Object.assign(req.session, { big: 1n });
          res.json({});
        });
        app.get(
          "/in-and-bigint",
          asHandler(async (req, res) => {
            await made.layer.logIn(req, { id: "ada" });
            Object.assign(req.session, { big: 1n });
            res.json({});
          }),
        );
        app.use(
          ((error, _req, res, _next) =>
            void res.status(500).json({ name: (error as Error).name })) as ErrorRequestHandler,
        );
      });
      for (const [path, name] of [
        ["/replace", "InvalidInputError"],
        ["/bigint", "TypeError"],
        ["/in-and-bigint", "TypeError"],
      ] as const) {
        const answer = await server.send(path);
        expect([answer.status, answer.json()]).toEqual([500, { name }]);
      }
    });

    it("is not copied with the request", async () => {
      const server = await start(bench(), (app) =>
        app.get(
          "/copy",
          (req, res) =>
            void res.json({ has: Object.keys({ ...req }).includes("session"), wrapped: Object.hasOwn(res, "end") }),
        ),
      );
      expect((await server.send("/copy")).json()).toEqual({ has: false, wrapped: false });
    });
  });

  describe("wiring", () => {
    it("rejects logIn and logOut where no layer ran, naming the line to add", async () => {
      const app = express();
      app.get(
        "/",
        asHandler(async (req, res) => {
          const errors = await Promise.all([
            logIn(req, { id: "a" }).catch((error: unknown) => error),
            logOut(req, res).catch((error: unknown) => error),
          ]);
          res.json(errors.map((error) => [error instanceof SetupError, (error as Error).message]));
        }),
      );
      const server = await serve(app);
      open.push(server);
      for (const [isSetup, message] of (await server.send("/")).json() as [boolean, string][]) {
        expect(isSetup).toBe(true);
        expect(message).toContain("app.use(sessions({ secret }))");
      }
    });

    it.each([
      ["nothing", undefined],
      ["an empty id", { id: "" }],
      ["an id that is too long", { id: "a".repeat(257) }],
      ["a fraction as id", { id: 1.5 }],
      ["a number that is no safe integer as id", { id: 2 ** 53 }],
      ["a bigint as id", { id: 1n }],
      ["no id", { id: undefined }],
      ["a scope with a blank", { id: "a", scopes: ["a b"] }],
      ["scopes in a string", { id: "a", scopes: "read" }],
      ["a role that is no string", { id: "a", roles: [1] }],
      ["an id with a line break", { id: "ada\nroot" }],
    ])("rejects logIn with %s by an InvalidInputError, and logs nobody in", async (_name, who) => {
      const made = bench();
      const server = await start(made, (app) =>
        app.get(
          "/bad",
          asHandler(async (req, res) => {
            const error: unknown = await logIn(req, who as never).catch((caught: unknown) => caught);
            const { code, status } = error as { code?: unknown; status?: unknown };
            res.json({ type: error instanceof InvalidInputError, code, status, principal: req.principal ?? null });
          }),
        ),
      );
      const answer = await server.send("/bad");
      expect(answer.json()).toEqual({ type: true, code: "invalid-input", status: 400, principal: null });
      expect(setCookies(answer)).toEqual([]);
    });

    it("rejects logIn after the response has begun", async () => {
      const made = bench();
      const server = await start(made, (app) =>
        app.get(
          "/late",
          asHandler(async (req, res) => {
            res.write("a");
            res.end(((await logIn(req, { id: "a" }).catch((error: unknown) => error)) as Error).name);
          }),
        ),
      );
      expect((await server.send("/late")).text).toBe("aSetupError");
    });

    it("answers 500 behind another session middleware, and runs once where it is mounted twice", async () => {
      const outer = express();
      outer.use(session({ secret: "a", resave: false, saveUninitialized: false }));
      const app = routes(outer, bench());
      const server = await serve(app);
      open.push(server);
      const answer = await server.send("/plain");
      expect(answer.status).toBe(500);
      expect(answer.json()).toMatchObject({
        code: "protection-not-run",
        detail: "Two session middlewares ran on this request. Keep one of them.",
      });

      const made = bench();
      const twice = express();
      twice.use(standalone([made.layer], made.runtime));
      const again = await serve(routes(twice, made));
      open.push(again);
      expect((await again.send("/count")).json()).toEqual({ count: 1 });
      const two = express();
      two.use(sessions({ secret: OTHER_SECRET }));
      const refused = await serve(routes(two, bench()));
      open.push(refused);
      expect((await refused.send("/count")).status).toBe(500);
    });

    it("refuses a session beside another credential", async () => {
      const made = bench();
      const app = express();
      app.use((req, _res, next) => {
        if (req.headers["x-api-key"] !== undefined)
          req.principal = createPrincipal({ id: "svc", kind: "api-key", scopes: [], roles: [], credentialId: "k" });
        next();
      });
      const server = await serve(routes(app, made));
      open.push(server);
      const mine = cookieOf(await server.send("/in/ada"));
      expect((await server.send("/who", { headers: { cookie: mine, "x-api-key": "k" } })).status).toBe(400);
      expect((await server.send("/who", { headers: { "x-api-key": "k" } })).json()).toMatchObject({ id: "svc" });
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    });

    it("keeps the session through many requests on one connection", async () => {
      const server = await start(bench());
      const mine = cookieOf(await server.send("/in/ada"));
      const socket = connect(server.port, "127.0.0.1");
      await once(socket, "connect");
      const one = `GET /count HTTP/1.1\r\nHost: a\r\nCookie: ${mine}\r\n\r\n`;
      socket.write(one.repeat(4) + one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
      let text = "";
      for await (const chunk of socket) text += String(chunk);
      expect([...text.matchAll(/\{"count":(\d)\}/g)].map((match) => match[1])).toEqual(["1", "2", "3", "4", "5"]);
    });

    it("serves parallel requests of one session", async () => {
      const server = await start(bench());
      const mine = cookieOf(await server.send("/in/ada"));
      const answers = await Promise.all(Array.from({ length: 20 }, () => server.send("/who", withCookie(mine))));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      expect(answers[0]?.json()).toMatchObject({ id: "ada" });
    });
  });
});
