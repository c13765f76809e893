import { describe, expect, test } from "vitest";
import { REDIS_PACKAGES } from "../support/redis-clients.js";
import { redisSays, type RunningServer, startRedisSentinel } from "../support/servers.js";
import { appPair } from "./app-pair.js";
import { type Fault, outage } from "./outage.js";
import { redisDo } from "./redis-faults.js";
import { stackApp } from "./stack-app.js";

const DURING = { limiter: [], session: [503], key: [], token: [503] };

function killed(master: RunningServer, name: string): Fault {
  return { name, begin: () => master.kill(), end: () => undefined, lastsMs: 600 };
}

describe("the whole stack when Sentinel makes another server the master", () => {
  test.each(REDIS_PACKAGES.map((client) => [client.name, client] as const))(
    "%s: it works again by itself, and processes tell each other",
    async (name, client) => {
      const redis = await startRedisSentinel();
      const pair = await appPair(() => client.sentinel(redis));
      try {
        await pair.expectTogether();
        await outage(
          pair.a.server.port,
          pair.a.events,
          pair.a.targets,
          killed(redis.master, `Redis: Sentinel fail-over (${name})`),
          { during: DURING, announcedBy: ["redis"] },
        );
        expect(await redisSays(redis.replica.port, "INFO replication")).toContain("role:master");
        const { keyMs, tokenMs } = await pair.expectTogether();
        process.stdout.write(
          `after | ${name} | a revoked key known after ${keyMs.toFixed(0)} ms, a token after ${tokenMs.toFixed(0)} ms\n`,
        );
        await expect
          .poll(() => pair.b.events.map(({ event, source }) => `${event} ${source}`), { timeout: 5000 })
          .toEqual(["portcullis_store_unavailable redis", "portcullis_store_recovered redis"]);
      } finally {
        await pair.close();
        await redis.close();
      }
    },
  );

  test("an acknowledged revocation that the new master never got is recorded again", async () => {
    const client = REDIS_PACKAGES.find(({ name }) => name === "node-redis 6");
    if (client === undefined) throw new Error("no such package");
    const redis = await startRedisSentinel();
    const pair = await appPair(() => client.sentinel(redis));
    const revocations = async ({ port }: RunningServer): Promise<string> =>
      redisSays(port, `ZCARD ${pair.prefix}{changes}:denied`);
    try {
      const { accessToken } = await pair.a.jwt.issue("ada");
      const { jti = "" } = await pair.a.jwt.verifyAccessToken(accessToken);
      // The replica may no longer log in, so that nothing of what follows reaches it.
      await redisDo(redis.replica, "CONFIG SET masterauth wrong");
      await redisDo(redis.master, "CLIENT KILL TYPE replica");
      await pair.a.jwt.revokeToken(jti);
      expect(await revocations(redis.master)).toMatch(/^:1/);
      expect(await revocations(redis.replica)).toMatch(/^:0/);
      await outage(
        pair.a.server.port,
        pair.a.events,
        pair.a.targets,
        killed(redis.master, "Redis: Sentinel fail-over, writes lost"),
        { during: DURING, announcedBy: ["redis"] },
      );
      expect(await revocations(redis.replica)).toMatch(/^:1/);
      await expect(pair.b.jwt.verifyAccessToken(accessToken)).rejects.toMatchObject({ code: "revoked" });
      // A process that starts now, and has no database to learn it from.
      const app = await client.sentinel(redis);
      const third = await stackApp(app.client, "sqlite::memory:", pair.prefix);
      await expect(third.jwt.verifyAccessToken(accessToken)).rejects.toMatchObject({ code: "revoked" });
      await third.close();
      await app.close();
    } finally {
      await pair.close();
      await redis.close();
    }
  });
});
