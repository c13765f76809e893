import { ExpressSessionStore, type SessionData } from "../../express-session.js";
import { systemClock, type Clock } from "../../../core/clock.js";
import type { Secret } from "../../../core/secret.js";
import { InvalidInputError } from "../../../core/portcullis-error.js";
import type { PrincipalSession, SessionStore } from "../../contracts.js";
import { openRedis } from "../client.js";
import type { RedisConnection, RedisReply } from "../connection.js";
import { ENDED_MS } from "../../contracts.js";
import { RedisSessionIndex } from "./principal-index.js";
import { END, TOUCH, WRITE } from "./scripts.js";
import {
  HEAD_LENGTH,
  TIMES_AT,
  headOf,
  ownerTag,
  readDetails,
  readHead,
  readValue,
  writeTimes,
  writeValue,
  type SessionHead,
} from "./value.js";

/** Settings of a `RedisSessionStore`. */
export interface RedisSessionStoreSettings {
  /** A `redis:` URL or a client; see `openRedis`. */
  readonly client: Secret | string | object;
  /** Put before every key. Default `portcullis:`. */
  readonly prefix?: string;
  /**
   * How many sessions one principal has at most, 1 to 1000; with one more, the one that would end first is ended.
   * Default: `100`.
   */
  readonly maxPerPrincipal?: number;
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock;
}

type WriteMode = "set" | "create" | "replace";
type Callback<T> = (error: unknown, value?: T) => void;

const MOST_PER_PRINCIPAL = 100;

/**
 * Sessions in Redis. A session is one string; each write is a script that never revives a session that has ended. An
 * index finds the sessions of a principal, and their number is bounded (`maxPerPrincipal`), so listing or ending them
 * costs no more for a principal that has logged in ten thousand times.
 *
 * There is no `all`, `length` or `clear`: they would SCAN a database that may hold other things.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { sessions } from "portcullis";
 * import { RedisSessionStore } from "portcullis/redis";
 *
 * const app = express();
 * const store = new RedisSessionStore({ client: "redis://localhost:6379" });
 * app.use(sessions({ secret: process.env.SESSION_SECRET_KEY, store }));
 * ```
 */
export class RedisSessionStore extends ExpressSessionStore implements SessionStore {
  readonly #redis: RedisConnection;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #index: RedisSessionIndex;
  /** The sessions that this process is creating. One that is destroyed meanwhile displaces no other session. */
  readonly #creating = new Set<string>();

  /**
   * @throws SettingsError when the client is neither a URL nor a client
   * @throws InvalidInputError when `maxPerPrincipal` is not a whole number from 1 to 1000
   */
  constructor({
    client,
    prefix = "portcullis:",
    maxPerPrincipal = MOST_PER_PRINCIPAL,
    clock = systemClock,
  }: RedisSessionStoreSettings) {
    super();
    if (!Number.isInteger(maxPerPrincipal) || maxPerPrincipal < 1 || maxPerPrincipal > 1000)
      throw new InvalidInputError("maxPerPrincipal must be a whole number from 1 to 1000");
    this.#redis = openRedis(client);
    this.#prefix = prefix;
    this.#clock = clock;
    this.#index = new RedisSessionIndex(this.#redis, prefix, maxPerPrincipal);
  }

  /** Resolves when Redis answers. @throws SetupError (rejects) when it does not */
  async ready(): Promise<void> {
    await this.#redis.ready();
  }

  override get(sid: string, callback: Callback<SessionData | null>): void {
    answer(
      this.#redis.command("GET", this.#keyOf(sid)).then((value) => readValue(text(value))),
      callback,
    );
  }

  override set(sid: string, data: SessionData, callback?: Callback<void>): void {
    answer(
      this.#write("set", sid, data).then(() => undefined),
      callback,
    );
  }

  create(sid: string, data: SessionData, callback: Callback<boolean>): void {
    this.#creating.add(sid);
    answer(
      this.#write("create", sid, data).finally(() => this.#creating.delete(sid)),
      callback,
    );
  }

