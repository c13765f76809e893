import type session from "express-session";
import type { Express } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import {
  asHandler,
  bench,
  type Bench,
  COOKIE,
  cookieOf,
  Gate,
  routes,
  setCookies,
  SlowStore,
  withCookie,
} from "./support.js";

const open: TestServer[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

const idIn = (cookie: string): string => cookie.slice(`${COOKIE}=s%3A`.length, `${COOKIE}=s%3A`.length + 32);

/** Whose session it is is known before anybody reads `req.session`, which is when express-session's object is made. */
describe.each(EXPRESS)("a session that was loaded, on $name", ({ express }) => {
  async function start(made: Bench, extend: (app: Express) => void = () => undefined): Promise<TestServer> {
    const app = routes(express(), made);
    extend(app);
    const server = await serve(app);
    open.push(server);
    return server;
  }

  it.each([
    ["in memory", () => ({})],
    ["slow and plain", () => ({ store: Object.assign(new SlowStore(), { delay: { get: 2, set: 2, destroy: 2 } }) })],
  ])(
    "%s: sets the principal and does not change the response when the app never reads the session",
    async (_name, settings) => {
      const server = await start(bench(settings()));
      const mine = cookieOf(await server.send("/in/ada"));
      for (let time = 0; time < 2; time += 1) {
        const answer = await server.send("/plain", withCookie(mine));
        expect(answer.json()).toEqual({
          principal: {
            id: "ada",
            kind: "session",
            scopes: ["read", "orders:*"],
            roles: ["staff"],
            credentialId: expect.stringMatching(/^[\w-]{22}$/) as unknown,
            claims: {},
            authenticatedAt: expect.any(Number) as unknown,
            methods: [],
          },
          wrapped: false,
        });
        expect(setCookies(answer)).toEqual([]);
      }
      // The same one is not read by another key's signature.
      expect(
        (await server.send("/plain", withCookie(`${mine.slice(0, -1)}${mine.endsWith("A") ? "B" : "A"}`))).json(),
      ).toEqual({ principal: null, wrapped: false });
    },
  );

  it("and is first read after a log-out in another request is not restored by a write", async () => {
    const store = new SlowStore();
    const gate = new Gate();
    const server = await start(bench({ store }), (app) =>
      app.get(
        "/slow",
        asHandler(async (req, res) => {
          await gate.wait();
          req.session.count = 99;
          res.json({ id: req.principal?.id ?? null });
        }),
      ),
    );
    const mine = cookieOf(await server.send("/in/ada"));
    const slow = server.send("/slow", withCookie(mine));
    await gate.reached;
    await server.send("/out", withCookie(mine));
    gate.open();
    const answer = await slow;
    expect([answer.status, answer.json(), setCookies(answer)]).toEqual([200, { id: "ada" }, []]);
    expect(store.records.size).toBe(0);
  });

  it("has its id, its data, reload and save, whichever the app uses first", async () => {
    const store = new SlowStore();
    const server = await start(bench({ store }), (app) => {
      app.get("/id", (req, res) => void res.json({ id: req.sessionID, store: typeof req.sessionStore.get }));
      app.get("/reload", (req, res, next) => {
        req.session.reload((error: unknown) => {
          if (error != null) return next(error);
          req.session.count = (req.session.count ?? 0) + 10;
          req.session.save((failed: unknown) =>
            failed == null ? res.json({ count: req.session.count }) : next(failed),
          );
        });
      });
      app.get("/end", (req, res) => {
        (req as { session: unknown }).session = null;
        res.json({ principal: req.principal ?? null });
      });
    });
    const mine = cookieOf(await server.send("/in/ada"));
    const { set } = store.calls;
    const answer = await server.send("/id", withCookie(mine));
    expect(answer.json()).toEqual({ id: idIn(mine), store: "function" });
    expect([setCookies(answer), store.calls.set]).toEqual([[], set]);
    expect((await server.send("/count", withCookie(mine))).json()).toEqual({ count: 1 });
    expect((await server.send("/reload", withCookie(mine))).json()).toEqual({ count: 11 });
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada", count: 11 });
    const ended = await server.send("/end", withCookie(mine));
    expect(ended.json()).toEqual({ principal: null });
    expect(setCookies(ended)[0]).toMatch(/; Max-Age=0;/);
    expect(store.records.size).toBe(0);
  });

  it("takes the cookie's attributes from the settings, whatever the store has in their place", async () => {
    for (const minutes of [0, 2]) {
      for (const cookie of [
        "x",
        [],
        {},
        { maxAge: "3600" },
        { expires: 5 },
        { path: 7, sameSite: {}, originalMaxAge: "x" },
      ]) {
        const store = new SlowStore();
        const clock = new ManualClock();
        const server = await start(bench({ store }, { clock }), (app) =>
          app.get("/cookie", (req, res) => void res.json(req.session.cookie)),
        );
        const mine = cookieOf(await server.send("/in/ada"));
        const record = JSON.parse(store.records.get(idIn(mine)) ?? "") as object;
        store.records.set(idIn(mine), JSON.stringify({ ...record, cookie }));
        clock.advance(minutes * 60_000);
        const answer = await server.send("/cookie", withCookie(mine));
        expect([answer.status, answer.json()]).toEqual([
          200,
          expect.objectContaining({ path: "/", httpOnly: true, secure: true, sameSite: "lax" }),
        ]);
        expect(setCookies(answer).length).toBe(minutes === 0 ? 0 : 1);
        expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
      }
    }
  });

  it("and holds data that JSON cannot represent is refused, and does not affect later requests", async () => {
    const store = new (class extends SlowStore {
      override get(sid: string, callback: (error: unknown, data?: session.SessionData | null) => void): void {
        super.get(sid, (error, data) => callback(error, data == null ? data : Object.assign(data, { big: 1n })));
      }

      override touch(_sid: string, _data: session.SessionData, callback?: () => void): void {
        setImmediate(() => callback?.());
      }
    })();
    const clock = new ManualClock();
    const made = bench({ store }, { clock });
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    expect((await server.send("/plain", withCookie(mine))).json()).toMatchObject({ principal: { id: "ada" } });
    for (let time = 0; time < 2; time += 1) expect((await server.send("/read", withCookie(mine))).status).toBe(500);
    clock.advance(120_000);
    expect((await server.send("/plain", withCookie(mine))).status).toBe(503);
    expect((await server.send("/plain")).status).toBe(200);
  });

  it("throws at the line that saves data that JSON cannot represent, with and without a callback", async () => {
    const server = await start(bench(), (app) =>
      app.get("/bad", (req, res) => {
        const thrown: string[] = [];
        Object.assign(req.session, { big: 1n });
        for (const save of [() => req.session.save(), () => req.session.save(() => undefined)]) {
          try {
            save();
          } catch (error) {
            thrown.push((error as Error).name);
          }
        }
        delete (req.session as { big?: unknown }).big;
        res.json(thrown);
      }),
    );
    const mine = cookieOf(await server.send("/in/ada"));
    expect((await server.send("/bad", withCookie(mine))).json()).toEqual(["TypeError", "TypeError"]);
  });
});
