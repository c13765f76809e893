import { createClient } from "redis";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import { RedisChangeSource } from "../../../src/stores/redis/changes/source.js";
import { openRedis } from "../../../src/stores/redis/client.js";
import { runChild } from "../children.js";
import { redisSays, sharedRedis, startRedis, uniqueName } from "../../support/servers.js";
import { program } from "../../support/programs.js";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

describe("closing", () => {
  const child = async (url: string, library: string) => {
    const ended = await runChild(await program("redis/closing-child"), [url, library]).ended;
    return { code: ended.code, out: ended.out.trim().split("\n"), err: ended.err };
  };

  test("a process that never reached Redis, or whose Redis stopped answering, ends by itself after close()", async () => {
    const [away, silent] = [await startRedis(), await startRedis()];
    ends.push(
      () => away.close(),
      () => silent.close(),
    );
    await away.kill();
    silent.pause();
    const cases = [away, silent].flatMap(({ url }) => ["redis", "ioredis"].map((library) => child(url, library)));
    for (const ended of await Promise.all(cases)) expect(ended).toEqual({ code: 0, out: ["closed", "ended"], err: "" });
  });

  test("an app's own client stays open, without any subscription or listener of this library", async () => {
    const { url } = await sharedRedis();
    const client = await createClient({ url }).connect();
    ends.push(() => client.destroy());
    const listeners = () => client.eventNames().map((name) => [name, client.listenerCount(name as "error")]);
    const before = listeners();
    const prefix = `${uniqueName()}:`;
    for (let n = 0; n < 5; n += 1) {
      const feed = new ChangeFeed(
        new RedisChangeSource(openRedis(client), { prefix, clock: systemClock }),
        createRuntime(),
      );
      await Promise.all([feed.start(), feed.start()]);
      await Promise.all([feed.close(), feed.close()]);
    }
    expect(listeners()).toEqual(before);
    expect(client.isOpen).toBe(true);
    const port = Number(new URL(url).port);
    await expect
      .poll(() => redisSays(port, `PUBSUB NUMSUB ${prefix}{changes}:told`), { timeout: 2000 })
      .toMatch(/:0\r\n/);
  });
});
