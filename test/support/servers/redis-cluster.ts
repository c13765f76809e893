import type { RunningServer } from "./process.js";
import { redisSays, startRedis } from "./redis.js";
import { waitUntil } from "./wait.js";

export interface RedisCluster {
  /** Masters first, then their replicas in the same order. */
  readonly nodes: readonly RunningServer[];
  readonly urls: readonly string[];
  close(): Promise<void>;
}

const SLOTS = 16_384;
const MASTERS = 3;
/** Shortest time after which a silent node is failed over, in milliseconds. */
const NODE_TIMEOUT_MS = 1000;

/** Three masters with all slots; with `replicas: 1` each has one that takes over about two seconds after its master died. */
export async function startRedisCluster(options: { replicas?: 0 | 1 } = {}): Promise<RedisCluster> {
  const count = MASTERS * (1 + (options.replicas ?? 0));
  const args = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    String(NODE_TIMEOUT_MS),
    "--cluster-replica-validity-factor",
    "0",
  ];
  const nodes = await Promise.all(Array.from({ length: count }, () => startRedis({ args })));
  const close = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.close()));
  };
  try {
    await join(nodes);
    return { nodes, urls: nodes.map(({ url }) => url), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function join(nodes: readonly RunningServer[]): Promise<void> {
  const ids: string[] = [];
  for (const [index, node] of nodes.entries()) {
    await expectOk(node.port, `CLUSTER SET-CONFIG-EPOCH ${index + 1}`);
    if (index < MASTERS) {
      const from = Math.floor((index * SLOTS) / MASTERS);
      const to = Math.floor(((index + 1) * SLOTS) / MASTERS) - 1;
      await expectOk(node.port, `CLUSTER ADDSLOTSRANGE ${from} ${to}`);
    }
    ids.push((await redisSays(node.port, "CLUSTER MYID")).split("\r\n")[1] ?? "");
  }
  const first = nodes[0];
  if (first === undefined) return;
  for (const node of nodes.slice(1))
    await expectOk(node.port, `CLUSTER MEET 127.0.0.1 ${first.port} ${await busPort(first)}`);
  for (const node of nodes)
    await waitUntil(
      async () => (await redisSays(node.port, "CLUSTER INFO")).includes(`cluster_known_nodes:${nodes.length}`),
      "every node knows every other",
    );
  for (const [index, node] of nodes.slice(MASTERS).entries())
    await expectOk(node.port, `CLUSTER REPLICATE ${ids[index] ?? ""}`);
  for (const node of nodes)
    await waitUntil(
      async () => (await redisSays(node.port, "CLUSTER INFO")).includes("cluster_state:ok"),
      "the cluster is up",
    );
  for (const node of nodes.slice(MASTERS))
    await waitUntil(
      async () => (await redisSays(node.port, "INFO replication")).includes("master_link_status:up"),
      "the replicas are in step",
    );
  for (const node of nodes.slice(0, MASTERS)) {
    await waitUntil(
      async () =>
        !(await redisSays(node.port, "CLUSTER NODES")).includes("handshake") &&
        replicasSeen(await redisSays(node.port, "CLUSTER NODES")) === nodes.length - MASTERS,
      "every master knows the replicas",
    );
  }
}

function replicasSeen(nodes: string): number {
  return nodes.split("\n").filter((line) => / (myself,)?slave /.test(line)).length;
}

async function busPort(node: RunningServer): Promise<string> {
  const port = /cluster-port\r\n\$\d+\r\n(\d+)/.exec(await redisSays(node.port, "CONFIG GET cluster-port"))?.[1];
  if (port === undefined) throw new Error("Redis 7 or later is needed for the cluster tests.");
  return port;
}

async function expectOk(port: number, command: string): Promise<void> {
  const answer = await redisSays(port, command);
  if (!answer.startsWith("+OK")) throw new Error(`${command}: ${answer}`);
}
