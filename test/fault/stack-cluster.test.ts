import { describe, expect, test } from "vitest";
import { REDIS_PACKAGES } from "../support/redis-clients.js";
import { redisSays, type RunningServer, startRedisCluster } from "../support/servers.js";
import { waitUntil } from "../support/servers/wait.js";
import { appPair } from "./app-pair.js";
import { outage } from "./outage.js";

const PACKAGES = REDIS_PACKAGES.filter(({ name }) => name === "node-redis 6" || name === "ioredis 6");

/** The master that has the key: each of the others says that it has MOVED. */
async function ownerOf(masters: readonly RunningServer[], key: string): Promise<RunningServer> {
  const answers = await Promise.all(masters.map(({ port }) => redisSays(port, `EXISTS ${key}`)));
  const owner = masters[answers.findIndex((answer) => answer.startsWith(":1"))];
  if (owner === undefined) throw new Error("no master has the record of changes");
  return owner;
}

/** Clients need up to six seconds to find the new master, and six servers have to start. */
const CLUSTER_TEST_MS = 40_000;

describe("the whole stack when a Cluster loses the master of the record of changes", () => {
  test.each(PACKAGES.map((client) => [client.name, client] as const))(
    "%s: it works again by itself, and processes tell each other",
    async (name, client) => {
      const cluster = await startRedisCluster({ replicas: 1 });
      const pair = await appPair(() => client.cluster(cluster));
      try {
        await pair.expectTogether();
        const owner = await ownerOf(cluster.nodes.slice(0, 3), `${pair.prefix}{changes}:state`);
        const replica = cluster.nodes[cluster.nodes.indexOf(owner) + 3];
        const isMaster = async (): Promise<boolean> =>
          (await redisSays(replica?.port ?? 0, "INFO replication")).includes("role:master");
        const fault = {
          name: `Redis: Cluster fail-over (${name})`,
          begin: () => owner.kill(),
          end: () => waitUntil(isMaster, "the replica is the master"),
          lastsMs: 600,
        };
        await outage(pair.a.server.port, pair.a.events, pair.a.targets, fault, {
          during: { limiter: [], session: [503], key: [], token: [503] },
          announcedBy: ["redis"],
        });
        const { keyMs, tokenMs } = await pair.expectTogether();
        await expect
          .poll(() => pair.b.events.map(({ event, source }) => `${event} ${source}`), { timeout: 5000 })
          .toEqual(["portcullis_store_unavailable redis", "portcullis_store_recovered redis"]);
        process.stdout.write(
          `after | ${name} | a revoked key known after ${keyMs.toFixed(0)} ms, a token after ${tokenMs.toFixed(0)} ms\n`,
        );
      } finally {
        await pair.close();
        await cluster.close();
      }
    },
    CLUSTER_TEST_MS,
  );
});
