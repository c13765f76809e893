import type { RedisReply } from "./client.js";

/** Keys in one call of the script: more would keep Redis from answering others for more than about a third of a millisecond. */
const MAX_KEYS = 64;

/** Where in the answer to a batch the answer to one of its groups is. */
export interface BatchReply {
  readonly reply: RedisReply;
  /** Number of the group's first key. */
  readonly at: number;
  /** Keys of the whole batch. */
  readonly total: number;
}

type Send = (keys: readonly string[], args: readonly string[]) => Promise<RedisReply>;

interface Batch {
  readonly keys: string[];
  readonly args: string[];
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

  constructor(send: Send) {
    this.#send = send;
  }

  async add(keys: readonly string[], args: readonly string[]): Promise<BatchReply> {
    if (this.#underWay === 0 && this.#open === undefined) return { reply: await this.#sendNow(keys, args), at: 0, total: keys.length };
    if (this.#open !== undefined && this.#open.keys.length + keys.length > MAX_KEYS) this.#close(this.#open);
    const batch = (this.#open ??= this.#begin());
    const at = batch.keys.length;
    batch.keys.push(...keys);
    batch.args.push(...args);
    const reply = await batch.reply;
    return { reply, at, total: batch.keys.length };
  }

  #begin(): Batch {
    const keys: string[] = [];
    const args: string[] = [];
    let start = (): void => undefined;
    const reply = new Promise<void>((resolve) => (start = resolve)).then(() => this.#sendNow(keys, args));
    const batch: Batch = { keys, args, reply, start };
    setImmediate(() => this.#close(batch));
    return batch;
  }

  #close(batch: Batch): void {
    if (this.#open === batch) this.#open = undefined;
    batch.start();
  }

  async #sendNow(keys: readonly string[], args: readonly string[]): Promise<RedisReply> {
    this.#underWay += 1;
    try {
      return await this.#send(keys, args);
    } finally {
      this.#underWay -= 1;
    }
  }
}
