import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { requireBinary } from "./binaries.js";
import { type RunningServer, startServer } from "./process.js";
import { redisSays, startRedis } from "./redis.js";
import { waitUntil } from "./wait.js";

export interface RedisSentinel {
  readonly sentinels: readonly RunningServer[];
  readonly master: RunningServer;
  readonly replica: RunningServer;
  readonly masterName: string;
  close(): Promise<void>;
}

const MASTER_NAME = "portcullis";

/** A master, a replica in step with it, and three sentinels that fail over about a second after the master fell silent. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const servers: RunningServer[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.close()));
  };
  try {
    const master = await startRedis();
    servers.push(master);
    const replica = await startRedis({ args: ["--replicaof", `127.0.0.1 ${master.port}`] });
    servers.push(replica);
    const sentinels = await Promise.all([0, 1, 2].map(() => startSentinel(master.port)));
    servers.push(...sentinels);
    await waitUntil(
      async () => (await redisSays(replica.port, "INFO replication")).includes("master_link_status:up"),
      "the replica is in step",
    );
    for (const { port } of sentinels) {
      await waitUntil(
        async () => /slaves=1,sentinels=3/.test(await redisSays(port, "INFO sentinel")),
        "every sentinel knows the others and the replica",
      );
    }
    return { sentinels, master, replica, masterName: MASTER_NAME, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function startSentinel(masterPort: number): Promise<RunningServer> {
  const file = requireBinary("redis", "redis-server");
  return startServer({
    name: "sentinel",
    prepare: async (folder) => {
      const lines = [
        `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${masterPort} 2`,
        `sentinel down-after-milliseconds ${MASTER_NAME} 500`,
        `sentinel failover-timeout ${MASTER_NAME} 2000`,
        `sentinel parallel-syncs ${MASTER_NAME} 1`,
      ];
      writeFileSync(join(folder, "sentinel.conf"), `${lines.join("\n")}\n`);
      return Promise.resolve();
    },
    command: (folder, port) => ({
      file,
      args: [
        join(folder, "sentinel.conf"),
        "--sentinel",
        "--port",
        String(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        folder,
      ],
    }),
    probe: async (port) => {
      if (!(await redisSays(port, "PING")).startsWith("+PONG")) throw new Error("not ready");
    },
    url: (port) => `redis://127.0.0.1:${port}`,
  });
}
