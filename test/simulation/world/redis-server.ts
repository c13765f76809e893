import { currentOperation, within } from "./context.js";
import type { FaultCounts, RedisFault } from "./faults.js";
import { CutOffClients } from "./cut-off-clients.js";
import { RedisEngine, type Reply, type Served } from "./redis-engine.js";
import { pause, virtualNow } from "./virtual-time.js";

/** One for all runs: it takes 30 ms to make, and each server begins with nothing. */
const engine = await RedisEngine.create();

/** Microseconds of a server's clock when the simulation begins. */
const START = Date.UTC(2026, 0, 1) * 1000;

// The library knows the errors of node-redis by these names.
export class SocketClosedUnexpectedlyError extends Error {}
const refused = (): Error => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

/** One simulated Redis server: when commands take effect, when their answers arrive, and what goes wrong. */
export class RedisServer {
  readonly #faults: FaultCounts;
  readonly #aheadMs: number;
  readonly #connections = new Set<RedisLink>();
  #downUntil = -1;
  readonly #cutOff = new CutOffClients();
  /** When something last went wrong for everybody. */
  troubleUntil = -1;
  /** How often it lost its data. */
  losses = 0;

  /** @param aheadMs by how much its clock is ahead */
  constructor(faults: FaultCounts, aheadMs: number) {
    this.#faults = faults;
    this.#aheadMs = aheadMs;
    engine.forgetScripts();
    engine.forgetData();
  }

  get keys(): readonly string[] {
    return engine.keys();
  }

  /** Runs a command now, also for a caller of the simulation that damages a record. */
  run(words: readonly string[]): Reply {
    const [name = "", source = "", ...rest] = words;
    return this.#serve(() =>
      name === "EVAL" ? engine.serveSource(this.#micros, source, ...rest) : engine.serve(this.#micros, ...words),
    ).reply;
  }

  get #micros(): number {
    return START + Math.round((virtualNow() + this.#aheadMs) * 1000);
  }

  #serve(serve: () => Served): Served {
    const served = serve();
    for (const { channel, message } of served.published)
      for (const connection of this.#connections) connection.told(channel, message);
    return served;
  }

  /** All connections break, scripts are forgotten, and nobody is let in for a while. */
  restart(ms: number, { data }: { readonly data: "kept" | "lost" }): void {
    this.#downUntil = virtualNow() + ms;
    this.troubleUntil = Math.max(this.troubleUntil, this.#downUntil);
    engine.forgetScripts();
    if (data === "lost") {
      engine.forgetData();
      this.losses += 1;
    }
    for (const connection of [...this.#connections]) connection.break();
  }

  /** One client alone does not reach this server for a while. */
  cutOff(client: string, ms: number): void {
    this.#cutOff.add(client, ms);
    this.troubleUntil = Math.max(this.troubleUntil, virtualNow() + ms);
    for (const connection of [...this.#connections]) if (connection.client === client) connection.break();
  }

  async connect(client: string): Promise<RedisLink> {
    await pause(currentOperation().random.between(1, 3));
    if (virtualNow() < this.#downUntil || this.#cutOff.has(client)) throw refused();
    const connection = new RedisLink(this, client);
    this.#connections.add(connection);
    return connection;
  }

  disconnect(connection: RedisLink): void {
    this.#connections.delete(connection);
  }

  /** The fault of the operation that sends a command, when it strikes this one. */
  strike(): RedisFault | undefined {
    const operation = currentOperation();
    operation.commands += 1;
    const { redisFault: fault } = operation;
    if (fault === undefined || fault.at !== operation.commands) return undefined;
    this.#faults.add(fault.kind);
    return fault;
  }
}

/** One connection. Commands arrive, and answers come back, in the order in which they were sent. */
export class RedisLink {
  readonly client: string;
  readonly #server: RedisServer;
  readonly #channels = new Map<string, (message: string) => void>();
  /** Rejects what has been sent and has no answer. */
  readonly #pending = new Set<(error: Error) => void>();
  /** When the last command arrives at the server, and when its answer is back. */
  #arrives = 0;
  #answers = 0;
  isBroken = false;
  /** Told when the connection breaks. */
  onBreak: () => void = () => undefined;

  constructor(server: RedisServer, client: string) {
    this.#server = server;
    this.client = client;
  }

  send(words: readonly string[]): Promise<Reply> {
    if (this.isBroken) return Promise.reject(new SocketClosedUnexpectedlyError());
    const operation = currentOperation();
    const fault = this.#server.strike();
    const way = (): number => operation.random.between(1, 2) / 2;
    const late = fault === undefined ? 0 : fault.ms;
    this.#arrives = Math.max(this.#arrives, virtualNow() + way() + (fault?.kind === "redis-slow" ? late : 0));
    const answers = this.#arrives + way() + (fault?.kind === "redis-late-answer" ? late : 0);
    this.#answers = fault?.kind === "redis-no-answer" ? Infinity : Math.max(this.#answers, answers);
    return this.#exchange(words, fault, { arrives: this.#arrives, answers: this.#answers });
  }

  #exchange(
    words: readonly string[],
    fault: RedisFault | undefined,
    { arrives, answers }: { readonly arrives: number; readonly answers: number },
  ): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      this.#pending.add(reject);
      const deliver = async (): Promise<void> => {
        await pause(arrives - virtualNow());
        if (this.isBroken) return;
        if (fault?.kind === "redis-lost-call") return this.break();
        const reply = this.#server.run(words);
        if (fault?.kind === "redis-lost-answer") return this.break();
        if (answers === Infinity) return;
        await pause(answers - virtualNow());
        if (this.isBroken) return;
        this.#pending.delete(reject);
        if (reply instanceof Error) reject(reply);
        else resolve(reply);
      };
      void deliver();
    });
  }

  subscribe(channel: string, listener: (message: string) => void): void {
    const operation = currentOperation();
    this.#channels.set(channel, (message) => within(operation, () => listener(message)));
  }

  /** A message is on its way for a moment; one that is under way when the connection breaks is lost. */
  told(channel: string, message: string): void {
    const listener = this.#channels.get(channel);
    if (listener === undefined) return;
    void pause(1).then(() => (this.isBroken ? undefined : listener(message)));
  }

  break(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.#server.disconnect(this);
    for (const reject of this.#pending) reject(new SocketClosedUnexpectedlyError());
    this.#pending.clear();
    this.onBreak();
  }
}