  replace(sid: string, data: SessionData, callback: Callback<boolean>): void {
    answer(this.#write("replace", sid, data), callback);
  }

  override touch(sid: string, data: SessionData, callback?: Callback<boolean>): void {
    answer(this.#touch(sid, data), callback);
  }

  override destroy(sid: string, callback?: Callback<boolean>): void {
    answer(this.#destroy(sid), callback);
  }

  /** Cost: one command for the index, and one for each of its ids, at most `maxPerPrincipal`. */
  async listByPrincipal(principalId: string): Promise<PrincipalSession[]> {
    const tag = ownerTag(principalId);
    const now = this.#clock.now();
    const found = await Promise.all(
      (await this.#index.ids(tag)).map(async (sid) => {
        const value = text(await this.#redis.command("GET", this.#keyOf(sid)));
        const head = readHead(value);
        return head !== undefined && head.tag === tag && head.expiresAt > now
          ? [{ sid, createdAt: head.createdAt, seenAt: head.seenAt, expiresAt: head.expiresAt, ...readDetails(value) }]
          : [];
      }),
    );
    return found.flat();
  }

  /** By the clock of Redis. Cost: one command, which reads at most `maxPerPrincipal` entries. */
  idsByPrincipal(principalId: string, agoMs: number): Promise<string[]> {
    return this.#index.begunBefore(ownerTag(principalId), agoMs);
  }

  /** Closes the connection when this store opened it from a URL. */
  async close(): Promise<void> {
    await this.#redis.close();
  }

  async #write(mode: WriteMode, sid: string, data: SessionData): Promise<boolean> {
    const head = headOf(data, this.#clock.now());
    const value = writeValue(head, data);
    const life = this.#lifeMs(head);
    if (life === 0) {
      await this.#destroy(sid);
      return true;
    }
    const entered = this.#enter(sid, head);
    // An existing session is already in the index. Only its end changes there, so the two writes need no order.
    if (mode !== "replace") await entered;
    const written = this.#redis.eval(WRITE, [this.#keyOf(sid)], [mode, value, String(life)]);
    const [outcome, leaving] = await Promise.all([written, entered]);
    if (outcome === 0) await this.#leave(sid, head);
    if (outcome === 1 && (mode !== "create" || this.#creating.has(sid))) await this.#displace(leaving, head);
    return outcome === 1;
  }

  async #touch(sid: string, data: SessionData): Promise<boolean> {
    const head = headOf(data, this.#clock.now());
    const args = [String(TIMES_AT), writeTimes(head), String(this.#lifeMs(head))];
    const touched = this.#redis.eval(TOUCH, [this.#keyOf(sid)], args);
    const [found, leaving] = await Promise.all([touched, this.#enter(sid, head)]);
    if (found === 1) await this.#displace(leaving, head);
    else await this.#leave(sid, head);
    return found === 1;
  }

  async #destroy(sid: string): Promise<boolean> {
    this.#creating.delete(sid);
    const head = await this.#end(sid, "");
    if (head !== undefined) await this.#leave(sid, head);
    return head !== undefined;
  }

  /** @param tag of the principal that the session must belong to, or empty */
  async #end(sid: string, tag: string): Promise<SessionHead | undefined> {
    const args = [String(HEAD_LENGTH), String(ENDED_MS), tag];
    return readHead(text(await this.#redis.eval(END, [this.#keyOf(sid)], args)));
  }

  /** Returns the ids of the principal's sessions for which there is no more room. */
  async #enter(sid: string, { tag, expiresAt }: SessionHead): Promise<readonly string[]> {
    return tag === undefined ? [] : this.#index.enter(tag, sid, expiresAt, this.#clock.now());
  }

  /** Ends the sessions that have to give way to one that has been written. */
  async #displace(leaving: readonly string[], { tag }: SessionHead): Promise<void> {
    if (tag === undefined) return;
    // A session that cannot be ended now stays in the index, and the next log-in returns it again.
    await Promise.allSettled(
      leaving.map(async (other) => {
        await this.#end(other, tag);
        await this.#index.leave(tag, other);
      }),
    );
  }

  async #leave(sid: string, { tag }: SessionHead): Promise<void> {
    if (tag !== undefined) await this.#index.leave(tag, sid);
  }

  #lifeMs({ expiresAt }: SessionHead): number {
    return Math.max(0, Math.ceil(expiresAt - this.#clock.now()));
  }

  #keyOf(sid: string): string {
    return `${this.#prefix}session:${sid}`;
  }
}

function text(reply: RedisReply): string {
  return typeof reply === "string" ? reply : "";
}

function answer<T>(outcome: Promise<T>, callback: Callback<T> = () => undefined): void {
  outcome.then((value) => callback(null, value), callback);
}
