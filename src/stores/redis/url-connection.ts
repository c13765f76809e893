import { SetupError } from "../../core/setup-error.js";
import { classifyDriverError } from "../health/driver-errors.js";
import {
  connectionClosed,
  RedisError,
  type RedisConnection,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./connection.js";
import { importPackage } from "../optional-package.js";
import { type LoadPackage, openOwnClient, type OwnClient } from "./own-client.js";
import { parseUrl } from "../../settings/parse-url.js";
import { refusalReason } from "./refused.js";

/** Settings of `openRedis`. */
export interface OpenRedisSettings {
  /** How long `ready()` waits for a server that does not answer, in milliseconds (default 5000). */
  readonly readyTimeoutMs?: number;
  /** Loads the package of the client, for tests. */
  readonly load?: LoadPackage;
}

/** How often a new connection is tried while Redis is read-only, in milliseconds. */
const FIND_MASTER_EVERY_MS = 500;

/** Where a `redis:` URL leads. One that is malformed is reported when the client is created. */
function hostOf(url: string): string {
  const parsed = parseUrl(url);
  return parsed === undefined ? "an unknown host" : `${parsed.hostname}:${parsed.port || "6379"}`;
}

/** A connection from a URL. The constructor loads the package and creates the client. */
export class UrlConnection implements RedisConnection {
  readonly isCluster = false;
  readonly #readyTimeoutMs: number;
  /** Host and port, without the user name and the password. */
  readonly #host: string;
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
    this.#host = hostOf(url);
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
      if (this.#isClosed) throw connectionClosed();
      try {
        await client.connection.ready();
        return;
      } catch (error) {
        const refusal = refusalReason(client.lastError());
        if (refusal !== undefined) throw new SetupError(refusal, { cause: client.lastError() });
        if (patience.aborted) {
          const reason = client.lastError() ?? error;
          throw new SetupError(
            `Redis at ${this.#host} did not respond within ${this.#readyTimeoutMs} ms${reason instanceof RedisError ? ` (${reason.message})` : ""}.`,
            { cause: reason },
          );
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
    if (this.#isClosed) return Promise.reject(connectionClosed());
    const client = this.#client;
    if (client !== undefined) {
      const answer = act(client.connection);
      answer.catch((error: unknown) => this.refused(error));
      return answer;
    }
    return this.#opening.then(async (client) => {
      await client.firstAttempt.catch(() => undefined);
      if (this.#isClosed) throw connectionClosed();
      return act(client.connection);
    });
  }

  refused(error: unknown): void {
    // The next call rejects with the reason why no connection can be made, so ignore it here.
    if (classifyDriverError(error) === "read-only") this.#findMaster().catch(() => undefined);
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
