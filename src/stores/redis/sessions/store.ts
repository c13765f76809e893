// Types only: connect-redis is an optional peer, loaded when a store is made.
import type { RedisStore } from "connect-redis";
import session from "express-session";
import { systemClock, type Clock } from "../../../core/clock.js";
import type { Secret } from "../../../core/secret.js";
import type { PrincipalSession, SessionStore } from "../../contracts.js";
import { openRedis } from "../client.js";
import type { RedisConnection, RedisReply } from "../connection.js";
import { ENDED_MS } from "../../session-record.js";
import { loadOptional } from "../../optional-package.js";
import { importPackage, type LoadPackage } from "../own-client.js";
import { END, INDEX, TOUCH, WRITE } from "./scripts.js";
import {
  HEAD_LENGTH,
  TIMES_AT,
  headOf,
  ownerTag,
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
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock;
}

type Way = "set" | "create" | "replace";
type Callback<T> = (error: unknown, value?: T) => void;

/** How long an entry of the index outlives its session, for processes whose clocks differ. */
const INDEX_SLACK_MS = 300_000;

/** Sessions asked about at once, so that somebody with a hundred thousand of them holds nobody up. */
const SLICE = 500;

/** What connect-redis calls "the write did not happen"; it passes errors on and results not. */
const NOT_WRITTEN = new Error("The session has ended, or its id is taken.");

