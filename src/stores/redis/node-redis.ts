import { SetupError } from "../../core/setup-error.js";
import {
  wrapRedisErrors,
  disposeAll,
  evalWithReload,
  type RedisConnection,
  type RedisLink,
  type RedisListener,
  type RedisReply,
  type RedisScript,
  subscribed,
} from "./connection.js";
import { retryDelay } from "./retry-delay.js";

interface ScriptArguments {
  keys: string[];
  arguments: string[];
}

type MessageListener = (message: string) => void;

/** The part of node-redis' clients in use, common to plain, Cluster and Sentinel clients. */
interface AnyNodeRedis {
  readonly isOpen: boolean;
  withTypeMapping(mapping: object): AnyNodeRedis;
  evalSha(sha: string, options: ScriptArguments): Promise<unknown>;
  eval(source: string, options: ScriptArguments): Promise<unknown>;
  sendCommand(...args: unknown[]): Promise<unknown>;
  publish(channel: string, message: string): Promise<unknown>;
  subscribe(channel: string, listener: MessageListener): Promise<unknown>;
  unsubscribe(channel: string, listener: MessageListener): Promise<unknown>;
  /** node-redis 6 prepends it to the keys of its own commands, but not to those of `sendCommand`. */
  readonly _keyPrefix?: unknown;
}

interface NodeRedisClient extends AnyNodeRedis {
  readonly options?: { readonly socket?: object } | undefined;
  duplicate(overrides: object): NodeRedisClient;
  connect(): Promise<unknown>;
  destroy(): void;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/**
 * An app may have set its client to return Buffers or Maps; node-redis 5 asks the original client, not
 * `withTypeMapping`'s.
 */
const PLAIN_ANSWERS = Object.freeze({ typeMapping: Object.freeze({}) });

type Kind = "client" | "cluster" | "sentinel";

/** Whether a value is a client of node-redis 5 or later (version 4 has no `withTypeMapping`). */
export function isNodeRedis(value: object): boolean {
  const client = value as Partial<AnyNodeRedis>;
  return [client.withTypeMapping, client.evalSha, client.eval, client.sendCommand, client.publish].every(
    (method) => typeof method === "function",
  );
}

function kindOf(client: object): Kind {
  if ("nodeClient" in client) return "cluster";
  return "getSentinelNode" in client ? "sentinel" : "client";
}

/** @param value a value that `isNodeRedis` accepted. This does not close it. */
export function nodeRedisConnection(value: object): RedisConnection {
  const given = value as AnyNodeRedis;
  const kind = kindOf(value);
  // An app may have set its client to return Buffers or Maps.
  const client = given.withTypeMapping({});
  const prefix = typeof given._keyPrefix === "string" ? given._keyPrefix : "";
  const disposers = new Set<() => Promise<void>>();

  function send(words: readonly string[]): Promise<unknown> {
    if (kind === "cluster") return client.sendCommand(words[1], false, words);
    return kind === "sentinel" ? client.sendCommand(false, words) : client.sendCommand(words);
  }

  /** With a plain client, `sendCommand` costs two promises less than `evalSha`. */
  function evalSha(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<unknown> {
    if (kind !== "client" || (given._keyPrefix !== undefined && typeof given._keyPrefix !== "string")) {
      return client.evalSha(script.sha, { keys: keys as string[], arguments: args as string[] });
    }
    const prefixed = prefix === "" ? keys : keys.map((key) => prefix + key);
    return client.sendCommand(["EVALSHA", script.sha, String(keys.length), ...prefixed, ...args], PLAIN_ANSWERS);
  }

  async function command(name: string, ...args: readonly string[]): Promise<RedisReply> {
    const [key, ...rest] = args;
    return (await wrapRedisErrors(() =>
      send(key === undefined ? [name] : [name, prefix + key, ...rest]),
    )) as RedisReply;
  }

  async function subscribe(channel: string, listener: RedisListener): Promise<() => Promise<void>> {
    return subscribed(
      kind === "client" ? ownLink(value as NodeRedisClient, channel, listener) : sharedLink(given, channel, listener),
      disposers,
    );
  }

  return {
    library: "node-redis",
    isCluster: kind === "cluster",
    eval(script: RedisScript, keys, args) {
      return evalWithReload(evalSha(script, keys, args), () =>
        client.eval(script.source, { keys: keys as string[], arguments: args as string[] }),
      );
    },
    command,
    publish: async (channel, message) => {
      await wrapRedisErrors(() => client.publish(channel, message));
    },
    subscribe,
    ready: async () => {
      if (!given.isOpen)
        throw new SetupError("The node-redis client is not connected. Call `await client.connect()` before `ready()`.");
      await command("PING");
    },
    close: () => disposeAll(disposers),
  };
}

/** Cluster and Sentinel clients keep a connection of their own for subscriptions. */
function sharedLink(client: AnyNodeRedis, channel: string, listener: RedisListener): RedisLink {
  const onMessage = (message: string): void => listener.message(message);
  return {
    subscribed: client.subscribe(channel, onMessage),
    end: async () => {
      if (client.isOpen) await client.unsubscribe(channel, onMessage);
    },
  };
}

/** A second client with the options of the first: with RESP2 a subscribed client can do nothing else. */
function ownLink(client: NodeRedisClient, channel: string, listener: RedisListener): RedisLink {
  const link = client.duplicate({
    // Without this, a silent connection would be noticed only when the kernel gives up, after minutes.
    pingInterval: 1000,
    // node-redis' own strategy never reconnects after such a timeout.
    socket: { ...client.options?.socket, socketTimeout: 3000, reconnectStrategy: retryDelay },
    disableOfflineQueue: false,
  });
  // Without a listener, an error of the connection would end the process; the client reconnects by itself.
  link.on("error", () => undefined);
  const begin = async (): Promise<void> => {
    await link.connect();
    await link.subscribe(channel, (message) => listener.message(message));
    // Emitted after reconnecting and subscribing again.
    link.on("ready", () => listener.gap?.());
  };
  const subscribed = begin();
  return {
    subscribed,
    end: async () => {
      if (link.isOpen) link.destroy();
    },
  };
}
