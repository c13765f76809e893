import express from "express";
import type session from "express-session";
import { afterEach, describe, expect, it } from "vitest";
import { SessionEndedError } from "../../src/session/errors.js";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { RedisSessionStore } from "../../src/stores/redis/sessions/store.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
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

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

interface Process {
  made: Bench;
  server: TestServer;
}

/** A process whose `/again` renews the session once `gate` is open, and says how that went. */
async function start(store: session.Store | undefined, gate?: Gate, storeTimeoutMs?: number): Promise<Process> {
  const made = bench({ ...(store && { store }), ...(storeTimeoutMs !== undefined && { storeTimeoutMs }) });
  const app = routes(express(), made);
  app.get(
    "/again",
    asHandler(async (req, res) => {
      const isRenewal = req.principal !== undefined;
      await gate?.wait();
      const error: unknown = await made.layer.logIn(req, { id: "ada" }).catch((caught: unknown) => caught);
      res.status(error === undefined ? 200 : 401).json({
        id: req.principal?.id ?? null,
        isEnded: error instanceof SessionEndedError,
        error: error instanceof Error ? { ...error } : null,
        isRenewal,
      });
    }),
  );
  const server = await serve(app);
  open.push(server, { close: () => made.layer.close?.() });
  return { made, server };
}

const ENDED = {
  id: null,
  isEnded: true,
  isRenewal: true,
  error: { code: "session-ended", status: 401, name: "SessionEndedError" },
};

/** A store, and the same one as another process has it. */
const STORES: readonly (readonly [string, () => Promise<readonly [session.Store, session.Store]>])[] = [
  [
    "our memory",
    async () => {
      const store = new MemorySessionStore();
      return [store, store];
    },
  ],
  [
    "a plain store",
    async () => {
      const store = new SlowStore();
      return [store, store];
    },
  ],
  [
    "Redis",
    async () => {
      const { url } = await sharedRedis();
      const prefix = `${uniqueName()}:`;
      const stores = [
        new RedisSessionStore({ client: url, prefix }),
        new RedisSessionStore({ client: url, prefix }),
      ] as const;
      for (const store of stores) open.unshift({ close: () => store.close() });
      await Promise.all(stores.map((store) => store.ready()));
      return stores;
    },
  ],
];

describe.each(STORES)("a request behind a log-in, on %s", (_name, stores) => {
  it("starts no session that would replace the one logged in; after a log-out it does", async () => {
    const [store] = await stores();
    const made = bench(store === undefined ? {} : { store });
    const server = await serve(routes(express(), made));
    open.push(server, { close: () => made.layer.close?.() });
    const anonymous = cookieOf(await server.send("/count"));
    const mine = cookieOf(await server.send("/in/ada", withCookie(anonymous)));
    const late = await server.send("/count", withCookie(anonymous));
    expect([late.json(), setCookies(late)]).toEqual([{ count: 1 }, []]);
    expect((await server.send("/who", withCookie(mine))).json()).toMatchObject({ id: "ada" });
    await server.send("/out", withCookie(mine));
    expect(setCookies(await server.send("/count", withCookie(mine)))).toHaveLength(1);
  });
});

it("a request with the id from before a log-in may start a session a minute later", async () => {
  const clock = new ManualClock();
  const made = bench({}, { clock });
  const server = await serve(routes(express(), made));
  open.push(server, { close: () => made.layer.close?.() });
  const anonymous = cookieOf(await server.send("/count"));
  await server.send("/in/ada", withCookie(anonymous));
  expect(setCookies(await server.send("/count", withCookie(anonymous)))).toEqual([]);
  clock.advance(60_000);
  expect(setCookies(await server.send("/count", withCookie(anonymous)))).toHaveLength(1);
});

describe.each(STORES)("logIn as a renewal, on %s", (_name, stores) => {
  it.each([
    ["in this process", 0],
    ["in another one", 1],
  ] as const)("rejects when the session was logged out %s meanwhile, and leaves no session", async (_where, other) => {
    const [mine, theirs] = await stores();
    const gate = new Gate();
    const here = await start(mine, gate);
    const there = other === 0 ? here : await start(theirs);
    const cookie = cookieOf(await here.server.send("/in/ada"));
    const again = here.server.send("/again", withCookie(cookie));
    await gate.reached;
    await there.server.send("/out", withCookie(cookie));
    gate.open();
    const answer = await again;
    expect(answer.json()).toEqual(ENDED);
    expect(setCookies(answer)).toEqual([]);
    if (mine instanceof SlowStore) expect(mine.records.size).toBe(0);
    else expect(await here.made.layer.list("ada")).toEqual([]);
  });

  it("resolves when the session lives, and when the user has logged out in this request", async () => {
    const [store] = await stores();
    const here = await start(store);
    const cookie = cookieOf(await here.server.send("/in/ada"));
    const answer = await here.server.send("/again", withCookie(cookie));
    expect(answer.json()).toMatchObject({ id: "ada", isEnded: false });
    expect((await here.server.send("/who", withCookie(cookieOf(answer)))).json()).toMatchObject({ id: "ada" });
  });
});

