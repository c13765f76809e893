import { Secret } from "../../core/secret.js";
import { SettingsError } from "../../settings/errors.js";
import { SetupError } from "../../core/setup-error.js";
import {
  disposeAll,
  type RedisConnection,
  RedisError,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./connection.js";
import { ioRedisConnection, isIoRedis } from "./ioredis.js";
import { isNodeRedis, nodeRedisConnection } from "./node-redis.js";
import { importPackage, type LoadPackage, openOwnClient, type OwnClient } from "./own-client.js";
import { whyRefused } from "./refused.js";

export {
  RedisError,
  redisScript,
  type RedisConnection,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./connection.js";

/** Settings of `openRedis`. */
export interface OpenRedisSettings {
  /** How long `ready()` waits for a server that does not answer, in milliseconds (default 5000). */
  readonly readyTimeoutMs?: number;
  /** Loads the package of the client, for tests. */
  readonly load?: LoadPackage;
}

/**
 * Begins to connect, and returns at once. Calls made during the first attempt wait for it. While Redis is unavailable
 * they reject at once, and the client reconnects in the background for as long as it takes.
 *
 * @param redis a `redis://` or `rediss://` URL; a client of node-redis 5 or 6 or ioredis 5 or 6, standalone, Sentinel
 * or Cluster, which the app still has to close; or a connection that this function returned
 * @throws SettingsError when it is none of these
 *
 * @example
 * ```ts
 * import { openRedis } from "portcullis/redis";
 *
 * const redis = openRedis("redis://localhost:6379");
 * await redis.ready();
 * await redis.close();
 * ```
 */
export function openRedis(redis: Secret | string | object, options: OpenRedisSettings = {}): RedisConnection {
  const value = redis instanceof Secret ? redis.reveal() : redis;
  if (typeof value === "string") return new UrlConnection(checkedUrl(value), options);
  if (typeof value !== "object" || value === null) throw wrong("wrong-type", "Redis must be a URL or a client.");
  if (isConnection(value)) return new BorrowedConnection(value);
  if (isIoRedis(value)) return ioRedisConnection(value);
  if (isNodeRedis(value)) return nodeRedisConnection(value);
  throw wrong("wrong-type", "This object is not a client of node-redis 5 or 6, or of ioredis 5 or 6.");
}

/** @throws SettingsError; its message never contains the URL */
function checkedUrl(url: string): string {
  if (!/^rediss?:\/\//i.test(url))
    throw wrong("wrong-value", "The Redis URL does not begin with redis:// or rediss://.");
  if (!URL.canParse(url))
    throw wrong("wrong-value", "The Redis URL is malformed; a password in it may need percent-encoding.");
  return url;
}

function wrong(code: "wrong-type" | "wrong-value", message: string): SettingsError {
  const remedy =
    "Write redis://user:password@host:6379/0 (rediss:// for TLS), or pass a connected client (required for Sentinel and Cluster).";
  return new SettingsError([{ code, path: "redis", message, remedy }]);
}

function isConnection(value: object): value is RedisConnection {
  const { eval: run, command, subscribe, ready } = value as Partial<RedisConnection>;
  return "library" in value && [run, command, subscribe, ready].every((method) => typeof method === "function");
}

/** A connection with another owner, which closes it. Closing this one ends only its own subscriptions. */
class BorrowedConnection implements RedisConnection {
  readonly #lender: RedisConnection;
  readonly #endings = new Set<() => Promise<void>>();
  #isClosed = false;

  constructor(lender: RedisConnection) {
    this.#lender = lender;
  }

  get library(): RedisConnection["library"] {
    return this.#lender.library;
  }

  get isCluster(): boolean {
    return this.#lender.isCluster;
  }

  eval(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<RedisReply> {
    return this.#lender.eval(script, keys, args);
  }

  command(name: string, ...args: readonly string[]): Promise<RedisReply> {
    return this.#lender.command(name, ...args);
  }

  publish(channel: string, message: string): Promise<void> {
    return this.#lender.publish(channel, message);
  }

  async subscribe(channel: string, listener: RedisListener): Promise<() => Promise<void>> {
    const end = await this.#lender.subscribe(channel, listener);
    if (this.#isClosed) {
      await end();
      throw closed();
    }
    this.#endings.add(end);
    return async () => {
      this.#endings.delete(end);
      await end();
    };
  }

  refused(error: unknown): void {
    this.#lender.refused?.(error);
  }

  ready(): Promise<void> {
    return this.#lender.ready();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return disposeAll(this.#endings);
  }
}

/** How often a new connection is tried while Redis is read-only, in milliseconds. */
const FIND_MASTER_EVERY_MS = 500;

/** A connection from a URL. The constructor loads the package and creates the client. */
class UrlConnection implements RedisConnection {
  readonly isCluster = false;
  readonly #readyTimeoutMs: number;
  readonly #opening: Promise<OwnClient>;
  /** Set once the first attempt to connect has succeeded or failed. */
  #client: OwnClient | undefined;
  #isClosed = false;
  readonly #openAnother: () => Promise<OwnClient>;
  /** Clients of servers that are no longer the master; their subscriptions are still in use. */
  readonly #retired: OwnClient[] = [];
  #nextSearch = 0;

  constructor(url: string, options: OpenRedisSettings) {
    this.#openAnother = () => openOwnClient(url, options.load ?? importPackage);
    this.#readyTimeoutMs = options.readyTimeoutMs ?? 5000;
    this.#opening = this.#openAnother();
    this.#opening
      .then(async (client) => {
        await client.firstAttempt.catch(() => undefined);
        this.#client = client;
      })
      // Every call on this connection rejects with the reason.
      .catch(() => undefined);
  }

  get library(): RedisConnection["library"] {
    return this.#client?.connection.library;
  }

  eval(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<RedisReply> {
    return this.#use((connection) => connection.eval(script, keys, args));
  }

  command(name: string, ...args: readonly string[]): Promise<RedisReply> {
    return this.#use((connection) => connection.command(name, ...args));
  }

  publish(channel: string, message: string): Promise<void> {
    return this.#use((connection) => connection.publish(channel, message));
  }

  subscribe(channel: string, listener: RedisListener): Promise<() => Promise<void>> {
    return this.#use((connection) => connection.subscribe(channel, listener));
  }

  async ready(): Promise<void> {
    const client = await this.#opening;
    const patience = AbortSignal.timeout(this.#readyTimeoutMs);
    await client.firstAttempt.catch(() => undefined);
    for (;;) {
      if (this.#isClosed) throw closed();
      try {
        await client.connection.ready();
        return;
      } catch (error) {
        const refusal = whyRefused(client.lastError());
        if (refusal !== undefined) throw new SetupError(refusal, { cause: client.lastError() });
        if (patience.aborted) {
          throw new SetupError(`Redis did not respond within ${this.#readyTimeoutMs} ms.`, {
            cause: client.lastError() ?? error,
          });
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const first = await this.#opening.catch(() => undefined);
    for (const client of [this.#client ?? first, ...this.#retired.splice(0)]) {
      await client?.connection.close();
      await client?.destroy();
    }
  }

  #use<T>(act: (connection: RedisConnection) => Promise<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(closed());
    const client = this.#client;
    if (client !== undefined) {
      const answer = act(client.connection);
      answer.catch((error: unknown) => this.refused(error));
      return answer;
    }
    return this.#opening.then(async (client) => {
      await client.firstAttempt.catch(() => undefined);
      if (this.#isClosed) throw closed();
      return act(client.connection);
    });
  }

  refused(error: unknown): void {
    // The next call rejects with the reason why no connection can be made, so ignore it here.
    if (error instanceof RedisError && error.code === "READONLY") this.#findMaster().catch(() => undefined);
  }

  /**
   * After a failover the URL's name may lead to the new master while this connection still leads to the old one, which
   * is now read-only. It is replaced only once another connection reaches a master; until then reads continue here.
   */
  async #findMaster(): Promise<void> {
    const from = this.#client;
    if (from === undefined || performance.now() < this.#nextSearch) return;
    this.#nextSearch = performance.now() + FIND_MASTER_EVERY_MS;
    const other = await this.#openAnother();
    try {
      await other.firstAttempt;
      const role = await other.connection.command("ROLE");
      if (Array.isArray(role) && role[0] === "master" && this.#client === from && !this.#isClosed) {
        this.#client = other;
        this.#retired.push(from);
        await from.destroy();
        return;
      }
    } catch {
      // Calls on the present connection report the failure.
    }
    await other.destroy();
  }
}

function closed(): SetupError {
  return new SetupError("This Redis connection has been closed.");
}
