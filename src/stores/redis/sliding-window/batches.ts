import type { RedisReply } from "../client.js";
import type { BatchReply } from "./replies.js";

/** Keys in one call of the script: more would keep Redis from answering others for more than about a third of a millisecond. */
const MAX_KEYS = 64;

type Send = (keys: readonly string[], args: readonly string[]) => Promise<RedisReply>;

interface Batch {
  readonly keys: string[];
  readonly args: string[];
  /** Keys of each group. */
  readonly sizes: number[];
  /** Resolves to the answer to all. */
  readonly reply: Promise<RedisReply>;
  readonly start: () => void;
}

/**
 * While an answer is awaited, puts what is asked in one turn of the event loop into one call of the script: one command and
 * one round trip for all, and one start of the script, which is half of what it costs. What is asked while nothing is
 * under way goes at once.
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
   * One key while nothing is under way: resolves to the bare answer. `undefined` when something is.
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
   * @param timed whether the time of the records is wanted
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

  /** No async function: whoever waits for the answer does not wait for the counting too. */
  #sendNow(keys: readonly string[], args: readonly string[]): Promise<RedisReply> {
    const reply = this.#send(keys, args);
    this.#underWay += 1;
    reply.then(this.#done, this.#done);
    return reply;
  }
}
