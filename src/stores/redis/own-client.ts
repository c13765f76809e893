import { SetupError } from "../../core/setup-error.js";
import { type RedisConnection, RedisError } from "./connection.js";
import { ioRedisConnection } from "./ioredis.js";
import { nodeRedisConnection } from "./node-redis.js";
import { retryDelay } from "./retry-delay.js";

/** Loads a package by name; passed in so that a test can be a machine on which one is missing. */
export type LoadPackage = (name: string) => Promise<Record<string, unknown>>;

/** The name is a variable so that neither the compiler nor a bundler wants an optional package to be there. */
export const importPackage: LoadPackage = async (name) =>
  (await import(/* @vite-ignore */ name)) as Record<string, unknown>;

/** A client made here, and how to end it. */
export interface OwnClient {
  readonly connection: RedisConnection;
  /** Resolves at the first answer of the server, or rejects at the first failure; the client goes on trying. */
  readonly firstAttempt: Promise<void>;
  /** What went wrong last. */
  lastError(): unknown;
  destroy(): Promise<void>;
}

/** A connection that hears nothing for this long is dead; it is dropped and made anew. */
const SILENCE_MS = 2000;
const CONNECT_MS = 2000;
const PING_EVERY_MS = 1000;

/**
 * A client of node-redis, or of ioredis when only that one is installed. While Redis is away its commands fail at once
 * instead of queueing up: what has been answered by a stand-in is not to be counted a second time later.
 *
 * @throws SetupError when neither package can be loaded, or the URL is not one to them
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
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

interface Emitter {
  once(event: string, listener: (...args: unknown[]) => void): unknown;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

function watch(client: Emitter): Pick<OwnClient, "firstAttempt" | "lastError"> {
  let last: unknown;
  // Without a listener an error would end the process. Outages are announced by whoever guards the store.
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
        // A command that may have been carried out is not sent again: it would count twice.
        autoResendUnfulfilledCommands: false,
        connectTimeout: CONNECT_MS,
        socketTimeout: SILENCE_MS,
        keepAlive: 5000,
        retryStrategy: retryDelay,
      }),
  );
  return { connection: ioRedisConnection(client), ...watch(client), destroy: async () => client.disconnect() };
}

/** Node's own "Invalid URL" error carries the URL, password and all, in a property. */
function withoutUrl<Client>(make: () => Client): Client {
  try {
    return make();
  } catch {
    throw new SetupError(
      "The redis: URL cannot be used. Write redis://user:password@host:6379/0, or rediss:// for TLS.",
    );
  }
}
