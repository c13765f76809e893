import { inspect } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { SettingsError } from "../../../src/settings/errors.js";
import { SetupError } from "../../../src/core/setup-error.js";
import { openRedis, type RedisConnection, redisScript } from "../../../src/stores/redis/client.js";
import { importPackage } from "../../../src/stores/optional-package.js";
import type { LoadPackage } from "../../../src/stores/redis/own-client.js";
import { REDIS_PACKAGES } from "../../support/redis-clients.js";
import { redisSays, type RunningServer, startRedis, uniqueName } from "../../support/servers.js";

let server: RunningServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.close());

const ADD = redisScript("return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1]}");

async function until(done: () => boolean): Promise<void> {
  for (const end = Date.now() + 5000; !done();) {
    if (Date.now() > end) throw new Error("waited in vain");
    await sleep(10);
  }
}

/** What every connection does, whoever made the client. */
async function exercise(redis: RedisConnection): Promise<void> {
  const key = uniqueName();
  await redis.ready();
  expect(await redis.eval(ADD, [key], ["2"])).toEqual([2, key]);
  await redis.command("SET", `${key}:x`, "välue", "PX", "60000");
  expect(await redis.command("GET", `${key}:x`)).toBe("välue");
  expect(await redis.command("GET", `${key}:none`)).toBeNull();
  const heard: string[] = [];
  const end = await redis.subscribe(key, { message: (message) => heard.push(message) });
  await redis.publish(key, "one");
  await redis.publish(`${key}:other`, "no");
  await until(() => heard.length === 1);
  await end();
  await redis.publish(key, "two");
  await sleep(20);
  expect(heard).toEqual(["one"]);
}

const only =
  (...names: string[]): LoadPackage =>
  async (name) => {
    if (names.includes(name)) return importPackage(name);
    throw Object.assign(new Error(`Cannot find package '${name}'`), { code: "ERR_MODULE_NOT_FOUND" });
  };

describe.each([
  { name: "node-redis", load: only("redis", "ioredis") },
  { name: "ioredis", load: only("ioredis") },
])("a redis: URL through $name", ({ name, load }) => {
  const open: RedisConnection[] = [];
  afterEach(async () => {
    for (const redis of open.splice(0)) await redis.close();
  });
  const openUrl = (url: string, readyTimeoutMs?: number): RedisConnection => {
    const redis = openRedis(url, { load, ...(readyTimeoutMs === undefined ? {} : { readyTimeoutMs }) });
    open.push(redis);
    return redis;
  };

  it("connects, evaluates, commands, publishes and subscribes", async () => {
    const redis = openUrl(server.url);
    await exercise(redis);
    expect(redis.library).toBe(name);
    await redis.close();
    await expect(redis.command("PING")).rejects.toThrow(SetupError);
  });

  it("lets calls before the connection wait for the first attempt", async () => {
    expect(await openUrl(server.url).command("PING")).toBe("PONG");
  });

  it("sends a script again that the server has forgotten", async () => {
    const redis = openUrl(server.url);
    const key = uniqueName();
    await redis.eval(ADD, [key], ["1"]);
    await redis.command("SCRIPT", "FLUSH");
    expect(await redis.eval(ADD, [key], ["1"])).toEqual([2, key]);
  });

  it("fails at once while the server is away, and works by itself when it is back", async () => {
    const own = await startRedis();
    try {
      const redis = openUrl(own.url);
      await redis.ready();
      await own.kill();
      await sleep(50);
      const before = performance.now();
      await expect(redis.command("PING")).rejects.toThrow();
      expect(performance.now() - before).toBeLessThan(100);
      await own.restart();
      await redis.ready();
      expect(await redis.command("PING")).toBe("PONG");
    } finally {
      await own.close();
    }
  });

  it("renews a subscription that was cut off, and reports the gap", async () => {
    const redis = openUrl(server.url);
    await redis.ready();
    const channel = uniqueName();
    const heard: string[] = [];
    let gaps = 0;
    await redis.subscribe(channel, { message: (message) => heard.push(message), gap: () => (gaps += 1) });
    expect(gaps).toBe(0);
    await redisSays(server.port, "CLIENT KILL TYPE pubsub");
    await until(() => gaps === 1);
    await redis.publish(channel, "after");
    await until(() => heard.length === 1);
  });

  it("makes ready() reject with the reason, without the password", async () => {
    const locked = await startRedis({ args: ["--requirepass", "right"] });
    try {
      const redis = openUrl(locked.url.replace("//", "//default:hunter2@"), 300);
      const error = await redis.ready().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(SetupError);
      expect(inspect(error, { depth: 9, showHidden: true })).toMatch(/WRONGPASS/);
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("hunter2");
    } finally {
      await locked.close();
    }
  });
});

describe.each(REDIS_PACKAGES)("an app's own client of $name", ({ plain }) => {
  it("supports all of it, and is not closed", async () => {
    const { client, close } = await plain(server.url);
    try {
      const redis = openRedis(client);
      await exercise(redis);
      const borrowed = openRedis(redis);
      await exercise(borrowed);
      await borrowed.close();
      await redis.close();
      await exercise(openRedis(client));
    } finally {
      await close();
    }
  });
});

it("openRedis() names the package to install when none is installed", async () => {
  const redis = openRedis("redis://user:hunter2@127.0.0.1:1", { load: only() });
  const error = await redis.command("PING").catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SetupError);
  expect((error as Error).message).toContain("npm install redis");
  expect(inspect(error, { depth: 9 })).not.toContain("hunter2");
  await redis.close();
});

it.each(["http://user:hunter2@localhost", "redis://user:hunter2@[::", "hunter2", 7, {}, new Map()])(
  "a value that is neither a URL nor a client is refused: %#",
  (value) => {
    let error: unknown;
    try {
      openRedis(value);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SettingsError);
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain("hunter2");
  },
);