/**
 * Sessions in Redis by connect-redis, which serialises them and times their keys; the client given to it is an adapter
 * whose `SET` is a script that never revives a session. Sessions of a principal are found by an index: an id enters it
 * before its session is written and is looked up afterwards, so that nobody is in force unseen.
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
export class RedisSessionStore extends session.Store implements SessionStore {
  readonly #redis: RedisConnection;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #ways: Promise<Readonly<Record<Way, RedisStore>>>;

  /** @throws SettingsError when the client is neither a URL nor a client */
  constructor(
    { client, prefix = "portcullis:", clock = systemClock }: RedisSessionStoreSettings,
    load: LoadPackage = importPackage,
  ) {
    super();
    this.#redis = openRedis(client);
    this.#prefix = prefix;
    this.#clock = clock;
    this.#ways = this.#open(load);
    // `ready()` and every call reject with the reason.
    this.#ways.catch(() => undefined);
  }

  /** Resolves when Redis answers. @throws SetupError (rejects) when connect-redis is not installed, or Redis does not answer */
  async ready(): Promise<void> {
    await this.#ways;
    await this.#redis.ready();
  }

  override get(sid: string, callback: Callback<session.SessionData | null>): void {
    answer(
      this.#ways.then((ways) => ways.set.get(sid) as Promise<session.SessionData | null>),
      callback,
    );
  }

  override set(sid: string, data: session.SessionData, callback?: Callback<void>): void {
    answer(
      this.#write("set", sid, data).then(() => undefined),
      callback,
    );
  }

  create(sid: string, data: session.SessionData, callback: Callback<boolean>): void {
    answer(this.#write("create", sid, data), callback);
  }

  replace(sid: string, data: session.SessionData, callback: Callback<boolean>): void {
    answer(this.#write("replace", sid, data), callback);
  }

  override touch(sid: string, data: session.SessionData, callback?: Callback<boolean>): void {
    const head = this.#headOf(data);
    const life = this.#lifeMs(head);
    const touched = this.#redis.eval(TOUCH, [this.#keyOf(sid)], [String(TIMES_AT), writeTimes(head), String(life)]);
    answer(
      Promise.all([touched, this.#enter(sid, head)]).then(([found]) => found === 1),
      callback,
    );
  }

  override destroy(sid: string, callback?: Callback<boolean>): void {
    answer(
      this.#end(sid, "").then(async (head) => {
        if (head?.tag !== undefined) await this.#redis.command("ZREM", this.#indexOf(head.tag), sid);
        return head !== undefined;
      }),
      callback,
    );
  }

  async listByPrincipal(principalId: string): Promise<PrincipalSession[]> {
    const tag = ownerTag(principalId);
    const now = this.#clock.now();
    const found = await inSlices(await this.#idsOf(tag), async (sid) => {
      const head = readHead(
        text(await this.#redis.command("GETRANGE", this.#keyOf(sid), "0", String(HEAD_LENGTH - 1))),
      );
      return head !== undefined && head.tag === tag && head.expiresAt > now
        ? [{ sid, createdAt: head.createdAt, seenAt: head.seenAt, expiresAt: head.expiresAt }]
        : [];
    });
    return found.flat();
  }

  async destroyByPrincipal(principalId: string, exceptSid?: string): Promise<number> {
    const tag = ownerTag(principalId);
    const ids = (await this.#idsOf(tag)).filter((sid) => sid !== exceptSid);
    // Also an id whose session is not there: it may be about to be created.
    const ended = await inSlices(ids, (sid) => this.#end(sid, tag));
    for (let from = 0; from < ids.length; from += SLICE)
      await this.#redis.command("ZREM", this.#indexOf(tag), ...ids.slice(from, from + SLICE));
    const now = this.#clock.now();
    return ended.filter((head) => head !== undefined && head.expiresAt > now).length;
  }

  /** Closes the connection when it was opened here from a URL. */
  async close(): Promise<void> {
    await this.#redis.close();
  }

  async #open(load: LoadPackage): Promise<Readonly<Record<Way, RedisStore>>> {
    const Store = await connectRedis(load);
    const make = (way: Way): RedisStore =>
      new Store({
        client: {
          get: async (key: string) => text(await this.#redis.command("GET", key)),
          set: async (key: string, value: string, options: { expiration: { value: number } }) => {
            const written = await this.#redis.eval(WRITE, [key], [way, value, String(options.expiration.value * 1000)]);
            if (written !== 1) throw NOT_WRITTEN;
          },
          // connect-redis deletes instead of writing what has ended already.
          del: async ([key = ""]: string[]) =>
            this.#redis.eval(END, [key], [String(HEAD_LENGTH), String(ENDED_MS), ""]),
        },
        prefix: `${this.#prefix}session:`,
        // connect-redis gives `null` on as what it is: no session.
        serializer: {
          parse: readValue as (value: string) => session.SessionData,
          stringify: (data) => writeValue(this.#headOf(data), data),
        },
        ttl: (data) => Math.ceil(this.#lifeMs(this.#headOf(data)) / 1000),
      });
    return { set: make("set"), create: make("create"), replace: make("replace") };
  }

  async #write(way: Way, sid: string, data: session.SessionData): Promise<boolean> {
    const ways = await this.#ways;
    const entered = this.#enter(sid, this.#headOf(data));
    // A session that exists is in the index; only its end moves there, which needs no order.
    if (way !== "replace") await entered;
    const written = new Promise<boolean>((resolve, reject) => {
      void ways[way].set(sid, data, (error: unknown) => {
        if (error === NOT_WRITTEN) resolve(false);
        else if (error == null) resolve(true);
        else reject(error);
      });
    });
    const [outcome] = await Promise.all([written, entered]);
    return outcome;
  }

  async #enter(sid: string, { tag, expiresAt }: SessionHead): Promise<void> {
    if (tag === undefined) return;
    const now = this.#clock.now();
    const args = [sid, String(expiresAt), String(now), String(INDEX_SLACK_MS)];
    await this.#redis.eval(INDEX, [this.#indexOf(tag)], args);
  }

  async #end(sid: string, tag: string): Promise<SessionHead | undefined> {
    return readHead(
      text(await this.#redis.eval(END, [this.#keyOf(sid)], [String(HEAD_LENGTH), String(ENDED_MS), tag])),
    );
  }

  async #idsOf(tag: string): Promise<string[]> {
    // As writes do, so that what was asked for first reaches Redis first.
    await this.#ways;
    const reply = await this.#redis.command("ZRANGE", this.#indexOf(tag), "0", "-1");
    return Array.isArray(reply) ? reply.map(String) : [];
  }

  #headOf(data: session.SessionData): SessionHead {
    return headOf(data, this.#clock.now());
  }

  #lifeMs({ expiresAt }: SessionHead): number {
    return Math.max(0, expiresAt - this.#clock.now());
  }

  #keyOf(sid: string): string {
    return `${this.#prefix}session:${sid}`;
  }

  #indexOf(tag: string): string {
    return `${this.#prefix}sessions-of:${tag}`;
  }
}

async function connectRedis(load: LoadPackage): Promise<typeof RedisStore> {
  const loaded = await loadOptional("Sessions in Redis need", "connect-redis", () => load("connect-redis"));
  return loaded.RedisStore as typeof RedisStore;
}

async function inSlices<T>(ids: readonly string[], act: (sid: string) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let from = 0; from < ids.length; from += SLICE)
    results.push(...(await Promise.all(ids.slice(from, from + SLICE).map(act))));
  return results;
}

function text(reply: RedisReply): string {
  return typeof reply === "string" ? reply : "";
}

function answer<T>(outcome: Promise<T>, callback: Callback<T> = () => undefined): void {
  outcome.then((value) => callback(null, value), callback);
}
