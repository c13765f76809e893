import { PortcullisError } from "../../core/portcullis-error.js";
import { createHash } from "node:crypto";
import { SetupError } from "../../core/setup-error.js";

/** A reply of Redis. Scripts of this library return only integers, strings, nulls and arrays of these. */
export type RedisReply = string | number | null | undefined | readonly RedisReply[];

/** A Lua script and its digest, by which Redis identifies it. */
export interface RedisScript {
  /** The text of the script. */
  readonly source: string;
  /** SHA-1 of the source in hexadecimal, as EVALSHA requires. */
  readonly sha: string;
}

/**
 * A Lua script, with the digest that lets Redis run it without receiving the text again.
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

/** The callbacks of a subscriber. */
export interface RedisListener {
  /** Called with each message of the channel. */
  message(message: string): void;
  /**
   * Called when the subscription is back after an interruption: the messages of that time are lost. The Cluster and
   * Sentinel clients of node-redis never cause this call, because they renew subscriptions without a notice.
   */
  gap?(): void;
}

/**
 * The few operations that the stores need from Redis, the same over node-redis 5 and 6 and ioredis 5 and 6: standalone,
 * Sentinel, and Cluster. Calls made in the same tick are sent together: none waits for the answer to another.
 *
 * Every method rejects when Redis did not perform the operation. Messages never contain the URL or its credentials.
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
  /**
   * Subscribes on a connection of its own. Resolves, once subscribed, to a function that ends the subscription and that
   * connection.
   */
  subscribe(channel: string, listener: RedisListener): Promise<() => Promise<void>>;
  /**
   * Called with an error of Redis inside a script's answer. A connection to a server that is no longer the master is
   * then replaced.
   */
  refused?(error: unknown): void;
  /** Resolves when Redis answers; rejects with the reason why not. */
  ready(): Promise<void>;
  /** Ends subscriptions, and closes the client when it was created from a URL here. The app's own client stays open. */
  close(): Promise<void>;
}

/**
 * The error of a client, without the data it had to send: ioredis puts the whole command into its errors, including
 * AUTH and its password, and Node's URL errors contain the URL.
 */
export class RedisError extends PortcullisError {
  /**
   * The first word of Redis' answer (`READONLY`, `OOM`), Node's code (`ECONNREFUSED`), or the name of the client's
   * error.
   */
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
 * The answer to an EVALSHA; `evalSource` retries when the server does not know the script. Not an async function: every
 * decision runs this, and each further promise has a measurable cost.
 */
export function evalWithReload(answer: Promise<unknown>, evalSource: () => Promise<unknown>): Promise<RedisReply> {
  return answer.catch((error: unknown) => {
    if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw new RedisError(error);
    return wrapRedisErrors(evalSource);
  }) as Promise<RedisReply>;
}

/** A subscription in progress; `end` may be called before it is established. */
export interface RedisLink {
  readonly subscribed: Promise<unknown>;
  end(): Promise<void>;
}

/**
 * Waits for a link. The link is in `disposers` from the start: one that never reaches Redis retries for as long as it
 * takes, and would keep the process alive after everything was closed.
 */
export async function subscribed(link: RedisLink, disposers: Set<() => Promise<void>>): Promise<() => Promise<void>> {
  let isEnded = false;
  const end = async (): Promise<void> => {
    isEnded = true;
    disposers.delete(end);
    await link.end();
  };
  disposers.add(end);
  try {
    await wrapRedisErrors(() => link.subscribed);
  } catch (error) {
    await end();
    throw error;
  }
  // `end` was called while the last reply was on its way.
  if (isEnded) await link.end();
  return end;
}

/**
 * Removes and calls all functions in `disposers`. Failures do not matter, because what fails to end is already broken.
 */
export async function disposeAll(endings: Set<() => Promise<void>>): Promise<void> {
  const all = [...endings];
  endings.clear();
  await Promise.allSettled(all.map((end) => end()));
}

/** The error of a call on a connection that has been closed. */
export function connectionClosed(): SetupError {
  return new SetupError("This Redis connection has been closed.");
}
