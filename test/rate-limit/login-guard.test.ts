import { connect } from "node:net";
import { once } from "node:events";
import express, { type Request } from "express";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  applySecurity,
  InvalidInputError,
  type SecurityEvent,
  type SecuritySettings,
  SettingsError,
  SlidingWindowStore,
} from "../../src/index.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";

const SECRET = "Yw3v9hQ2pX7rT5mK8sD1fG6jL4zB0nCq";
const LIMITS = {
  address: { limit: 8, windowSeconds: 300 },
  accountAndAddress: { limit: 3, windowSeconds: 3600 },
  account: { limit: 5, windowSeconds: 3600 },
};

describe("security.loginGuard", () => {
  const servers: TestServer[] = [];
  const closing: (() => Promise<void>)[] = [];
  let redis: RunningServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.close());
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    for (const close of closing.splice(0)) await close();
  });

  /** A log-in route: the password is right when it is "right". */
  async function start(settings: Partial<SecuritySettings> = {}, guards = 1) {
    const app = express();
    const clock = new ManualClock();
    const security = applySecurity(
      app,
      {
        debug: true,
        secretKey: SECRET,
        session: {},
        csrf: false,
        trustProxy: 1,
        rateLimit: false,
        loginLimits: LIMITS,
        ...settings,
      },
      { clock },
    );
    closing.push(() => security.close());
    const events: SecurityEvent[] = [];
    security.events.on("*", (event) => events.push(event));
    let checked = 0;
    const held: (() => void)[] = [];
    const account = (req: Request): string => req.headers["x-account"] as string;
    for (let guard = 1; guard < guards; guard += 1) app.use("/login", security.loginGuard({ account }));
    app.post("/login", security.loginGuard({ account }), async (req, res) => {
      checked += 1;
      if (req.headers["x-password"] === "slow") {
        await new Promise<void>((resolve) => held.push(resolve));
        return void res.send("late");
      }
      if (req.headers["x-password"] === "token") {
        await req.rateLimit?.refund();
        return void res.send("token");
      }
      if (req.headers["x-password"] !== "right") {
        security.loginFailed(req, { id: "ada", reason: "wrong-password" });
        return void res.sendStatus(401);
      }
      await security.logIn(req, { id: account(req) });
      res.sendStatus(204);
    });
    const server = await serve(app);
    servers.push(server);
    await security.ready();
    const send = (who: string, password: string, from = "192.0.2.1") =>
      server.send("/login", {
        method: "POST",
        headers: { "x-account": who, "x-password": password, "x-forwarded-for": from },
      });
    const status = async (...args: Parameters<typeof send>) => (await send(...args)).status;
    const used = async (name: string, key: string) => (await security.limits.peek(name, key)).used;
    return { clock, security, events, server, send, status, used, held, checked: () => checked };
  }

  const STORES: [string, () => Partial<SecuritySettings>][] = [
    ["in memory", () => ({})],
    ["in Redis", () => ({ redis: redis.url, redisPrefix: `${uniqueName()}:` })],
  ];

  describe.each(STORES)("%s", (_name, store) => {
    it("takes a unit of each counter before the password is checked, and answers 429 when one is used up", async () => {
      const { status, send, checked, used, events } = await start(store());
      expect([await status("ada", "x"), await status("ada", "x"), await status("ada", "x")]).toEqual([401, 401, 401]);
      const refused = await send("ada", "right");
      expect([refused.status, checked()]).toEqual([429, 3]);
      expect(Number(refused.headers["retry-after"])).toBeGreaterThan(3590);
      expect(Object.keys(refused.headers).filter((name) => name.includes("ratelimit"))).toEqual([]);
      expect(events.at(-1)).toMatchObject({
        event: "authn_login_fail_max",
        source: "login-guard",
        reason: "login:account-address",
      });
      // The refused attempt was recorded nowhere; another account and another address go on.
      expect(await used("login-address", "192.0.2.1")).toBe(3);
      expect(await used("login-account", "ada")).toBe(3);
      expect(await used("login-account-address", "192.0.2.1 ada")).toBe(3);
      expect(await status("bob", "x")).toBe(401);
      expect(await status("ada", "right", "192.0.2.2")).toBe(204);
    });

    it("a log-in gives back the units of its own request and no others", async () => {
      const { status, used } = await start(store());
      for (const password of ["x", "x", "right", "right", "right"]) await status("ada", password);
      await expect.poll(() => used("login-account-address", "192.0.2.1 ada")).toBe(2);
      expect(await used("login-address", "192.0.2.1")).toBe(2);
      expect(await used("login-account", "ada")).toBe(2);
      // Logging in to an account of one's own between guesses does not make room for more of them.
      for (let n = 0; n < 5; n += 1) await status("mallory", "right");
      await status("ada", "x");
      expect(await status("ada", "x")).toBe(429);
    });

    it("an account is refused from every address once its counter is used up", async () => {
      const { status } = await start(store());
      for (let n = 0; n < 5; n += 1) expect(await status("ada", "x", `198.51.100.${n}`)).toBe(401);
      expect(await status("ada", "right", "198.51.100.9")).toBe(429);
      expect(await status("bob", "right", "198.51.100.9")).toBe(204);
    });

    it("parallel attempts get no more than the limit", async () => {
      const { status, checked } = await start(store());
      const answers = await Promise.all(Array.from({ length: 30 }, () => status("ada", "x")));
      expect(answers.filter((answer) => answer === 401)).toHaveLength(3);
      expect(checked()).toBe(3);
    });

    it("a request that meets the guard twice is counted once, and a log-in gives that unit back", async () => {
      const { status, used } = await start(store(), 2);
      expect([await status("ada", "x"), await status("ada", "x"), await status("ada", "right")]).toEqual([
        401, 401, 204,
      ]);
      for (const [name, key] of [
        ["login-address", "192.0.2.1"],
        ["login-account-address", "192.0.2.1 ada"],
        ["login-account", "ada"],
      ] as const)
        await expect.poll(() => used(name, key)).toBe(2);
      expect([await status("ada", "x"), await status("ada", "x")]).toEqual([401, 429]);
    });

    it("an aborted connection and an answer without log-in keep their units; refund() gives them back", async () => {
      const { server, status, used, held } = await start(store());
      const socket = connect(server.port, "127.0.0.1");
      socket.write(
        "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Account: ada\r\nX-Password: slow\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 0\r\n\r\n",
      );
      while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      socket.destroy();
      await once(socket, "close");
      held[0]?.();
      expect(await used("login-account", "ada")).toBe(1);
      expect(await status("ada", "token")).toBe(200);
      expect(await used("login-account", "ada")).toBe(1);
      expect(await used("login-address", "192.0.2.1")).toBe(1);
    });

    it("consecutive failures: a success ends them, and strangers do not lock out an address that has logged in before", async () => {
      const loginLimits = {
        address: { limit: 1000 },
        accountAndAddress: { limit: 1000 },
        account: { limit: 1000 },
        maxConsecutiveFailures: 4,
      };
      const { status, used, security } = await start({ ...store(), loginLimits });
      const home = "203.0.113.7";
      expect(await status("ada", "right", home)).toBe(204);
      await expect.poll(() => used("login-consecutive", "ada")).toBe(0);
      for (let n = 0; n < 4; n += 1) expect(await status("ada", "x", `198.51.100.${n}`)).toBe(401);
      expect(await status("ada", "x", "198.51.100.200")).toBe(429);
      for (let n = 0; n < 3; n += 1) expect(await status("ada", "x", home)).toBe(401);
      expect(await status("ada", "right", home)).toBe(204);
      await expect.poll(() => used("login-consecutive", `${home} ada`)).toBe(0);
      for (let n = 0; n < 4; n += 1) expect(await status("ada", "x", home)).toBe(401);
      expect(await status("ada", "right", home)).toBe(429);
      expect(await status("ada", "x", "198.51.100.201")).toBe(429);
      await security.limits.reset("login-consecutive", "ada");
      expect(await status("ada", "x", "198.51.100.201")).toBe(401);
    });
  });

  it("counts exactly while a process with other windows is on the same Redis, as in a change in steps", async () => {
    const shared = { redis: redis.url, redisPrefix: `${uniqueName()}:` };
    const limits = (windowSeconds: number, limit: number) => ({
      ...shared,
      loginLimits: {
        address: { limit: 100, windowSeconds },
        accountAndAddress: { limit, windowSeconds },
        account: { limit: 100, windowSeconds },
      },
    });
    // Both windows are so short that times are kept to the microsecond.
    const old = await start(limits(1, 3));
    const changed = await start(limits(1000, 3));
    const seen: number[][] = [[], []];
    for (let round = 0; round < 3; round += 1) {
      for (let n = 0; n < 4; n += 1) {
        seen[0]!.push(await old.status("ada", "x"));
        seen[1]!.push(await changed.status("ada", "x"));
      }
      await new Promise((resolve) => setTimeout(resolve, 1100));
    }
    expect(seen[1]).toEqual([401, 401, 401, ...Array<number>(9).fill(429)]);
    // The old one accepts three in each of its own windows.
    expect(seen[0]!.filter((answer) => answer === 401).length).toBeGreaterThanOrEqual(9);
    // Another limit keeps the count.
    expect(await (await start(limits(1000, 4))).status("ada", "x")).toBe(401);
    expect(await changed.status("ada", "x")).toBe(429);
  });

  it.each([
    ["deny", [503, 503, 503, 503, 503]],
    ["allow", [401, 401, 204, 401, 401]],
    ["local", [401, 401, 204, 401, 429]],
  ] as const)("does what onStoreError says while the store fails: %s", async (onStoreError, expected) => {
    class Down extends SlidingWindowStore {
      override consumeAll(): never {
        throw new Error("down");
      }
      override peek(): never {
        throw new Error("down");
      }
    }
    const { status, checked, events } = await start({
      rateLimit: { store: new Down(), skip: ["/login"], onStoreError },
    });
    const seen: number[] = [];
    for (const password of ["x", "x", "right", "x", "x"]) seen.push(await status("ada", password));
    expect(seen).toEqual(expected);
    expect(checked()).toBe(expected.filter((answer) => answer < 429).length);
    expect(events.filter(({ event }) => event === "portcullis_store_unavailable")).toHaveLength(1);
  });

  it("in report mode announces each attempt over a limit, records none of them, and lets all through", async () => {
    const { status, checked, used, events } = await start({ loginLimits: { ...LIMITS, mode: "report" } });
    for (let n = 0; n < 5; n += 1) expect(await status("ada", "x")).toBe(401);
    expect([checked(), await used("login-account-address", "192.0.2.1 ada")]).toEqual([5, 3]);
    expect(await status("ada", "right")).toBe(204);
    const over = events.filter(({ event }) => event === "authn_login_fail_max");
    expect(over.map(({ source, reason }) => `${source} ${reason}`)).toEqual(
      Array(3).fill("login-guard login:account-address"),
    );
  });

  it("answers for an account that does not exist as for one that does, and never echoes it", async () => {
    const { send } = await start();
    const of = async (who: string) => {
      const answers = [];
      for (let n = 0; n < 4; n += 1) {
        const { status, text, headers } = await send(who, "x", who === "ada" ? "192.0.2.1" : "192.0.2.2");
        answers.push([status, text, headers["retry-after"]]);
      }
      return answers;
    };
    const unknown = await of("<nobody>");
    expect(await of("ada")).toEqual(unknown);
    expect(JSON.stringify(unknown)).not.toContain("nobody");
  });

  it.each([
    ["case, white space and compatible characters", ["Ada", " ada ", "ａｄａ"]],
    ["what lies beyond 1024 characters", ["a".repeat(2000), `${"a".repeat(1999)}b`, "a".repeat(1024)]],
  ])("counts names as one that differ in %s", async (_name, names) => {
    const account = (req: Request): string => decodeURIComponent(String(req.headers["x-account"]));
    const app = express();
    const security = applySecurity(app, {
      debug: true,
      rateLimit: false,
      loginLimits: { accountAndAddress: { limit: 3 } },
    });
    closing.push(() => security.close());
    app.post("/login", security.loginGuard({ account }), (_req, res) => void res.sendStatus(401));
    const server = await serve(app);
    servers.push(server);
    const seen: number[] = [];
    for (const name of [...names, names[0]!])
      seen.push(
        (await server.send("/login", { method: "POST", headers: { "x-account": encodeURIComponent(name) } })).status,
      );
    expect(seen).toEqual([401, 401, 401, 429]);
  });

  it("an account function that fails counts the attempt all the same, and one event says so", async () => {
    const { events, server, security } = await start();
    const app = express();
    const inner = applySecurity(app, { debug: true, rateLimit: false, loginLimits: { address: { limit: 2 } } });
    closing.push(() => inner.close());
    const reasons: unknown[] = [];
    inner.events.on("portcullis_misconfigured", ({ reason }) => reasons.push(reason));
    app.post(
      "/login",
      inner.loginGuard({ account: (req) => (req.body as { user: string }).user }),
      (_req, res) => void res.sendStatus(401),
    );
    const own = await serve(app);
    servers.push(own);
    const seen: number[] = [];
    for (let n = 0; n < 3; n += 1) seen.push((await own.send("/login", { method: "POST" })).status);
    expect([seen, reasons]).toEqual([[401, 401, 429], ["account-function-threw"]]);
    expect([events.length > 0, server !== own, security !== inner]).toEqual([true, true, true]);
  });

  it("a flood of invented names refuses no other account, and no other limit", async () => {
    const app = express();
    const security = applySecurity(app, {
      debug: true,
      rateLimit: { limit: 1_000_000, maxClients: 100 },
      loginLimits: {
        address: { limit: 1_000_000 },
        accountAndAddress: { limit: 5 },
        account: { limit: 100_000 },
        maxConsecutiveFailures: 5,
      },
    });
    closing.push(() => security.close());
    const account = (req: Request): string => String(req.headers["x-account"]);
    app.post("/login", security.loginGuard({ account }), (_req, res) => void res.sendStatus(401));
    app.get(
      "/other",
      security.rateLimit({ name: "other", limit: 1, key: "address" }),
      (_req, res) => void res.send("ok"),
    );
    const server = await serve(app);
    servers.push(server);
    const login = async (who: string) =>
      (await server.send("/login", { method: "POST", headers: { "x-account": who } })).status;
    for (let n = 0; n < 400; n += 1) await login(`invented-${n}`);
    // No room for a run of failures of its own: it is not counted, rather than together with others.
    for (let n = 0; n < 3; n += 1)
      expect(await security.limits.peek("login-consecutive", `honest-${n}`)).toMatchObject({ used: 0 });
    expect([(await server.send("/other")).status, (await server.send("/other")).status]).toEqual([200, 429]);
  });

  it("loginFailed names the reason in one event, and refuses a reason that is no label", async () => {
    const { status, events, security } = await start();
    await status("ada", "x");
    const failed = events.filter(({ event }) => event === "authn_login_fail");
    expect(failed).toMatchObject([
      { source: "login", reason: "wrong-password", subject: "ada", sourceIp: "192.0.2.1", path: "/login" },
    ]);
    for (const reason of ["", "no spaces", "x".repeat(65), 5 as never, undefined as never])
      expect(() => security.loginFailed({ headers: {}, url: "/", socket: {} } as never, { reason })).toThrow(
        InvalidInputError,
      );
  });

  it.each([
    [{}, "wrong-value account"],
    [{ account: "user" }, "account"],
    [{ account: () => "", name: "x" }, "unknown-setting name"],
  ])("refuses the options %j", async (options, expected) => {
    const { security } = await start();
    let error: unknown;
    try {
      security.loginGuard(options as never);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SettingsError);
    expect((error as SettingsError).issues.map(({ code, path }) => `${code} ${path}`).join()).toContain(expected);
  });
});
