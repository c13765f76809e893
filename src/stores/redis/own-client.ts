import { SetupError } from "../../core/setup-error.js";
import { isMissingPackage } from "../optional-package.js";
import { type RedisConnection, RedisError } from "./connection.js";
import { ioRedisConnection } from "./ioredis.js";
import { nodeRedisConnection } from "./node-redis.js";
import { retryDelay } from "./retry-delay.js";

/** Loads a package by name; a parameter, so that tests can simulate a machine without the package. */
export type LoadPackage = (name: string) => Promise<Record<string, unknown>>;

/** A client created here, and how to end it. */
export interface OwnClient {
  readonly connection: RedisConnection;
  /** Resolves at the first answer of the server, or rejects at the first failure; the client keeps trying. */
  readonly firstAttempt: Promise<void>;
  /** The most recent error. */
  lastError(): unknown;
  destroy(): Promise<void>;
}

/** A connection that receives nothing for this long is dead; the client drops it and reconnects. */
const SILENCE_MS = 2000;
const CONNECT_MS = 2000;
const PING_EVERY_MS = 1000;

/**
 * A client of node-redis, or of ioredis when only that one is installed. While Redis is unavailable its commands fail
 * at once instead of queueing: a request that a fallback has answered must not be counted a second time later.
 *
 * @throws SetupError when neither package can be loaded, or they do not accept the URL
 */
export async function openOwnClient(url: string, load: LoadPackage): Promise<OwnClient> {
  const redis = await attempt(load, "redis");
  if (redis !== undefined) return openNodeRedis(redis, url);
  const ioredis = await attempt(load, "ioredis");
  if (ioredis !== undefined) return openIoRedis(ioredis, url);
  throw new SetupError(
    "A redis: URL needs the package redis (node-redis), which is not installed. Install it with: npm install redis",
  );
}

async function attempt(load: LoadPackage, name: string): Promise<Record<string, unknown> | undefined> {
  try {
    return await load(name);
  } catch (error) {
    if (isMissingPackage(error, name)) return undefined;
    throw error;
  }
}

interface Emitter {
  once(event: string, listener: (...args: unknown[]) => void): unknown;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

function watch(client: Emitter): Pick<OwnClient, "firstAttempt" | "lastError"> {
  let last: unknown;
  // Without a listener an error would end the process. The guard of the store announces outages.
  client.on("error", (error) => (last = new RedisError(error)));
  const firstAttempt = new Promise<void>((resolve, reject) => {
    client.once("ready", () => resolve());
    client.once("error", (error) => reject(new RedisError(error)));
  });
  firstAttempt.catch(() => undefined);
  return { firstAttempt, lastError: () => last };
}

function openNodeRedis(redis: Record<string, unknown>, url: string): OwnClient {
  const createClient = redis.createClient as (
    options: object,
  ) => Emitter & { connect(): Promise<unknown>; readonly isOpen: boolean; destroy(): void };
  const client = withoutUrl(() =>
    createClient({
      url,
      disableOfflineQueue: true,
      pingInterval: PING_EVERY_MS,
      socket: { connectTimeout: CONNECT_MS, socketTimeout: SILENCE_MS, reconnectStrategy: retryDelay },
    }),
  );
  const watched = watch(client);
  client.connect().catch(() => undefined);
  return {
    connection: nodeRedisConnection(client),
    ...watched,
    destroy: async () => {
      if (client.isOpen) client.destroy();
    },
  };
}

function openIoRedis(ioredis: Record<string, unknown>, url: string): OwnClient {
  const Redis = (ioredis.Redis ?? ioredis.default) as new (
    url: string,
    options: object,
  ) => Emitter & { disconnect(): void };
  const client = withoutUrl(
    () =>
      new Redis(url, {
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        // Never resend a command that Redis may have executed: it would count twice.
        autoResendUnfulfilledCommands: false,
        connectTimeout: CONNECT_MS,
        socketTimeout: SILENCE_MS,
        keepAlive: 5000,
        retryStrategy: retryDelay,
      }),
  );
  return { connection: ioRedisConnection(client), ...watch(client), destroy: async () => client.disconnect() };
}

/** Node's own "Invalid URL" error contains the URL in a property, including the password. */
function withoutUrl<Client>(make: () => Client): Client {
  try {
    return make();
  } catch {
    throw new SetupError(
      "The Redis client rejected the URL. Write redis://user:password@host:6379/0 (rediss:// for TLS).",
    );
  }
}
