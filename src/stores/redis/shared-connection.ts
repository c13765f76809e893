import {
  connectionClosed,
  disposeAll,
  type RedisConnection,
  type RedisListener,
  type RedisReply,
  type RedisScript,
} from "./connection.js";

/** A connection with another owner, which closes it. Closing this one ends only its own subscriptions. */
export class SharedConnection implements RedisConnection {
  readonly #owner: RedisConnection;
  readonly #disposers = new Set<() => Promise<void>>();
  #isClosed = false;

  constructor(owner: RedisConnection) {
    this.#owner = owner;
  }

  get library(): RedisConnection["library"] {
    return this.#owner.library;
  }

  get isCluster(): boolean {
    return this.#owner.isCluster;
  }

  eval(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<RedisReply> {
    return this.#owner.eval(script, keys, args);
  }

  command(name: string, ...args: readonly string[]): Promise<RedisReply> {
    return this.#owner.command(name, ...args);
  }

  publish(channel: string, message: string): Promise<void> {
    return this.#owner.publish(channel, message);
  }

  async subscribe(channel: string, listener: RedisListener): Promise<() => Promise<void>> {
    const end = await this.#owner.subscribe(channel, listener);
    if (this.#isClosed) {
      await end();
      throw connectionClosed();
    }
    this.#disposers.add(end);
    return async () => {
      this.#disposers.delete(end);
      await end();
    };
  }

  refused(error: unknown): void {
    this.#owner.refused?.(error);
  }

  ready(): Promise<void> {
    return this.#owner.ready();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return disposeAll(this.#disposers);
  }
}
