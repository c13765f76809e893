import { PortcullisError } from "../../core/portcullis-error.js";
import { createHash } from "node:crypto";

/** What Redis answers. Scripts of this library return integers, strings, nulls and arrays of these only. */
export type RedisReply = string | number | null | undefined | readonly RedisReply[];

/** A Lua script and the name Redis knows it by. */
export interface RedisScript {
  /** The text of the script. */
  readonly source: string;
  /** SHA-1 of the source in hexadecimal, as EVALSHA wants it. */
  readonly sha: string;
}

/**
 * A Lua script, with the digest by which Redis runs it without being sent the text again.
 *
 * @example
 * ```ts
 * import { redisScript } from "portcullis/redis";
 *
 * const count = redisScript("return redis.call('INCR', KEYS[1])");
 * ```
 */
export function redisScript(source: string): RedisScript {
  return Object.freeze({ source, sha: createHash("sha1").update(source).digest("hex") });
}

/** What a subscriber is told. */
export interface RedisListener {
  /** Called with each message of the channel. */
  message(message: string): void;
  /**
   * The subscription was lost for a while and is back: messages of that time are gone for good. Not told by node-redis'
   * Cluster and Sentinel clients, which renew subscriptions without saying so.
   */
  gap?(): void;
}

/**
 * The little that the stores ask of Redis, the same over node-redis 5 and 6 and ioredis 5 and 6, standalone, behind
 * Sentinel, and Cluster. Calls made in the same tick travel together: none waits for the answer to another.
 *
 * Every method rejects when Redis did not do it. Messages never contain the URL or its credentials.
 */
export interface RedisConnection {
  /** The package of the client. */
  readonly library: "node-redis" | "ioredis" | undefined;
  /** Whether the keys of one script must share a hash slot. Known once connected. */
  readonly isCluster: boolean;
  /** Runs a script: EVALSHA, and EVAL when the server does not have it (SCRIPT FLUSH, restart, fail-over). */
  eval(script: RedisScript, keys: readonly string[], args: readonly string[]): Promise<RedisReply>;
  /** One command whose first argument, if any, is its key, such as `command("SET", key, "v", "PX", "1000")`. */
  command(name: string, ...args: readonly string[]): Promise<RedisReply>;
  /** Sends a message to a channel. */
  publish(channel: string, message: string): Promise<void>;
  /** Subscribes on a link of its own. Resolves, once subscribed, to what ends the subscription and that link. */
  subscribe(channel: string, listener: RedisListener): Promise<() => Promise<void>>;
  /** Told by who finds an error of Redis' inside a script's answer. A connection to what is no longer the master is then given up. */
  refused?(error: unknown): void;
  /** Resolves when Redis answers; rejects with the reason why not. */
  ready(): Promise<void>;
  /** Ends subscriptions, and the client when it was made from a URL here. A client of the app's stays open. */
  close(): Promise<void>;
}

/**
 * What a client rejected with, without what it had to send: ioredis puts the whole command into its errors, AUTH and
 * its password among them, and Node's URL errors hold the URL.
 */
export class RedisError extends PortcullisError {
  /** The first word of Redis' answer (`READONLY`, `OOM`), Node's code (`ECONNREFUSED`), or the name of the client's error. */
  readonly code: string;

  constructor(error: unknown) {
    const message = error instanceof Error ? error.message : "Redis failed.";
    const code =
      error instanceof Error && "code" in error && typeof error.code === "string"
        ? error.code
        : /^[A-Z]{2,}(?= )/.exec(message)?.[0];
    super(message === "" ? (code ?? "Redis failed.") : message);
    this.name = "RedisError";
    this.code = code ?? (error instanceof Error ? error.constructor.name : "failed");
  }
}

/** @throws RedisError when the call of the client rejects or throws */
export async function wrapRedisErrors<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new RedisError(error);
  }
}

/**
 * The answer to an EVALSHA; `evalSource` asks again when the server says it does not know the script. No async function: this
 * is on the way of every decision, where each further promise shows.
 */
export function evalWithReload(answer: Promise<unknown>, evalSource: () => Promise<unknown>): Promise<RedisReply> {
  return answer.catch((error: unknown) => {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw new RedisError(error);
    return wrapRedisErrors(evalSource);
  }) as Promise<RedisReply>;
}

/** A subscription on its way; `end` may be called before it is there. */
export interface RedisLink {
  readonly subscribed: Promise<unknown>;
  end(): Promise<void>;
}

/**
 * Waits for a link, which is among `endings` from the start: one that never reaches Redis tries for as long as it takes,
 * and would keep a process that has closed everything alive.
 */
export async function subscribed(link: RedisLink, endings: Set<() => Promise<void>>): Promise<() => Promise<void>> {
  let isEnded = false;
  const end = async (): Promise<void> => {
    isEnded = true;
    endings.delete(end);
    await link.end();
  };
  endings.add(end);
  try {
    await wrapRedisErrors(() => link.subscribed);
  } catch (error) {
    await end();
    throw error;
  }
  // Ended while the last word was on its way.
  if (isEnded) await link.end();
  return end;
}

/** Removes and calls everything that ends something; failures to end what is broken already do not matter. */
export async function disposeAll(endings: Set<() => Promise<void>>): Promise<void> {
  const all = [...endings];
  endings.clear();
  await Promise.allSettled(all.map((end) => end()));
}
