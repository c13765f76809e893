import { RedisStore } from "connect-redis";
import express, { type Express } from "express";
import session from "express-session";
import { createClient } from "redis";
import { afterEach, describe, expect, it, vi } from "vitest";
import { SettingsError } from "../../src/settings/errors.js";
import { sessions } from "../../src/session/middleware.js";
import type { SessionSettings } from "../../src/session/settings.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { bench, cookieOf, OTHER_SECRET, routes, SECRET, setCookies, withCookie, type Bench } from "./support.js";

const TOMORROW = new Date(Date.now() + 86_400_000);

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function start(app: Express): Promise<TestServer> {
  const server = await serve(app);
  open.push(server);
  return server;
}

/** An app on express-session, as it was before the move. */
function before(store: session.Store, options: Partial<session.SessionOptions> = {}): Promise<TestServer> {
  const app = express();
  app.use(
    session({
      store,
      secret: "keyboard cat",
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 3_600_000 },
      ...options,
    }),
  );
  app.get("/count", (req, res) => void res.json({ count: (req.session.count = (req.session.count ?? 0) + 1) }));
  return start(app);
}

/** The cookie of an answer under any name, to send back. */
const pairOf = (line = ""): string => line.slice(0, line.indexOf(";"));

async function after(
  settings: SessionSettings,
  overrides: Parameters<typeof bench>[1] = {},
): Promise<{ made: Bench; server: TestServer }> {
  const made = bench(settings, overrides);
  open.push({ close: () => made.layer.close?.() });
  return { made, server: await start(routes(express(), made)) };
}

async function redisStore(): Promise<session.Store> {
  const client = await createClient({ url: (await sharedRedis()).url }).connect();
  open.push({ close: () => client.destroy() });
  return new RedisStore({ client, prefix: `${uniqueName()}:` });
}

const read = (store: session.Store, sid: string): Promise<unknown> =>
  new Promise((resolve, reject) =>
    store.get(sid, (error: unknown, data) => (error == null ? resolve(data ?? undefined) : reject(error))),
  );
const idIn = (pair: string): string =>
  decodeURIComponent(pair)
    .replace(/^[^=]*=s:/, "")
    .replace(/\.[^.]*$/, "");

describe.each<[string, () => session.Store | Promise<session.Store>]>([
  ["MemoryStore", () => new session.MemoryStore()],
  ["connect-redis", redisStore],
])("sessions of express-session in %s, with migrateFrom", (_name, makeStore) => {
  it("continue with their data under a new id and our cookie; the old record and cookie end", async () => {
    const store = await makeStore();
    const old = await before(store, { name: "connect.sid", cookie: { maxAge: 3_600_000, path: "/" } });
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    const { made, server } = await after({
      store,
      migrateFrom: { cookieName: "connect.sid", secret: "keyboard cat", until: TOMORROW },
    });
    const first = await server.send("/read", withCookie(oldCookie));
    expect(first.json()).toEqual({ count: 1 });
    const mine = cookieOf(first);
    expect(mine).not.toContain(idIn(oldCookie));
    expect(setCookies(first)).toContainEqual(
      expect.stringMatching(
        /^connect\.sid=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=\/; HttpOnly; Secure$/,
      ),
    );
    expect(await read(store, idIn(oldCookie))).toBeUndefined();
    expect((await server.send("/count", withCookie(mine))).json()).toEqual({ count: 2 });
    expect(made.events.map(({ event, reason }) => [event, reason])).toEqual([["session_created", "adopted"]]);
  });

  it("are not replaced after a log-in by what another request with the old cookie writes", async () => {
    const store = await makeStore();
    const old = await before(store);
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    const { server } = await after({
      store,
      migrateFrom: { cookieName: "connect.sid", secret: "keyboard cat", until: TOMORROW },
    });
    const loggedIn = cookieOf(await server.send("/in/ada", withCookie(oldCookie)));
    const late = await server.send("/count", withCookie(oldCookie));
    expect([late.status, setCookies(late)]).toEqual([200, []]);
    expect((await server.send("/who", withCookie(loggedIn))).json()).toMatchObject({ id: "ada", count: 1 });
  });

  it("are adopted once by twenty requests at the same time, in two processes", async () => {
    const store = await makeStore();
    const old = await before(store);
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    const settings: SessionSettings = {
      store,
      migrateFrom: { cookieName: "connect.sid", secret: ["new", "keyboard cat"], until: TOMORROW },
    };
    const [here, there] = [await after(settings), await after(settings)];
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        (index % 2 === 0 ? here : there).server.send("/read", withCookie(oldCookie)),
      ),
    );
    expect(answers.map((answer) => answer.json())).toEqual(Array.from({ length: 20 }, () => ({ count: 1 })));
    expect(new Set(answers.map((answer) => idIn(cookieOf(answer)))).size).toBe(1);
    // And a request that was sent before the answer came.
    expect((await there.server.send("/read", withCookie(oldCookie))).json()).toEqual({ count: 1 });
  });
});

