import session from "express-session";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Express } from "express";
import { SetupError } from "../../src/core/setup-error.js";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { EXPRESS } from "../support/express-versions.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import {
  asHandler,
  bench,
  cookieOf,
  Gate,
  later,
  routes,
  setCookies,
  SlowStore,
  withCookie,
  type Bench,
} from "./support.js";

const open: TestServer[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

/** A store with a `touch` that moves its own time to live only, as connect-redis's does. */
class TouchStore extends SlowStore {
  touches = 0;

  override touch(_sid: string, _data: session.SessionData, callback?: () => void): void {
    this.touches += 1;
    setImmediate(() => callback?.());
  }
}

describe.each(EXPRESS)("session stores on $name", ({ express }) => {
  async function start(made: Bench, extend: (app: Express) => void = () => undefined): Promise<TestServer> {
    const app = routes(express(), made);
    extend(app);
    const server = await serve(app);
    open.push(server);
    return server;
  }

  it.each([
    ["in memory", () => undefined],
    ["of express-session", () => new session.MemoryStore()],
    ["slow and plain", () => Object.assign(new SlowStore(), { delay: { get: 5, set: 40, destroy: 20 } })],
  ])("%s: a log-out holds against a slow request that saves afterwards", async (_name, makeStore) => {
    const store = makeStore();
    const made = bench({ ...(store === undefined ? {} : { store }) });
    const gate = new Gate();
    const server = await start(made, (app) =>
      app.get(
        "/slow",
        asHandler(async (req, res) => {
          req.session.count = 1;
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
    expect(answer.status).toBe(200);
    // It must not hand the dead cookie out again, which would undo the log-out in the browser.
    expect(setCookies(answer)).toEqual([]);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null, count: null });
    if (store instanceof SlowStore) expect(store.records.size).toBe(0);
  });

  it("undo a write that was under way at the log-out", async () => {
    const store = new SlowStore();
    const made = bench({ store });
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    // The save passes its checks and reaches the store only after the destroy has.
    store.delay = { get: 0, set: 120, destroy: 0 };
    const slow = server.send("/count", withCookie(mine));
    while (store.calls.set < 2) await later(1);
    await server.send("/out", withCookie(mine));
    await slow;
    expect(store.records.size).toBe(0);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
  });

  it("of another process: a save does not restore a session that was destroyed there", async () => {
    const store = new SlowStore();
    const here = await start(bench({ store }), (app) =>
      app.get(
        "/slow",
        asHandler(async (req, res) => {
          req.session.count = 1;
          await later(60);
          res.json({});
        }),
      ),
    );
    const there = await start(bench({ store }));
    const mine = cookieOf(await here.send("/in/ada"));
    const slow = here.send("/slow", withCookie(mine));
    await later(25);
    await there.send("/out", withCookie(mine));
    await slow;
    expect(store.records.size).toBe(0);
  });

  it.each(["error", "hang", "throw"] as const)(
    "that fail to load a session (%s) cause a 503, are announced once, and are used again when they work",
    async (failing) => {
      const clock = new ManualClock();
      const store = new SlowStore();
      const made = bench({ store, storeTimeoutMs: 100 }, { clock });
      const server = await start(made);
      const mine = cookieOf(await server.send("/in/ada"));
      made.events.length = 0;
      store.failing = failing;
      const begun = Date.now();
      for (let i = 0; i < 6; i += 1) {
        const answer = await server.send("/who", withCookie(mine));
        expect([answer.status, answer.json()]).toEqual([503, expect.objectContaining({ code: "store-unavailable" })]);
      }
      expect(Date.now() - begun).toBeLessThan(2000);
      // Whoever needs no session is served.
      expect((await server.send("/plain")).status).toBe(200);
      const late = failing === "hang" ? ["portcullis_store_late"] : [];
      expect(made.names()).toEqual([...late, "portcullis_store_unavailable"]);
      store.failing = "no";
      clock.advance(1000);
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
      expect(made.names()).toEqual([...late, "portcullis_store_unavailable", "portcullis_store_recovered"]);
    },
  );

  it("that fail at log-in or log-out: nobody is logged in, no log-out is confirmed, and the answer is 503", async () => {
    const store = new SlowStore();
    const clock = new ManualClock();
    const made = bench({ store }, { clock });
    const server = await start(made, (app) => {
      app.get(
        "/fail-in",
        asHandler(async (req, res) => {
          req.session.count = 3;
          store.failing = "error";
          const error: unknown = await made.layer.logIn(req, { id: "ada" }).catch((caught: unknown) => caught);
          store.failing = "no";
          clock.advance(1000);
          res.json({
            status: (error as { status?: number }).status,
            principal: req.principal ?? null,
            count: req.session.count,
          });
        }),
      );
    });
    const answer = await server.send("/fail-in");
    expect(answer.json()).toEqual({ status: 503, principal: null, count: 3 });
    expect((await server.send("/who", withCookie(cookieOf(answer)))).json()).toMatchObject({ id: null, count: 3 });

    const mine = cookieOf(await server.send("/in/ada"));
    // Loads still work; only the destroy fails.
    const { destroy } = store;
    store.destroy = (_sid, callback) => callback?.(new Error("connection lost"));
    const out = await server.send("/out", withCookie(mine));
    expect(out.status).toBe(503);
    expect(setCookies(out)).toEqual([]);
    store.destroy = destroy;
    clock.advance(1000);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    expect((await server.send("/out", withCookie(mine))).status).toBe(200);
    expect(store.records.has(mine)).toBe(false);
  });

  it("without touch: a use is recorded by a write, from which the idle time-out counts", async () => {
    const clock = new ManualClock();
    const store = new SlowStore();
    const made = bench({ store, maxAge: 600 }, { clock });
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    store.calls.set = 0;
    clock.advance(59_999);
    await server.send("/who", withCookie(mine));
    expect(store.calls.set).toBe(0);
    clock.advance(1);
    await server.send("/who", withCookie(mine));
    expect(store.calls.set).toBe(1);
    clock.advance(599_999);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    clock.advance(600_000);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
    expect(made.events.at(-1)).toMatchObject({ event: "session_expired", reason: "idle", subject: "ada" });
    expect(store.records.size).toBe(0);
  });

  it("with touch: it extends the idle time, and the absolute age still ends the session", async () => {
    const clock = new ManualClock();
    const store = new TouchStore();
    const made = bench({ store, maxAge: 600, absoluteMaxAge: 2000 }, { clock });
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    store.calls.set = 0;
    for (let i = 0; i < 3; i += 1) {
      clock.advance(500_000);
      expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    }
    expect([store.touches, store.calls.set]).toEqual([3, 0]);
    clock.advance(500_000);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
    expect(made.events.at(-1)).toMatchObject({ event: "session_expired", reason: "absolute" });
  });

  it("that answer ENOENT, or hold a record this layer did not write, have no such session", async () => {
    const store = new SlowStore();
    const made = bench({ store });
    const server = await start(made);
    const mine = cookieOf(await server.send("/in/ada"));
    const [sid] = [...store.records.keys()];
    for (const record of [
      "null",
      "{}",
      '{"cookie":{}}',
      '{"cookie":{},"portcullis:session":{"createdAt":"1","seenAt":1,"principal":null}}',
      '{"cookie":{},"portcullis:session":{"createdAt":1,"seenAt":9e15,"principal":{"id":""}}}',
    ]) {
      store.records.set(sid ?? "", record);
      const answer = await server.send("/who", withCookie(mine));
      expect([answer.status, answer.json()]).toEqual([200, { id: null, credentialId: null, count: null }]);
    }
    store.get = (_sid, callback) => callback(Object.assign(new Error("no such file"), { code: "ENOENT" }));
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: null });
    expect(made.names()).not.toContain("portcullis_store_unavailable");
  });

  it("without an index reject list and end", async () => {
    const { layer } = bench({ store: new SlowStore() });
    await expect(layer.list("ada")).rejects.toThrow(SetupError);
    await expect(layer.end("ada")).rejects.toThrow(/This session store cannot find the sessions of a principal/);
  });

  it("that are down for a moment when all sessions of a user end: repeating the call succeeds, and nothing is retried after a new log-in", async () => {
    const store = new MemorySessionStore();
    const made = bench({ store });
    const server = await start(made);
    const first = cookieOf(await server.send("/in/ada"));
    vi.spyOn(store, "idsByPrincipal").mockImplementationOnce(() => {
      throw new Error("down");
    });
    await expect(made.layer.end("ada")).rejects.toThrow();
    await made.layer.end("ada");
    const second = cookieOf(await server.send("/in/ada"));
    await later(700);
    expect((await server.send("/who", withCookie(first))).json()).toMatchObject({ id: null });
    expect((await server.send("/who", withCookie(second))).json()).toMatchObject({ id: "ada" });
    store.close();
  });

  it("that cannot list a user's sessions in time: the call is refused once, and the sessions end as soon as possible", async () => {
    const store = new MemorySessionStore();
    const made = bench({ store, storeTimeoutMs: 100 });
    const server = await start(made);
    const cookies = [cookieOf(await server.send("/in/ada")), cookieOf(await server.send("/in/ada"))];
    const never = new Promise<never>(() => undefined) as never;
    vi.spyOn(store, "idsByPrincipal").mockReturnValueOnce(never);
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    expect((await server.send("/who", withCookie(cookies[0]!))).json()).toMatchObject({ id: "ada" });
    const after = cookieOf(await server.send("/in/ada"));
    for (const cookie of cookies) {
      await expect
        .poll(async () => (await server.send("/who", withCookie(cookie))).json(), { timeout: 3000 })
        .toMatchObject({ id: null });
    }
    expect((await server.send("/who", withCookie(after))).json()).toMatchObject({ id: "ada" });
    store.close();
  });

  it("that are slow to end each session: the whole call has one time-out, and the rest end later", async () => {
    const store = new MemorySessionStore();
    const made = bench({ store, storeTimeoutMs: 120 });
    const server = await start(made);
    for (let n = 0; n < 5; n += 1) await server.send("/in/ada");
    const ids = store.idsByPrincipal.bind(store);
    const destroy = store.destroy.bind(store);
    const spies = [
      vi
        .spyOn(store, "idsByPrincipal")
        .mockImplementation((id, agoMs) => later(80).then(() => ids(id, agoMs)) as never),
      vi
        .spyOn(store, "destroy")
        .mockImplementation((sid, callback) => void later(80).then(() => destroy(sid, callback))),
    ];
    const begun = performance.now();
    // Each of the two steps is in time, the two together are not.
    await expect(made.layer.end("ada")).rejects.toMatchObject({ status: 503 });
    expect(performance.now() - begun).toBeLessThan(1000);
    for (const spy of spies) spy.mockRestore();
    await expect.poll(() => store.listByPrincipal("ada"), { timeout: 3000 }).toEqual([]);
    store.close();
  });

  it("that are full of other users' sessions: one more is refused with 503, and no session ends", async () => {
    const store = new MemorySessionStore({ maxSessions: 3 });
    const made = bench({ store });
    const server = await start(made);
    const anonymous = cookieOf(await server.send("/count"));
    const [ada, bob, cleo] = [
      cookieOf(await server.send("/in/ada")),
      cookieOf(await server.send("/in/bob")),
      cookieOf(await server.send("/in/cleo")),
    ];
    expect(store.size).toBe(3);
    expect((await server.send("/read", withCookie(anonymous))).json()).toEqual({ count: null });
    expect((await server.send("/count")).status).toBe(503);
    expect((await server.send("/in/dora")).status).toBe(503);
    for (const [cookie, id] of [
      [ada, "ada"],
      [bob, "bob"],
      [cleo, "cleo"],
    ] as const) {
      expect((await server.send("/who", withCookie(cookie))).json()).toMatchObject({ id });
    }
    // The same person again: her own oldest session makes room.
    const ada2 = cookieOf(await server.send("/in/ada"));
    expect((await server.send("/who", withCookie(ada2))).json()).toMatchObject({ id: "ada" });
    expect((await server.send("/who", withCookie(ada))).json()).toMatchObject({ id: null });
    expect(made.names()).not.toContain("portcullis_store_unavailable");
    store.close();
  });
});
