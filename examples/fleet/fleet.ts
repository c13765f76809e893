import { randomBytes } from "node:crypto";
import { AppProcess } from "./processes.js";
import { startProxy } from "./proxy.js";
import { type FleetServer, requireServers, startServer } from "./servers.js";

/** Two app processes on one Redis and one PostgreSQL, behind a proxy. */
export class Fleet {
  origin = "";
  /** The default. A machine that has much else to do, such as one that runs a whole test suite, may need more. */
  readonly storeTimeoutMs = Number(process.env.STORE_TIMEOUT_MS ?? 250);
  #redis: FleetServer | undefined;
  #database: FleetServer | undefined;
  #members: AppProcess[] = [];
  #closers: (() => Promise<unknown>)[] = [];
  #closing: Promise<void> | undefined;

  get members(): readonly AppProcess[] {
    return this.#members;
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  get redis(): FleetServer {
    return present(this.#redis);
  }

  get database(): FleetServer {
    return present(this.#database);
  }

  member(name: string | undefined): AppProcess {
    return present(this.#members.find((member) => member.name === name));
  }

  /** @param says is called with each line a process prints */
  async start(options: { port: number; forTour: boolean; says: (name: string, line: string) => void }): Promise<void> {
    requireServers();
    const server = async (engine: "redis" | "postgres"): Promise<FleetServer> =>
      this.#closesLater(await startServer(engine, options.forTour));
    const [redis, database] = await Promise.allSettled([server("redis"), server("postgres")]);
    [this.#redis, this.#database] = [settled(redis), settled(database)];
    const env = {
      REDIS_URL: this.redis.url,
      DATABASE_URL: this.database.url,
      STORE_TIMEOUT_MS: String(this.storeTimeoutMs),
      SECRET_KEY: process.env.SECRET_KEY ?? randomBytes(32).toString("base64url"),
      // A tour on a Redis of yours meets nothing of an earlier one.
      REDIS_PREFIX: options.forTour ? `fleet-tour-${randomBytes(4).toString("hex")}:` : "fleet:",
    };
    this.#members = ["app-1", "app-2"].map((name) => new AppProcess(name, env, options.says));
    for (const member of this.#members) this.#closers.push(() => member.end());
    await Promise.all(this.#members.map((member) => member.start()));
    const proxy = this.#closesLater(await startProxy(this.#members, options.port));
    this.origin = `http://127.0.0.1:${proxy.port}`;
  }

  #closesLater<Part extends { close(): Promise<void> }>(part: Part): Part {
    this.#closers.push(() => part.close());
    return part;
  }

  /** Ends everything, last started first: nobody is asked for what is no longer there. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const close of this.#closers.reverse()) await close();
    })();
    return this.#closing;
  }
}

function settled<T>(result: PromiseSettledResult<T>): T {
  if (result.status === "rejected") throw result.reason;
  return result.value;
}

function present<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("The fleet has not been started.");
  return part;
}