describe("migrateFrom", () => {
  async function moved(
    settings: Partial<SessionSettings["migrateFrom"]> & object,
    overrides: { clock?: ManualClock } = {},
  ) {
    const store = new session.MemoryStore();
    const old = await before(store);
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    return {
      store,
      oldCookie,
      ...(await after(
        { store, migrateFrom: { cookieName: "connect.sid", secret: "keyboard cat", until: TOMORROW, ...settings } },
        overrides,
      )),
    };
  }

  it("is not read once `until` has passed, and is until then", async () => {
    const clock = new ManualClock(Date.now());
    const { server, oldCookie, store } = await moved({ until: new Date(clock.now() + 1000) }, { clock });
    clock.advance(1000);
    const answer = await server.send("/read", withCookie(oldCookie));
    expect([answer.json(), setCookies(answer)]).toEqual([{ count: null }, []]);
    expect(await read(store, idIn(oldCookie))).toBeDefined();
    const sooner = new ManualClock(Date.now());
    const twin = await moved({ until: new Date(sooner.now() + 1000).toISOString() }, { clock: sooner });
    sooner.advance(999);
    expect((await twin.server.send("/read", withCookie(twin.oldCookie))).json()).toEqual({ count: 1 });
  });

  it("accepts no cookie of another secret, name or form, and none twice", async () => {
    const { server, oldCookie, store } = await moved({ secret: OTHER_SECRET });
    expect((await server.send("/read", withCookie(oldCookie))).json()).toEqual({ count: null });
    const right = await moved({});
    const [name = "", value = ""] = right.oldCookie.split("=");
    for (const wrong of [
      `other=${value}`,
      `${name}=${decodeURIComponent(value)}`,
      `${name}=s%3A`,
      `${name}=%`,
      `${name}=${"a".repeat(5000)}`,
      `${name}=${value}; ${name}=${value}`,
    ]) {
      expect((await right.server.send("/read", withCookie(wrong))).json(), wrong.slice(0, 40)).toEqual({ count: null });
    }
    expect((await right.server.send("/read", withCookie(right.oldCookie))).json()).toEqual({ count: 1 });
    expect(await read(store, idIn(oldCookie))).toBeDefined();
  });

  it("accepts the old cookie for a minute, and not after a log-out", async () => {
    const clock = new ManualClock(Date.now());
    const { server, oldCookie } = await moved({}, { clock });
    const mine = cookieOf(await server.send("/read", withCookie(oldCookie)));
    clock.advance(59_000);
    expect((await server.send("/read", withCookie(oldCookie))).json()).toEqual({ count: 1 });
    clock.advance(1000);
    expect((await server.send("/read", withCookie(oldCookie))).json()).toEqual({ count: null });
    expect((await server.send("/read", withCookie(mine))).json()).toEqual({ count: 1 });

    const other = await moved({});
    const own = cookieOf(await other.server.send("/read", withCookie(other.oldCookie)));
    await other.server.send("/out", withCookie(own));
    expect((await other.server.send("/read", withCookie(other.oldCookie))).json()).toEqual({ count: null });
  });

  it("starts the absolute time-out at the adoption", async () => {
    const clock = new ManualClock(Date.now());
    const store = new session.MemoryStore();
    const old = await before(store, { cookie: { maxAge: 864_000_000 } });
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    const { server } = await after(
      {
        store,
        maxAge: 100,
        absoluteMaxAge: 100,
        migrateFrom: { cookieName: "connect.sid", secret: "keyboard cat", until: TOMORROW },
      },
      { clock },
    );
    const answer = await server.send("/read", withCookie(oldCookie));
    expect(setCookies(answer).find((line) => line.includes("mcp_session"))).toContain("Max-Age=100;");
    clock.advance(99_999);
    expect((await server.send("/read", withCookie(cookieOf(answer)))).json()).toEqual({ count: 1 });
    clock.advance(1);
    expect((await server.send("/read", withCookie(cookieOf(answer)))).json()).toEqual({ count: null });
  });

  it("prefers a session of this library", async () => {
    const { server, oldCookie, store } = await moved({});
    const mine = cookieOf(await server.send("/in/ada"));
    expect((await server.send("/who", withCookie(`${oldCookie}; ${mine}`))).json()).toMatchObject({
      id: "ada",
      count: null,
    });
    expect(await read(store, idIn(oldCookie))).toBeDefined();
  });

  it("ignores sessions of express-session when it is not set", async () => {
    const store = new session.MemoryStore();
    const old = await before(store, { name: "__Host-mcp_session", secret: SECRET });
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    const { server } = await after({ store });
    expect((await server.send("/read", withCookie(oldCookie))).json()).toEqual({ count: null });
  });

  it("requires a secret, a name and an end", () => {
    const make = (settings: object) => (): unknown => bench({ secret: undefined, ...settings });
    expect(make({ migrateFrom: { cookieName: "sid", until: TOMORROW } })).toThrow(/migrateFrom\.secret/);
    expect(make({ secret: SECRET, migrateFrom: { cookieName: "sid", until: "soon" } })).toThrow(SettingsError);
    expect(make({ secret: SECRET, migrateFrom: { cookieName: "a b", until: TOMORROW } })).toThrow(/cookie name/);
    expect(make({ secret: SECRET, migrateFrom: { cookieName: "sid", secret: "", until: TOMORROW } })).toThrow(/empty/);
    for (const until of [TOMORROW, TOMORROW.toISOString(), "2099-01-31", TOMORROW.getTime()]) {
      const made = bench({ store: new session.MemoryStore(), migrateFrom: { cookieName: "sid", until } });
      expect(made.layer.describe()["migrateFrom"]).toEqual({ cookieName: "sid", until: new Date(until).toISOString() });
    }
  });
});

