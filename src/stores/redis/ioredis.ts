import {
  wrapRedisErrors,
  disposeAll,
  evalWithReload,
  type RedisConnection,
  type RedisLink,
  type RedisListener,
  type RedisReply,
  redisScript,
  subscribed,
} from "./connection.js";
import { LateAnswerError, withTimeout } from "../health/timeout.js";

/** The part of ioredis in use, common to `Redis` (standalone and Sentinel) and `Cluster`. */
interface IoRedis {
  readonly status: string;
  readonly isCluster?: boolean;
  readonly options?: { readonly scaleReads?: unknown };
  connect(): Promise<unknown>;
  duplicate(...overrides: unknown[]): IoRedis;
  evalsha(...args: unknown[]): Promise<unknown>;
  eval(...args: unknown[]): Promise<unknown>;
  call(name: string, ...args: unknown[]): Promise<unknown>;
  publish(channel: string, message: string): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  disconnect(reconnect?: boolean): void;
}

/**
 * Runs any command as a script. A Cluster client with `scaleReads` sends reads to replicas, which lag: they could still
 * return a session after its log-out, or a change log without the last revocation. Scripts go to the master.
 */
const COMMAND = redisScript("return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))");

/** How long a link may take to answer a PING, in milliseconds. */
const PING_MS = 3000;

export function isIoRedis(value: object): boolean {
  const client = value as Partial<IoRedis>;
  return (
    typeof client.status === "string" &&
    [client.call, client.evalsha, client.eval, client.publish, client.duplicate].every(
      (method) => typeof method === "function",
    )
  );
}

/** @param value a value that `isIoRedis` accepted. This does not close it. */
export function ioRedisConnection(value: object): RedisConnection {
  const client = value as IoRedis;
  const isCluster = client.isCluster === true;
  const readsReplicas = isCluster && (client.options?.scaleReads ?? "master") !== "master";
  const disposers = new Set<() => Promise<void>>();
  const run: RedisConnection["eval"] = (script, keys, args) =>
    evalWithReload(client.evalsha(script.sha, keys.length, ...keys, ...args), () =>
      client.eval(script.source, keys.length, ...keys, ...args),
    );
  return {
    library: "ioredis",
    isCluster,
    eval: run,
    command: async (name, ...args) => {
      const [key, ...rest] = args;
      if (!readsReplicas || key === undefined)
        return (await wrapRedisErrors(() => client.call(name, ...args))) as RedisReply;
      return run(COMMAND, [key], [name, ...rest]);
    },
    publish: async (channel, message) => {
      await wrapRedisErrors(() => client.publish(channel, message));
    },
    subscribe: async (channel, listener) => subscribed(ownLink(client, isCluster, channel, listener), disposers),
    ready: async () => {
      await wrapRedisErrors(() => client.call("PING"));
    },
    close: () => disposeAll(disposers),
  };
}

/** A second client with the options of the first: a subscribed client can do nothing else. */
function ownLink(client: IoRedis, isCluster: boolean, channel: string, listener: RedisListener): RedisLink {
  // Its offline queue keeps the first SUBSCRIBE until it is connected.
  const overrides = { enableOfflineQueue: true, maxRetriesPerRequest: null, lazyConnect: false, autoResubscribe: true };
  const link = isCluster ? client.duplicate([], overrides) : client.duplicate(overrides);
  link.on("error", () => undefined);
  let isOpen = true;
  link.on("message", (from, message) => {
    if (isOpen && from === channel && typeof message === "string") listener.message(message);
  });
  const probe = setInterval(() => void probeLink(link, isCluster), 1000);
  const end = async (): Promise<void> => {
    isOpen = false;
    clearInterval(probe);
    link.disconnect();
  };
  const begin = async (): Promise<void> => {
    await link.subscribe(channel);
    link.on("ready", () => {
      // "ready" comes before ioredis has subscribed again; the answer to another SUBSCRIBE shows that it has.
      void link.subscribe(channel).then(
        () => listener.gap?.(),
        () => undefined,
      );
    });
  };
  return { subscribed: begin(), end };
}

/**
 * Without this, a silent connection would be noticed only when the kernel gives up, after minutes; an unanswered PING
 * ends it sooner.
 */
async function probeLink(link: IoRedis, isCluster: boolean): Promise<void> {
  if (link.status !== "ready" || isCluster) return;
  try {
    await withTimeout(link.call("PING"), PING_MS);
  } catch (error) {
    // After any other failure ioredis reconnects by itself.
    if (error instanceof LateAnswerError && link.status === "ready") link.disconnect(true);
  }
}
