import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Express, Request } from "express";
import { InvalidInputError } from "../../src/core/portcullis-error.js";
import { passingErrors } from "../../src/core/pipeline.js";
import { applySecurity } from "../../src/apply-security.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import {
  asHandler,
  bench,
  cookieOf,
  later,
  routes,
  SECRET,
  setCookies,
  SlowStore,
  withCookie,
  type Bench,
} from "./support.js";

const warnings: string[] = [];
const unhandled: unknown[] = [];
const note = (warning: Error): void => void warnings.push(warning.message);
const noteUnhandled = (reason: unknown): void => void unhandled.push(reason);
beforeEach(() => {
  warnings.length = 0;
  unhandled.length = 0;
  process.on("warning", note).on("unhandledRejection", noteUnhandled);
});
const open: { close(): unknown }[] = [];
afterEach(async () => {
  process.off("warning", note).off("unhandledRejection", noteUnhandled);
  for (const one of open.splice(0)) await one.close();
});

const notAwaited = (): string[] =>
  warnings.filter((message) => message.includes("logIn was not awaited") || message.includes("logOut was not awaited"));

describe.each(EXPRESS)("on $name", ({ express }) => {
  async function start(made: Bench, extend: (app: Express) => void): Promise<TestServer> {
    const app = routes(express(), made);
    extend(app);
    const server = await serve(app);
    open.push(server, { close: () => made.layer.close?.() });
    return server;
  }

  describe.each<[string, () => SlowStore | undefined]>([
    ["memory", () => undefined],
    [
      "a slow store",
      () => {
        const store = new SlowStore();
        store.delay = { get: 0, set: 30, destroy: 0 };
        return store;
      },
    ],
  ])("a logIn that nobody awaits, on %s", (_name, makeStore) => {
    it("delays the answer, which carries its cookie, and causes a warning", async () => {
      const store = makeStore();
      const made = bench(store === undefined ? {} : { store });
      const server = await start(made, (app) =>
        app.get("/forgets", (req, res) => {
          void made.layer.logIn(req, { id: "ada" });
          res.send("ok");
        }),
      );
      const answer = await server.send("/forgets");
      expect([answer.status, answer.text]).toEqual([200, "ok"]);
      expect((await server.send("/who", withCookie(cookieOf(answer)))).json()).toMatchObject({ id: "ada" });
      await later(20);
      expect(notAwaited()).toEqual([expect.stringContaining("logIn was not awaited")]);
      expect(unhandled).toEqual([]);
    });
  });

  it.each<[string, (req: Request, made: Bench) => Promise<void>]>([
    ["with a wrong id", (req, { layer }) => layer.logIn(req, { id: "" })],
    ["with a store that fails", (req, { layer }) => layer.logIn(req, { id: "ada" })],
  ])("that fails %s ends no process and leaves the answer alone", async (name, logIn) => {
    const store = new SlowStore();
    if (name.includes("store")) store.failing = "error";
    const made = bench({ store });
    const server = await start(made, (app) =>
      app.get("/forgets", (req, res) => {
        void logIn(req, made);
        res.send("ok");
      }),
    );
    expect((await server.send("/forgets")).text).toBe("ok");
    await later(20);
    expect(notAwaited()).toEqual([expect.stringMatching(/logIn was not awaited.* It failed: /)]);
    expect(unhandled).toEqual([]);
  });

  it("a logIn that is awaited, chained or in Promise.all rejects to its caller without a warning", async () => {
    const made = bench();
    const caught: unknown[] = [];
    const server = await start(made, (app) => {
      app.get(
        "/awaits",
        asHandler(async (req, res) => {
          await made.layer.logIn(req, { id: "" }).catch((error: unknown) => caught.push(error));
          try {
            await made.layer.logIn(req, { id: "" });
          } catch (error) {
            caught.push(error);
          }
          await Promise.all([made.layer.logIn(req, { id: "" })]).catch((error: unknown) => caught.push(error));
          await made.layer.logIn(req, { id: 42 });
          res.json({ id: req.principal?.id });
        }),
      );
    });
    expect((await server.send("/awaits")).json()).toEqual({ id: "42" });
    await later(20);
    expect(caught).toEqual([
      expect.any(InvalidInputError),
      expect.any(InvalidInputError),
      expect.any(InvalidInputError),
    ]);
    expect(notAwaited()).toEqual([]);
  });

  it("a logOut that nobody awaits delays the answer until the session has ended and the cookie is removed", async () => {
    const store = new SlowStore();
    const made = bench({ store });
    const server = await start(made, (app) =>
      app.get("/forgets-out", (req, res) => {
        store.delay.destroy = 30;
        void made.layer.logOut(req, res);
        res.send("ok");
      }),
    );
    const cookie = cookieOf(await server.send("/in/ada"));
    const answer = await server.send("/forgets-out", withCookie(cookie));
    expect([answer.status, answer.text, answer.headers["clear-site-data"], answer.headers["cache-control"]]).toEqual([
      200,
      "ok",
      '"cache", "cookies", "storage"',
      "no-store",
    ]);
    expect(setCookies(answer)).toEqual([expect.stringMatching(/^__Host-mcp_session=; Max-Age=0/)]);
    expect((await server.send("/who", withCookie(cookie))).json()).toMatchObject({ id: null });
    await later(20);
    expect(notAwaited()).toEqual([expect.stringContaining("logOut was not awaited")]);
  });

  it("a logOut that nobody awaits, and that fails, ends no process", async () => {
    const store = new SlowStore();
    const made = bench({ store });
    const server = await start(made, (app) =>
      app.get("/forgets-out", (req, res) => {
        store.failing = "error";
        void made.layer.logOut(req, res);
        res.send("ok");
      }),
    );
    const cookie = cookieOf(await server.send("/in/ada"));
    await server.send("/forgets-out", withCookie(cookie));
    await later(20);
    expect(notAwaited()).toEqual([expect.stringContaining("logOut was not awaited")]);
    expect(unhandled).toEqual([]);
  });

  it("security.handler passes the rejection or error of an async handler to the error handling, with its status", async () => {
    const app = express();
    const store = new SlowStore();
    const security = applySecurity(app, { debug: true, secretKey: SECRET, session: { store } });
    app.get(
      "/fails",
      security.handler(async (req) => {
        store.failing = "error";
        await security.logIn(req, { id: 7 });
      }),
    );
    app.get(
      "/throws",
      security.handler(() => {
        throw Object.assign(new Error("mine"), { status: 418 });
      }),
    );
    app.get(
      "/route",
      passingErrors(async () => Promise.reject("route")),
    );
    app.get(
      "/fine",
      security.handler(async (_req, res) => void res.send("fine")),
    );
    const server = await serve(app);
    open.push(server, security);
    const local = { headers: { host: "localhost" } };
    expect((await server.send("/throws", local)).status).toBe(418);
    expect((await server.send("/route", local)).status).toBe(500);
    expect((await server.send("/fine", local)).text).toBe("fine");
    expect((await server.send("/fails", local)).status).toBe(503);
    await later(20);
    expect(unhandled).toEqual([]);
  });
});
