import type { RedisConnection } from "../connection.js";
import { BEGUN, ENTER } from "./scripts.js";

/** How long an entry of the index outlives its session, for processes whose clocks differ. */
const SLACK_MS = 300_000;

/**
 * The sessions of a principal: two sorted sets for each principal, one by the end of a session and one by its
 * beginning. A tag of the principal names them. A session is added before it is written and removed after it has ended,
 * so every session in force has an entry. An entry alone proves nothing, so the store looks up its session.
 *
 * At most `most` sessions: each further one returns those that end first, for the store to end.
 */
export class RedisSessionIndex {
  readonly #redis: RedisConnection;
  readonly #prefix: string;
  readonly #most: number;

  constructor(redis: RedisConnection, prefix: string, most: number) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#most = most;
  }

  /**
   * Adds a session, or moves its end. Returns the ids of sessions that the store has to end, at most two. Cost: O(log
   * most).
   */
  async enter(tag: string, sid: string, expiresAt: number, now: number): Promise<string[]> {
    const args = [sid, String(expiresAt), String(now), String(SLACK_MS), String(this.#most)];
    const named = texts(await this.#redis.eval(ENTER, [this.#endsOf(tag), this.#begunOf(tag)], args));
    return [...new Set(named)].filter((other) => other !== sid);
  }

  /** Removes a session that has ended, or was never written. */
  async leave(tag: string, sid: string): Promise<void> {
    await Promise.all([
      this.#redis.command("ZREM", this.#endsOf(tag), sid),
      this.#redis.command("ZREM", this.#begunOf(tag), sid),
    ]);
  }

  /** All ids, in the order in which their sessions end. Cost: O(most). */
  async ids(tag: string): Promise<string[]> {
    return texts(await this.#redis.command("ZRANGE", this.#endsOf(tag), "0", "-1"));
  }

  /** The ids of sessions that began at least that long ago, by the clock of Redis. Cost: O(most). */
  async begunBefore(tag: string, agoMs: number): Promise<string[]> {
    return texts(await this.#redis.eval(BEGUN, [this.#begunOf(tag)], [String(agoMs)]));
  }

  #endsOf(tag: string): string {
    return `${this.#prefix}sessions-of:{${tag}}`;
  }

  #begunOf(tag: string): string {
    return `${this.#endsOf(tag)}:begun`;
  }
}

function texts(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}