describe("logIn as a renewal", () => {
  it("rejects when sessions.end has ended the session meanwhile, one by its handle or all", async () => {
    for (const one of [true, false]) {
      const gate = new Gate();
      const { made, server } = await start(undefined, gate);
      const cookie = cookieOf(await server.send("/in/ada"));
      const again = server.send("/again", withCookie(cookie));
      await gate.reached;
      expect(await made.layer.end("ada", one ? (await made.layer.list("ada"))[0]?.handle : undefined)).toBe(1);
      gate.open();
      expect((await again).json()).toEqual(ENDED);
      expect(await made.layer.list("ada")).toEqual([]);
    }
  });

  it("succeeds at the limit of sessions for one principal, because the old session makes room", async () => {
    const store = new MemorySessionStore({ maxSessions: 1 });
    const { server } = await start(store);
    const cookie = cookieOf(await server.send("/in/ada"));
    expect((await server.send("/again", withCookie(cookie))).json()).toMatchObject({ id: "ada" });
  });

  it("never leaves a session after a rejection or an end of all, in a race with a log-out and sessions.end in another process on Redis", async () => {
    const { url } = await sharedRedis();
    const prefix = `${uniqueName()}:`;
    const stores = [
      new RedisSessionStore({ client: url, prefix }),
      new RedisSessionStore({ client: url, prefix }),
    ] as const;
    await Promise.all(stores.map((store) => store.ready()));
    // What the race ends with is of interest here, not whether a busy machine is in time.
    const [here, there] = [await start(stores[0], undefined, 5000), await start(stores[1], undefined, 5000)];
    for (const store of stores) open.unshift({ close: () => store.close() });
    const seen = { rejected: 0, renewed: 0, began: 0 };
    for (let round = 0; round < 90; round += 1) {
      const cookie = cookieOf(await here.server.send("/in/ada"));
      const again = here.server.send("/again", withCookie(cookie));
      await later(round % 5);
      const all = round % 2 === 0;
      const [answer] = await Promise.all([
        again,
        all ? there.made.layer.end("ada") : there.server.send("/out", withCookie(cookie)),
      ]);
      const alive = await here.made.layer.list("ada");
      // The end came before the request had read its session: it is a log-in like any other then.
      if (!(answer.json() as { isRenewal: boolean }).isRenewal) seen.began += 1;
      else if (answer.status === 401) seen.rejected += 1;
      else seen.renewed += 1;
      if (!(answer.json() as { isRenewal: boolean }).isRenewal) expect(alive.length).toBe(1);
      else if (all || answer.status === 401) expect(alive).toEqual([]);
      else expect(alive.length).toBe(1);
      await here.made.layer.end("ada");
    }
    expect(seen.rejected + seen.renewed).toBeGreaterThan(20);
  });
});

describe("an id that is sent after its session has ended", () => {
  const uses = ({ made }: Process): unknown[] =>
    made.events.filter(({ event }) => event === "session_use_after_expire").map(({ reason, level }) => [reason, level]);

  it("is reported as INFO for a minute after logIn or sessions.end, as CRITICAL later, and as CRITICAL after a log-out", async () => {
    const clock = new ManualClock();
    const made = bench({}, { clock });
    const server = await serve(routes(express(), made));
    open.push(server, { close: () => made.layer.close?.() });
    const here = { made, server };
    const first = cookieOf(await server.send("/in/ada"));
    const second = cookieOf(await server.send("/in/ada", withCookie(first)));
    clock.advance(59_999);
    await server.send("/who", withCookie(first));
    clock.advance(1);
    await server.send("/who", withCookie(first));
    await made.layer.end("ada");
    await server.send("/who", withCookie(second));
    clock.advance(60_000);
    await server.send("/who", withCookie(second));
    const third = cookieOf(await server.send("/in/ada"));
    await server.send("/out", withCookie(third));
    await server.send("/who", withCookie(third));
    expect(uses(here)).toEqual([
      ["replaced", "INFO"],
      ["replaced", "CRITICAL"],
      ["revoked", "INFO"],
      ["revoked", "CRITICAL"],
      ["ended", "CRITICAL"],
    ]);
  });
});
