import { currentOperation, type Operation } from "./context.js";
import type { FaultCounts } from "./faults.js";
import { CutOffClients } from "./cut-off-clients.js";
import { PostgresEngine, type Result, serverError, type Transaction } from "./postgres-engine.js";
import { pause, virtualNow } from "./virtual-time.js";

/** Virtual milliseconds for each row a statement changes: thirty of these rows weigh like a thousand of a real server. */
const MS_PER_ROW = 4;

const connectionLost = (): Error => Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
const refused = (): Error => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
const never = (): Promise<never> => new Promise(() => undefined);

/** One simulated PostgreSQL server: when statements take effect, how long they take, and what goes wrong. */
export class PostgresServer {
  readonly engine = new PostgresEngine();
  readonly #faults: FaultCounts;
  readonly #connections = new Set<Connection>();
  /** Texts whose statements take longer, and by how much: a record on a slow disk. */
  readonly slowTexts = new Map<string, number>();
  #downUntil = -1;
  #fullUntil = -1;
  #busyUntil = -1;
  readonly #cutOff = new CutOffClients();
  /** When something last went wrong for everybody. */
  troubleUntil = -1;

  constructor(faults: FaultCounts) {
    this.#faults = faults;
  }

  /** All connections break, and nobody is let in for a while. What was committed stays. */
  restart(ms: number): void {
    this.#downUntil = virtualNow() + ms;
    this.#trouble(ms);
    for (const connection of [...this.#connections]) connection.break();
  }

  /** Takes no writes for a while. */
  fillDisk(ms: number): void {
    this.#fullUntil = virtualNow() + ms;
    this.#trouble(ms);
  }

  /** Takes no new connections for a while, and ends those there are. */
  refuseConnections(ms: number): void {
    this.#busyUntil = virtualNow() + ms;
    this.#trouble(ms);
    for (const connection of [...this.#connections]) connection.break();
  }

  /** One client alone does not reach this server for a while. */
  cutOff(client: string, ms: number): void {
    this.#cutOff.add(client, ms);
    this.#trouble(ms);
    for (const connection of [...this.#connections]) if (connection.client === client) connection.break();
  }

  #trouble(ms: number): void {
    this.troubleUntil = Math.max(this.troubleUntil, virtualNow() + ms);
  }

  async connect(client: string, statementTimeoutMs: number): Promise<Connection> {
    const operation = currentOperation();
    await pause(operation.random.between(1, 4));
    if (virtualNow() < this.#downUntil || this.#cutOff.has(client)) throw refused();
    if (virtualNow() < this.#busyUntil) throw serverError("53300", "sorry, too many clients already");
    const connection = new Connection(this, client, statementTimeoutMs);
    this.#connections.add(connection);
    return connection;
  }

  disconnect(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** Runs one statement of a connection, with the time it takes and the fault of its operation. */
  async run(
    connection: Connection,
    text: string,
    parameters: readonly unknown[],
    statementTimeoutMs: number,
  ): Promise<Result> {
    const operation = currentOperation();
    const isCommit = text === "commit";
    operation.statements += 1;
    const { fault } = operation;
    const strikes =
      fault !== undefined &&
      (fault.kind === "slow" || (fault.at === "commit" ? isCommit : fault.at === operation.statements));
    let ms = operation.random.between(1, 3);
    if (fault !== undefined && strikes) {
      this.#faults.add(fault.kind);
      if (fault.kind === "slow" || fault.kind === "late-commit") ms += fault.ms;
      if (fault.kind === "lost-call") {
        await pause(ms);
        connection.break();
        throw connectionLost();
      }
    }
    const delay = this.#slowness(parameters);
    if (delay > 0) this.#faults.add("slow-record");
    const result = await this.#effect(connection, text, parameters, {
      ms: ms + delay,
      limit: isCommit ? Infinity : statementTimeoutMs,
    });
    if (fault !== undefined && strikes) await this.#answer(connection, operation, isCommit);
    return result;
  }

  async #effect(
    connection: Connection,
    text: string,
    parameters: readonly unknown[],
    time: { ms: number; limit: number },
  ): Promise<Result> {
    await pause(Math.min(time.ms, time.limit));
    connection.check();
    if (time.ms > time.limit) throw this.#timeOut(connection);
    if (virtualNow() < this.#fullUntil && /^(?:insert|update|delete)/.test(text))
      throw connection.fail(serverError("53100", "could not extend file: No space left on device"));
    const result = connection.execute(text, parameters);
    const weight = result.command === "UPDATE" || result.command === "DELETE" ? result.rowCount * MS_PER_ROW : 0;
    if (weight <= 8) return result;
    // Its locks and its work last: a statement too long for the time it has leaves nothing behind.
    await pause(Math.min(weight, time.limit - time.ms));
    connection.check();
    if (weight > time.limit - time.ms) throw this.#timeOut(connection);
    return result;
  }

  #timeOut(connection: Connection): Error {
    this.#faults.add("statement-time-out");
    return connection.fail(serverError("57014", "canceling statement due to statement timeout"));
  }

  /** The statement has taken effect; what becomes of its answer? */
  async #answer(connection: Connection, operation: Operation, isCommit: boolean): Promise<void> {
    const { fault } = operation;
    if (fault?.kind === "late-answer") await pause(fault.ms);
    if (fault?.kind !== "lost-answer" && fault?.kind !== "no-answer") return;
    if (isCommit || !connection.inTransaction) operation.inDoubt = true;
    if (fault.kind === "no-answer") return never();
    connection.break();
    throw connectionLost();
  }

  #slowness(parameters: readonly unknown[]): number {
    if (this.slowTexts.size === 0) return 0;
    return parameters.reduce<number>(
      (most, value) => Math.max(most, typeof value === "string" ? (this.slowTexts.get(value) ?? 0) : 0),
      0,
    );
  }

  close(): void {
    this.engine.close();
  }
}

/** One connection as the server sees it. */
export class Connection {
  readonly client: string;
  readonly #server: PostgresServer;
  readonly #statementTimeoutMs: number;
  #transaction: Transaction | undefined;
  #hasFailed = false;
  isBroken = false;
  /** Told when the connection breaks. */
  onBreak: () => void = () => undefined;

  constructor(server: PostgresServer, client: string, statementTimeoutMs: number) {
    this.#server = server;
    this.client = client;
    this.#statementTimeoutMs = statementTimeoutMs;
  }

  get inTransaction(): boolean {
    return this.#transaction !== undefined;
  }

  query(text: string, parameters: readonly unknown[]): Promise<Result> {
    this.check();
    return this.#server.run(this, text, parameters, this.#statementTimeoutMs);
  }

  execute(text: string, parameters: readonly unknown[]): Result {
    const done = (command: string): Result => ({ command, rowCount: 0, rows: [] });
    if (/^(?:begin|start transaction)/.test(text)) {
      this.#transaction = [];
      this.#hasFailed = false;
      return done("BEGIN");
    }
    if (text === "rollback") {
      this.#transaction = undefined;
      return done("ROLLBACK");
    }
    if (text === "commit") {
      const transaction = this.#transaction ?? [];
      this.#transaction = undefined;
      if (this.#hasFailed) return done("ROLLBACK");
      this.#server.engine.commit(transaction);
      return done("COMMIT");
    }
    if (this.#hasFailed && this.#transaction !== undefined)
      throw serverError("25P02", "current transaction is aborted");
    try {
      return this.#server.engine.execute(text, parameters, this.#transaction);
    } catch (error) {
      throw this.fail(error as Error);
    }
  }

  /** An error inside of a transaction ends it. */
  fail(error: Error): Error {
    this.#hasFailed = true;
    return error;
  }

  check(): void {
    if (this.isBroken) throw connectionLost();
  }

  break(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.#transaction = undefined;
    this.#server.disconnect(this);
    this.onBreak();
  }
}
