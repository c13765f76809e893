import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ManualClock } from "portcullis/testing";
import { SESSION_METADATA } from "../../../../src/stores/contracts.js";
import { openRedis } from "../../../../src/stores/redis/client.js";
import type { RedisConnection } from "../../../../src/stores/redis/connection.js";
import { RedisSessionStore } from "../../../../src/stores/redis/sessions/store.js";
import { AskedSessionStore } from "../../../../src/testing/asked-session-store.js";
import { sharedRedis, uniqueName } from "../../../support/servers.js";

const HOUR = 3_600_000;

let redis: RedisConnection;
beforeAll(async () => {
  redis = openRedis((await sharedRedis()).url);
  await redis.ready();
});
afterAll(() => redis.close());

describe("sessions", () => {
  const open = (clock = new ManualClock(Date.now()), prefix = `${uniqueName()}:`) => {
    const store = new RedisSessionStore({ client: redis, prefix, clock });
    return { store, asked: new AskedSessionStore(store, clock), prefix, clock };
  };

  test('whose creation began before "log out everywhere" are ended by it', async () => {
    const { asked } = open();
    await asked.create("first", asked.data("ada"));
    const made = asked.create("second", asked.data("ada"));
    await asked.endAll("ada");
    await made;
    expect([await asked.get("first"), await asked.get("second")]).toEqual([null, null]);
  });

  test('of other processes are found by "log out everywhere" although the clock of one is ahead', async () => {
    const { asked, prefix } = open();
    await asked.create("mine", asked.data("ada", {}, 1_800_000));
    const ahead = open(new ManualClock(Date.now() + 2 * HOUR), prefix);
    await ahead.asked.create("theirs", ahead.asked.data("ada", {}, 1_800_000));
    expect(await asked.ids("ada")).toEqual(["mine", "theirs"]);
    await asked.endAll("ada");
    expect([await asked.get("mine"), await asked.get("theirs")]).toEqual([null, null]);
  });

  test("that hold another value do not exist, and are no outage", async () => {
    const { asked, prefix } = open();
    await asked.create("good", asked.data("ada"));
    const head = String(await redis.command("GETRANGE", `${prefix}session:good`, "0", "69"));
    for (const value of [
      "x",
      "",
      "{}",
      '{"cookie":{}}',
      head,
      `${head}{`,
      `${head}null`,
      `${head}7`,
      `${head}"text"`,
      `${head}[]`,
      `${head}{"cookie":"text"}`,
      `${head}{"cookie":{},"${SESSION_METADATA}":7}`,
      `${head}{"cookie":{},"${SESSION_METADATA}":"x"}`,
    ]) {
      await redis.command("SET", `${prefix}session:bad`, value, "PX", "60000");
      const found = await asked.get("bad");
      expect(found === null || typeof found?.["cookie"] === "object", value).toBe(true);
    }
    await redis.command(
      "SET",
      `${prefix}session:bad`,
      `${head}{"cookie":{},"__proto__":{"isAdmin":true}}`,
      "PX",
      "60000",
    );
    await asked.get("bad");
    expect(({} as Record<string, unknown>)["isAdmin"]).toBeUndefined();
    expect(await asked.get("good")).not.toBeNull();
  });

  test("belong to their own principal, whose id may be odd, long or similar to another", async () => {
    const { asked } = open();
    const principals = [
      "a",
      "A",
      "a ",
      "a\0",
      "\ud800",
      "\udfff",
      "{a}",
      "*",
      "",
      "x".repeat(65_536),
      "x".repeat(65_535),
    ];
    for (const [n, principal] of principals.entries()) await asked.create(`s${n}`, asked.data(principal));
    for (const [n, principal] of principals.entries())
      expect(await asked.ids(principal), JSON.stringify(principal).slice(0, 20)).toEqual([`s${n}`]);
    await asked.endAll("a");
    expect(await asked.ids("A")).toHaveLength(1);
  });

  test("that have ended are not restored by any mixture of writes by two processes", async () => {
    const { prefix, clock } = open();
    const stores = [0, 1].map(() => open(clock, prefix).asked) as [AskedSessionStore, AskedSessionStore];
    for (let round = 0; round < 30; round += 1) {
      const sid = `s${round}`;
      await stores[0].create(sid, stores[0].data("ada"));
      const writes = stores.flatMap((store) => [
        store.set(sid, store.data("ada")),
        store.replace(sid, store.data("ada")),
        store.touch(sid, store.data("ada")),
        store.create(sid, store.data("ada")),
      ]);
      await Promise.all([...writes.slice(0, round % 8), stores[1].destroy(sid), ...writes]);
      expect(await stores[0].get(sid)).toBeNull();
    }
    expect(await stores[0].ids("ada")).toEqual([]);
  });
});