describe("migrateFrom that cannot work", () => {
  const issuesOf = (settings: object) => {
    try {
      sessions({ secret: SECRET, ...settings });
      return [];
    } catch (error) {
      return (error as SettingsError).issues.map(
        ({ code, path, message, remedy }) => `${code} ${path}: ${message} ${remedy}`,
      );
    }
  };

  it("is refused with a remedy", () => {
    const store = new session.MemoryStore();
    expect(issuesOf({ store, migrateFrom: {} })).toEqual([
      expect.stringMatching(/^missing-setting migrateFrom\.cookieName: .*cookieName: "connect\.sid"/),
      expect.stringMatching(/^missing-setting migrateFrom\.until: .*until: "/),
    ]);
    expect(issuesOf({ store, migrateFrom: { cookieName: "sid", until: TOMORROW } })).toEqual([]);
  });

  it("is refused without the store that holds the old sessions", () => {
    expect(issuesOf({ migrateFrom: { cookieName: "sid", until: TOMORROW } })).toEqual([
      expect.stringMatching(/^missing-setting store: .*that express-session used/),
    ]);
  });

  it("only warns when its end is past, so that an app still starts on the day after", async () => {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    const store = new session.MemoryStore();
    bench({ store, migrateFrom: { cookieName: "sid", until: TOMORROW } });
    expect(warned).not.toHaveBeenCalled();
    bench({ store, migrateFrom: { cookieName: "sid", until: "2001-01-31" } });
    expect(warned.mock.calls).toEqual([
      [expect.stringContaining("no effect"), expect.objectContaining({ code: "PORTCULLIS_MIGRATION" })],
    ]);
    warned.mockRestore();
  });
});

describe("in debug, with the name, store and secret of express-session", () => {
  it("a session goes on in place, under its id", async () => {
    const store = new session.MemoryStore();
    const old = await before(store, { name: "sid", secret: SECRET });
    const oldCookie = pairOf(setCookies(await old.send("/count"))[0]);
    const { server } = await after({ store, cookieName: "sid" }, { debug: true });
    const answer = await server.send("/count", withCookie(oldCookie));
    expect(answer.json()).toEqual({ count: 2 });
    expect(setCookies(answer).map(pairOf)).toEqual([oldCookie]);
    expect(await read(store, idIn(oldCookie))).toMatchObject({ count: 2, "portcullis:session": { principal: null } });
    expect((await server.send("/count", withCookie(oldCookie))).json()).toEqual({ count: 3 });
  });
});
