import { createHash } from "node:crypto";
import { systemClock, type Clock } from "../../../core/clock.js";
import { StoreError } from "../../../core/portcullis-error.js";
import type { Secret } from "../../../core/secret.js";
import type { SingleUseRecord, SingleUseStore, WriteCall } from "../../contracts.js";
import {
  copySingleUse,
  dataOf,
  hasEnded,
  isKind,
  isRecordId,
  readRecord,
  SINGLE_USE_OF_ONE,
} from "../../credential-records.js";
import { commitAtOnce } from "../../health/write-call.js";
import { openRedis } from "../client.js";
import type { RedisConnection, RedisReply } from "../connection.js";
import { ENTER } from "./scripts.js";

/** Settings of a `RedisSingleUseStore`. */
export interface RedisSingleUseStoreSettings {
  /** A `redis:` URL or a client; see `openRedis`. */
  readonly client: Secret | string | object;
  /** Put before every key. Default `portcullis:`. */
  readonly prefix?: string;
  /** The time, for tests. Default: the clock of the machine. */
  readonly clock?: Clock;
}

/**
 * Records that can be used once, in Redis. Each is one string that expires by itself; GETDEL takes it, so one caller
 * alone gets it. A sorted set for each person and kind holds the number down: an id enters it before its record is
 * written, so no record is missing from it. An entry alone is no record.
 *
 * A command that has been sent cannot be taken back: a caller that gave up in that moment may have had its record taken.
 *
 * @example
 * ```ts
 * import { RedisSingleUseStore } from "portcullis/redis";
 *
 * // For createAccounts(security, { stores: { singleUse } })
 * const singleUse = new RedisSingleUseStore({ client: "redis://localhost:6379" });
 * await singleUse.close();
 * ```
 */
export class RedisSingleUseStore implements SingleUseStore {
  readonly #redis: RedisConnection;
  readonly #prefix: string;
  readonly #clock: Clock;

  /** @throws SettingsError when the client is neither a URL nor a client */
  constructor({ client, prefix = "portcullis:", clock = systemClock }: RedisSingleUseStoreSettings) {
    this.#redis = openRedis(client);
    this.#prefix = prefix;
    this.#clock = clock;
  }

  /** Resolves when Redis answers. @throws SetupError (rejects) when it does not */
  async init(): Promise<void> {
    await this.#redis.ready();
  }

  /** Cost: one script, O(log 10), and one command; with another record that gives way one more. */
  async put(record: SingleUseRecord, call?: WriteCall): Promise<void> {
    const { id, kind, ownerId, data, expiresAt } = copySingleUse(record);
    const life = String(Math.max(1, expiresAt - this.#clock.now()));
    const args = [id, String(expiresAt), life, String(SINGLE_USE_OF_ONE)];
    const index = this.#indexOf(kind, ownerId);
    const leaving = await commitAtOnce(call, () => this.#redis.eval(ENTER, [index], args));
    const value = JSON.stringify({ ownerId, expiresAt, data });
    const write = () => this.#redis.command("SET", this.#keyOf(kind, id), value, "NX", "PX", life);
    if ((await commitAtOnce(call, write)) !== "OK")
      throw new StoreError("A single-use record with this id already exists.");
    // A record that stays when this fails ends by itself, and is not in the index: it harms nobody.
    await Promise.allSettled(texts(leaving).map((other) => this.#redis.command("DEL", this.#keyOf(kind, other))));
  }

  /** Cost: one command. */
  async get(kind: string, id: string, now: number): Promise<SingleUseRecord | undefined> {
    if (!isKind(kind) || !isRecordId(id)) return undefined;
    return recordOf(kind, id, await this.#redis.command("GET", this.#keyOf(kind, id)), now);
  }

  /** Cost: two commands. */
  async take(kind: string, id: string, now: number, call?: WriteCall): Promise<SingleUseRecord | undefined> {
    if (!isKind(kind) || !isRecordId(id)) return undefined;
    const taken = await commitAtOnce(call, () => this.#redis.command("GETDEL", this.#keyOf(kind, id)));
    const record = recordOf(kind, id, taken, now);
    // An id that stays in the index when this fails is no record, and gives way before a newer one.
    if (record !== undefined)
      await this.#redis.command("ZREM", this.#indexOf(kind, record.ownerId), id).catch(() => undefined);
    return record;
  }

  /** Every key expires by itself. */
  async deleteExpired(): Promise<number> {
    return 0;
  }

  /** Closes the connection when this store opened it from a URL. */
  async close(): Promise<void> {
    await this.#redis.close();
  }

  #keyOf(kind: string, id: string): string {
    return `${this.#prefix}single-use:${kind}:{${id}}`;
  }

  /** Named by a hash, since an owner may contain braces, which would choose the slot of a cluster. */
  #indexOf(kind: string, ownerId: string): string {
    const owner = createHash("sha256").update(ownerId).digest("base64url");
    return `${this.#prefix}single-use-of:${kind}:{${owner}}`;
  }
}

/** @throws UnreadableRecordError when the value is damaged, or of a newer version */
function recordOf(kind: string, id: string, value: RedisReply, now: number): SingleUseRecord | undefined {
  if (typeof value !== "string") return undefined;
  const record = readRecord("single-use record", () => {
    const { ownerId, expiresAt, data } = dataOf(value) as unknown as SingleUseRecord;
    return copySingleUse({ id, kind, ownerId, data: dataOf(JSON.stringify(data)), expiresAt });
  });
  return hasEnded(record, now) ? undefined : record;
}

function texts(reply: RedisReply): string[] {
  return Array.isArray(reply) ? reply.map(String) : [];
}
