import { createClient } from "redis";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { applySecurity, type Security, type SecurityEvent, type SecuritySettings } from "../../src/index.js";
import type { WindowOutcome } from "../../src/stores/contracts.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";

const SECRET = "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq";

/** Each call is one script, and one round trip: test/stores/redis/sliding-window/client.test.ts. */
class CountedStore extends RedisSlidingWindowStore {
  calls = 0;

  override consume(...args: Parameters<RedisSlidingWindowStore["consume"]>): Promise<WindowOutcome> {
    this.calls += 1;
    return super.consume(...args);
  }

  override consumeAll(...args: Parameters<RedisSlidingWindowStore["consumeAll"]>): Promise<readonly WindowOutcome[]> {
    this.calls += 1;
    return super.consumeAll(...args);
  }
}

/** Limits that are far away, unless a test says otherwise. */
const RATE_LIMIT = { limit: 1000, perPrincipal: { limit: 500 } };

describe.each(EXPRESS)("limits in Redis on $name", ({ express }) => {
  let redis: RunningServer;
  const servers: TestServer[] = [];
  const opened: Security[] = [];
  const stores: CountedStore[] = [];
  let looking: { connect(): Promise<unknown>; info(section: string): Promise<string>; destroy(): void };
  beforeAll(async () => {
    redis = await startRedis();
    looking = createClient({ url: redis.url });
    await looking.connect();
  });
  afterAll(async () => {
    looking.destroy();
    await redis.close();
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    for (const security of opened.splice(0)) await security.close();
    for (const store of stores.splice(0)) await store.close();
  });

  async function start(settings: Partial<SecuritySettings> = {}) {
    const app = express();
    const redisPrefix = `${uniqueName()}:`;
    const store = new CountedStore({ redis: redis.url, prefix: redisPrefix });
    stores.push(store);
    const security = applySecurity(app, {
      debug: true,
      secretKey: SECRET,
      redis: redis.url,
      redisPrefix,
      session: {},
      apiKeys: { hash: "hmac-sha256" },
      jwt: { issuer: "https://issuer.example", audience: "https://api.example" },
      ...settings,
      rateLimit: { ...(settings.rateLimit ?? RATE_LIMIT), store },
    });
    opened.push(security);
    let reached = 0;
    app.get("/limited", security.rateLimit({ name: "own", limit: 100 }), (_req, res) => res.send("ok"));
    app.post("/log-in", (req, res, next) => {
      security.logIn(req, { id: "anna" }).then(() => res.send("in"), next);
    });
    app.use((req, res) => {
      reached += 1;
      res.send(req.principal?.kind ?? "nobody");
    });
    const server = await serve(app);
    servers.push(server);
    await security.ready();
    const keys = security.apiKeys!;
    const makeKey = (limit?: number) =>
      keys.create({
        ownerId: "anna",
        name: "k",
        ...(limit === undefined ? {} : { rateLimit: { limit, windowSeconds: 60 } }),
      });
    const token = (await security.jwt!.issue("anna")).accessToken;
    const events: SecurityEvent[] = [];
    security.events.on("*", (event) => events.push(event));
    return { server, store, security, events, makeKey, token, keys, reached: () => reached };
  }

  /** Round trips to the limiter's store while `work` did something. */
  async function trips(store: CountedStore, work: () => Promise<unknown>): Promise<number> {
    const before = store.calls;
    await work();
    return store.calls - before;
  }

  async function callsOf(...commands: string[]): Promise<number> {
    const stats = await looking.info("commandstats");
    return commands.reduce(
      (sum, name) => sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0),
      0,
    );
  }

  const remaining = (header: string | string[] | undefined): number[] =>
    [...String(header).matchAll(/r=(\d+)/g)].map(([, left]) => Number(left));

  it("one round trip for the main limit, the limit of the key and the limit of the principal", async () => {
    const { server, store, makeKey, token } = await start();
    const limited = await makeKey(50);
    const plain = await makeKey();
    await server.send("/", { headers: { "x-api-key": limited.key } });
    await server.send("/", { headers: { "x-api-key": plain.key } });
    const seen: Record<string, number> = {};
    const tried: [string, Record<string, string>, number[]][] = [
      ["nobody", {}, [997]],
      ["key", { "x-api-key": plain.key }, [996, 497]],
      ["key with a limit", { "x-api-key": limited.key }, [995, 496]],
      ["token", { authorization: `Bearer ${token}` }, [994, 495]],
    ];
    for (const [name, headers, left] of tried) {
      seen[name] = await trips(store, async () => {
        const answer = await server.send("/", { headers });
        expect(answer.status).toBe(200);
        expect(remaining(answer.headers.ratelimit)).toEqual(left);
      });
    }
    expect(seen).toEqual({ nobody: 1, key: 1, "key with a limit": 1, token: 1 });
  });

  it("a session is loaded first, and then one round trip asks for both limits", async () => {
    const calls: number[] = [];
    const { server, store } = await start();
    const cookie = String((await server.send("/log-in", { method: "POST" })).headers["set-cookie"]).split(";")[0]!;
    const tripsOf = async (headers: Record<string, string>) => {
      calls.push(await trips(store, () => server.send("/", { headers })));
    };
    await tripsOf({});
    await tripsOf({ cookie });
    const answer = await server.send("/", { headers: { cookie } });
    expect(answer.text).toBe("session");
    expect(remaining(answer.headers.ratelimit)).toHaveLength(2);
    expect(calls).toEqual([1, 1]);
  });

  it("a limit of a route takes one more round trip", async () => {
    const { server, store } = await start();
    expect(await trips(store, () => server.send("/limited"))).toBe(2);
  });

  it("counts in all limits or in none: a principal over its limit uses nothing up", async () => {
    const { server, token } = await start({ rateLimit: { limit: 10, perPrincipal: { limit: 2 } } });
    const headers = { authorization: `Bearer ${token}` };
    const answers = [];
    for (let i = 0; i < 5; i += 1) answers.push(await server.send("/", { headers }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429, 429, 429]);
    expect(remaining((await server.send("/")).headers.ratelimit)).toEqual([7]);
  });

  it("counts in all limits or in none: a key over its own limit uses nothing up, and is no use of the key", async () => {
    const { server, makeKey, keys, events } = await start({ rateLimit: { limit: 10 } });
    const { key, record } = await makeKey(2);
    const statuses = [];
    for (let i = 0; i < 4; i += 1) statuses.push((await server.send("/", { headers: { "x-api-key": key } })).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    expect(remaining((await server.send("/")).headers.ratelimit)).toEqual([7]);
    expect((await keys.usage(record.id))?.usageCount).toBe(2);
    expect(events.filter(({ event }) => event === "excess_rate_limit_exceeded").map(({ source }) => source)).toEqual([
      "api-key",
      "api-key",
    ]);
  });

  const REFUSED: {
    name: string;
    method?: string;
    headers: (token: string) => Record<string, string>;
    status: number;
  }[] = [
    {
      name: "a token that was changed",
      headers: (token) => ({ authorization: `Bearer ${token.slice(0, -2)}AA` }),
      status: 401,
    },
    { name: "a malformed key", headers: () => ({ "x-api-key": "mcp_nothing" }), status: 401 },
    {
      name: "a cross-site form",
      method: "POST",
      headers: () => ({ "sec-fetch-site": "cross-site", origin: "https://evil.example" }),
      status: 403,
    },
    {
      name: "two credentials",
      headers: (token) => ({ authorization: `Bearer ${token}`, "x-api-key": "mcp_nothing" }),
      status: 400,
    },
  ];

  it.each(REFUSED)(
    "$name counts in the main limit, and gets 429 once that is used up",
    async ({ method, headers, status }) => {
      const { server, token, events, reached } = await start({ rateLimit: { limit: 3, perPrincipal: { limit: 500 } } });
      const statuses = [];
      for (let i = 0; i < 5; i += 1)
        statuses.push(
          (await server.send("/", { ...(method === undefined ? {} : { method }), headers: headers(token) })).status,
        );
      expect(statuses).toEqual([status, status, status, 429, 429]);
      expect(reached()).toBe(0);
      // What is told as 429 is announced as that alone.
      expect(events.map(({ event }) => event).filter((event) => event.startsWith("excess"))).toHaveLength(2);
      expect(events).toHaveLength(5);
    },
  );

  it("a client that was just refused is checked first: no signature is verified for it", async () => {
    const { server, token, security, events } = await start({ rateLimit: { limit: 1, perPrincipal: { limit: 500 } } });
    const wrong = { authorization: `Bearer ${token.slice(0, -2)}AA` };
    let checked = 0;
    const { verifier } = security.jwt!;
    const check = verifier.check.bind(verifier);
    verifier.check = (given) => {
      checked += 1;
      return check(given);
    };
    const statuses = [];
    for (let i = 0; i < 5; i += 1) statuses.push((await server.send("/", { headers: wrong })).status);
    expect(statuses).toEqual([401, 429, 429, 429, 429]);
    expect(checked).toBe(2);
    expect(events).toHaveLength(5);
  });

  it("a client over its limit gets no key hashed and no session loaded", async () => {
    const { server, makeKey, keys, security } = await start({ rateLimit: { limit: 1 }, apiKeys: {} });
    const { key, record } = await makeKey();
    const cookie = "mcp_session=s%3Aabc.def";
    expect((await server.send("/")).status).toBe(200);
    const began = process.cpuUsage();
    for (let i = 0; i < 5; i += 1) expect((await server.send("/", { headers: { "x-api-key": key } })).status).toBe(429);
    const { user, system } = process.cpuUsage(began);
    // Five hashes by argon2id would be more than 100 ms of processor.
    expect((user + system) / 1000).toBeLessThan(90);
    const refused = async (headers: Record<string, string>) => {
      const before = await callsOf("get", "getrange");
      expect((await server.send("/", { headers })).status).toBe(429);
      return (await callsOf("get", "getrange")) - before;
    };
    expect(await refused({ cookie })).toBe(await refused({}));
    expect((await keys.usage(record.id))?.usageCount).toBe(0);
    expect(security.describe().find(({ id }) => id === "rate-limit")?.store).toBe("its own");
  });

  it('while Redis is down every limit is counted in this process, and with onStoreError "deny" the request is refused once', async () => {
    const local = await start({ rateLimit: { limit: 4, perPrincipal: { limit: 2 }, storeTimeoutMs: 100 } });
    const deny = await start({ rateLimit: { ...RATE_LIMIT, onStoreError: "deny", storeTimeoutMs: 100 } });
    const { key } = await local.makeKey(3);
    expect((await local.server.send("/", { headers: { "x-api-key": key } })).status).toBe(200);
    redis.pause();
    try {
      const headers = { "x-api-key": key };
      const statuses = [];
      for (let i = 0; i < 4; i += 1) statuses.push((await local.server.send("/", { headers })).status);
      expect(statuses.slice(0, 2)).toEqual([200, 200]);
      expect(statuses[2]).toBe(429);
      const refused = await deny.server.send("/");
      expect([refused.status, (refused.json() as { code: string }).code]).toEqual([503, "store-unavailable"]);
    } finally {
      redis.resume();
    }
  });

  it("in report mode each limit decides by itself, and refuses no request", async () => {
    const { server, token, events } = await start({
      rateLimit: { limit: 10, perPrincipal: { limit: 1 }, mode: "report" },
    });
    const headers = { authorization: `Bearer ${token}` };
    for (let i = 0; i < 3; i += 1) expect((await server.send("/", { headers })).status).toBe(200);
    expect(events.filter(({ event }) => event === "excess_rate_limit_exceeded").map(({ source }) => source)).toEqual([
      "principal-rate-limit",
      "principal-rate-limit",
    ]);
  });
});
