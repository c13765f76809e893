import { EventEmitter } from "node:events";
import type { Reply } from "./redis-engine.js";
import { type RedisLink, type RedisServer, SocketClosedUnexpectedlyError } from "./redis-server.js";

/** The package `redis` as far as the library uses it, speaking to simulated servers. */

interface ClientOptions {
  readonly url: string;
  readonly disableOfflineQueue?: boolean;
  readonly pingInterval?: number;
  readonly socket: {
    readonly socketTimeout?: number;
    readonly reconnectStrategy: (retries: number, cause: Error) => number;
  };
}

interface ScriptArguments {
  readonly keys: readonly string[];
  readonly arguments: readonly string[];
}

const servers = new Map<string, RedisServer>();
const expected = new Map<string, () => void>();

/** Calls `found` when the library has loaded this package and makes its first client for a URL. */
export function whenClientIsMade(url: string, found: () => void): void {
  expected.set(url, found);
}

/** Makes a server known by its host name. Returns what takes it away. */
export function publish(host: string, server: RedisServer): () => void {
  servers.set(host, server);
  return () => void servers.delete(host);
}

export function createClient(options: ClientOptions): RedisClient {
  expected.get(options.url)?.();
  expected.delete(options.url);
  return new RedisClient(options);
}

class ClientOfflineError extends Error {}
class SocketTimeoutError extends Error {}

export class RedisClient extends EventEmitter {
  readonly options: ClientOptions;
  readonly #server: RedisServer;
  readonly #channels = new Map<string, (message: string) => void>();
  #link: RedisLink | undefined;
  #pings: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isOpen = false;

  constructor(options: ClientOptions) {
    super();
    this.options = options;
    const server = servers.get(new URL(options.url).hostname);
    if (server === undefined) throw new Error(`No simulated server has the name ${new URL(options.url).hostname}.`);
    this.#server = server;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  withTypeMapping(): this {
    return this;
  }

  duplicate(overrides: Partial<ClientOptions>): RedisClient {
    return new RedisClient({ ...this.options, ...overrides });
  }

  /** Goes on trying until it is connected or destroyed. */
  async connect(): Promise<this> {
    this.#isOpen = true;
    return new Promise((resolve) => {
      this.once("ready", () => resolve(this));
      void this.#attempt(0);
    });
  }

  async #attempt(retries: number): Promise<void> {
    try {
      const link = await this.#server.connect(new URL(this.options.url).username);
      if (!this.#isOpen) return link.break();
      this.#use(link);
    } catch (error) {
      this.#failed(retries, error as Error);
    }
  }

  #use(link: RedisLink): void {
    this.#link = link;
    link.onBreak = () => this.#lost(new SocketClosedUnexpectedlyError());
    for (const [channel, listener] of this.#channels) link.subscribe(channel, listener);
    const { pingInterval } = this.options;
    if (pingInterval !== undefined)
      this.#pings = setInterval(() => void this.sendCommand(["PING"]).catch(() => undefined), pingInterval);
    this.#heard();
    this.emit("connect");
    this.emit("ready");
  }

  /** The connection has shown that it is alive. */
  #heard(): void {
    clearTimeout(this.#silence);
    const { socketTimeout } = this.options.socket;
    if (socketTimeout === undefined || this.#link === undefined) return;
    const link = this.#link;
    this.#silence = setTimeout(() => {
      link.onBreak = () => this.#lost(new SocketTimeoutError());
      link.break();
    }, socketTimeout);
  }

  #lost(cause: Error): void {
    this.#link = undefined;
    clearInterval(this.#pings);
    clearTimeout(this.#silence);
    if (this.#isOpen) this.#failed(0, cause);
  }

  #failed(retries: number, cause: Error): void {
    if (!this.#isOpen) return;
    this.emit("error", cause);
    const delay = this.options.socket.reconnectStrategy(retries, cause);
    this.#retry = setTimeout(() => void this.#attempt(retries + 1), delay);
  }

  async sendCommand(words: readonly string[]): Promise<Reply> {
    const link = await this.#whenReady();
    try {
      return await link.send(words);
    } finally {
      if (link === this.#link) this.#heard();
    }
  }

  async #whenReady(): Promise<RedisLink> {
    if (!this.#isOpen || (this.#link === undefined && this.options.disableOfflineQueue === true))
      throw new ClientOfflineError();
    if (this.#link === undefined) await new Promise((resolve) => this.once("ready", resolve));
    if (this.#link === undefined) throw new ClientOfflineError();
    return this.#link;
  }

  evalSha(sha: string, { keys, arguments: args }: ScriptArguments): Promise<Reply> {
    return this.sendCommand(["EVALSHA", sha, String(keys.length), ...keys, ...args]);
  }

  eval(source: string, { keys, arguments: args }: ScriptArguments): Promise<Reply> {
    return this.sendCommand(["EVAL", source, String(keys.length), ...keys, ...args]);
  }

  publish(channel: string, message: string): Promise<Reply> {
    return this.sendCommand(["PUBLISH", channel, message]);
  }

  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    this.#channels.set(channel, listener);
    (await this.#whenReady()).subscribe(channel, listener);
  }

  async unsubscribe(channel: string): Promise<void> {
    this.#channels.delete(channel);
  }

  destroy(): void {
    this.#isOpen = false;
    clearTimeout(this.#retry);
    this.#link?.break();
  }
}

export default { createClient };
