import type { RedisReply } from "../client.js";
import type { BatchReply } from "./replies.js";

/** Keys in one call of the script: more would block Redis for more than about a third of a millisecond. */
const MAX_KEYS = 64;

type Send = (keys: readonly string[], args: readonly string[]) => Promise<RedisReply>;

interface Batch {
  readonly keys: string[];
  readonly args: string[];
  /** Number of keys of each group. */
  readonly sizes: number[];
  /** Resolves to the answer for the whole batch. */
  readonly reply: Promise<RedisReply>;
  readonly start: () => void;
}

/**
 * While an answer is pending, combines the requests of one turn of the event loop into one call of the script: one
 * command, one round trip and one start of the script, which is half of its cost. When no answer is pending, a request
 * is sent at once.
 */
export class WindowBatches {
  readonly #send: Send;
  #open: Batch | undefined;
  #underWay = 0;
  readonly #done = (): void => {
    this.#underWay -= 1;
  };

  constructor(send: Send) {
    this.#send = send;
  }

  /**
   * Sends one key at once when no answer is pending, and resolves to the bare answer. `undefined` when one is pending.
   *
   * @param args one
   */
  alone(keys: readonly string[], args: readonly string[]): Promise<RedisReply> | undefined {
    return this.#isIdle ? this.#sendNow(keys, args) : undefined;
  }

  /**
   * A group of keys, recorded all or none.
   *
   * @param args one for each key
   * @param timed whether to return the time of the records
   */
  async add(keys: readonly string[], args: readonly string[], timed: boolean): Promise<BatchReply> {
    if (this.#isIdle) {
      const isBare = keys.length === 1 && !timed;
      const reply = await this.#sendNow(keys, isBare ? args : [...args, String(keys.length)]);
      return { reply, isBare, at: 0, total: keys.length };
    }
    if (this.#open !== undefined && this.#open.keys.length + keys.length > MAX_KEYS) this.#close(this.#open);
    const batch = (this.#open ??= this.#begin());
    const at = batch.keys.length;
    for (const key of keys) batch.keys.push(key);
    for (const argument of args) batch.args.push(argument);
    batch.sizes.push(keys.length);
    const reply = await batch.reply;
    return { reply, isBare: false, at, total: batch.keys.length };
  }

  #begin(): Batch {
    const keys: string[] = [];
    const args: string[] = [];
    const sizes: number[] = [];
    let start = (): void => undefined;
    const reply = new Promise<void>((resolve) => (start = resolve)).then(() => {
      // Without sizes each key is a group, and an answer to one key is bare.
      if (sizes.length < keys.length || keys.length === 1) args.push(sizes.join(" "));
      return this.#sendNow(keys, args);
    });
    const batch: Batch = { keys, args, sizes, reply, start };
    setImmediate(() => this.#close(batch));
    return batch;
  }

  #close(batch: Batch): void {
    if (this.#open === batch) this.#open = undefined;
    batch.start();
  }

  get #isIdle(): boolean {
    return this.#underWay === 0 && this.#open === undefined;
  }

  /** Not an async function: the promise that the caller awaits does not include the bookkeeping. */
  #sendNow(keys: readonly string[], args: readonly string[]): Promise<RedisReply> {
    const reply = this.#send(keys, args);
    this.#underWay += 1;
    reply.then(this.#done, this.#done);
    return reply;
  }
}
