import { EventEmitter } from "node:events";
import { currentOperation, type Operation, within } from "./context.js";
import type { Connection, PostgresServer } from "./postgres-server.js";
import { virtualNow } from "./virtual-time.js";

/** The package `pg` as far as the library uses it, speaking to simulated servers. */

interface PoolConfig {
  readonly connectionString: string;
  readonly max: number;
  readonly connectionTimeoutMillis: number;
  readonly statement_timeout: number;
}

const servers = new Map<string, PostgresServer>();
const pools = new Map<string, Set<Pool>>();

const expected = new Map<string, () => void>();

/** Calls `found` when the library has loaded this package and makes its first pool for a URL. */
export function whenPoolIsMade(url: string, found: () => void): void {
  expected.set(url, found);
}

/** Makes a server known by its host name. Returns what takes it away. */
export function publish(host: string, server: PostgresServer): () => void {
  servers.set(host, server);
  return () => void (servers.delete(host), pools.clear());
}

/** When callers of the process that uses this URL last had to wait for a connection of its pool; -1: never. */
export function lastWait(url: string): number {
  return Math.max(-1, ...[...(pools.get(url) ?? [])].map((pool) => pool.waitedAt));
}

interface Waiter {
  readonly operation: Operation;
  readonly serve: (client: Client) => void;
  readonly fail: (error: unknown) => void;
  isOver: boolean;
  /** Ends the time it has to be served in. */
  stopTimer?: () => void;
}

export class Pool extends EventEmitter {
  readonly #server: PostgresServer;
  readonly #config: PoolConfig;
  readonly #client: string;
  readonly #idle: Client[] = [];
  readonly #waiting: Waiter[] = [];
  #open = 0;
  #waitedAt = -1;

  constructor(config: PoolConfig) {
    super();
    const url = new URL(config.connectionString);
    const server = servers.get(url.hostname);
    if (server === undefined) throw new Error(`No simulated server has the name ${url.hostname}.`);
    this.#server = server;
    this.#config = config;
    this.#client = url.username;
    const known = pools.get(config.connectionString) ?? new Set();
    pools.set(config.connectionString, known.add(this));
    expected.get(config.connectionString)?.();
    expected.delete(config.connectionString);
  }

  get waitedAt(): number {
    return this.#waiting.some(({ isOver }) => !isOver) ? virtualNow() : this.#waitedAt;
  }

  connect(): Promise<Client> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { operation: currentOperation(), serve: resolve, fail: reject, isOver: false };
      this.#waiting.push(waiter);
      this.#serve();
      // Most are served at once, and a timer that nobody waits for costs a turn of the simulation.
      if (waiter.isOver) return;
      const timer = setTimeout(() => {
        waiter.isOver = true;
        reject(new Error("timeout exceeded when trying to connect"));
      }, this.#config.connectionTimeoutMillis);
      waiter.stopTimer = () => clearTimeout(timer);
    });
  }

  async end(): Promise<void> {
    for (const client of this.#idle.splice(0)) client.connection.break();
  }

  #serve(): void {
    for (;;) {
      while (this.#waiting[0]?.isOver === true) this.#waiting.shift();
      const next = this.#waiting[0];
      if (next === undefined) return;
      const client = this.#idle.pop();
      if (client === undefined && this.#open >= this.#config.max) {
        this.#waitedAt = virtualNow();
        return;
      }
      this.#waiting.shift();
      next.isOver = true;
      next.stopTimer?.();
      if (client !== undefined) next.serve(client);
      else this.#make(next);
    }
  }

  #make(waiter: Waiter): void {
    this.#open += 1;
    within(waiter.operation, () => this.#server.connect(this.#client, this.#config.statement_timeout)).then(
      (connection) => {
        const client = new Client(connection, (broken) => this.#take(broken));
        connection.onBreak = () => this.#lose(client);
        this.emit("connect", client);
        waiter.serve(client);
      },
      (error: unknown) => {
        this.#open -= 1;
        waiter.fail(error);
        this.#serve();
      },
    );
  }

  #take(client: Client): void {
    if (this.#waiting.some(({ isOver }) => !isOver)) this.#waitedAt = virtualNow();
    if (client.connection.isBroken) {
      this.#open -= 1;
      this.emit("remove", client);
    } else this.#idle.push(client);
    this.#serve();
  }

  /** An idle connection that breaks leaves at once; one in use when it is released. */
  #lose(client: Client): void {
    const at = this.#idle.indexOf(client);
    if (at < 0) return void client.emit("error", new Error("Connection terminated unexpectedly"));
    this.#idle.splice(at, 1);
    this.#open -= 1;
    this.emit("error", new Error("Connection terminated unexpectedly"));
    this.emit("remove", client);
  }
}

export class Client extends EventEmitter {
  readonly connection: Connection;
  readonly #giveBack: (client: Client) => void;

  constructor(connection: Connection, giveBack: (client: Client) => void) {
    super();
    this.connection = connection;
    this.#giveBack = giveBack;
    // pg's pool listens while it holds a client.
    this.on("error", () => undefined);
  }

  async query(text: string, parameters: readonly unknown[] = []): Promise<unknown> {
    return this.connection.query(text, parameters);
  }

  release(destroy: boolean | Error = false): void {
    if (destroy !== false) this.connection.break();
    this.#giveBack(this);
  }
}

export default { Pool };
