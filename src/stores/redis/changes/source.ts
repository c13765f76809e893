import { StoreError } from "../../../core/portcullis-error.js";
import { randomBytes } from "node:crypto";
import type { Clock } from "../../../core/clock.js";
import {
  readChange,
  writeChange,
  type Change,
  type ChangeBatch,
  isKeyNotice,
  type ChangeSource,
} from "../../revocations/changes.js";
import { PAGE, POSITION, RECORD, SINCE } from "./scripts.js";
import type { RedisConnection, RedisReply } from "../connection.js";

export interface RedisChangeSourceSettings {
  /** Put before every key and channel. */
  readonly prefix?: string;
  readonly clock: Clock;
}

/** How long the change log stays when no process reads it any more, in milliseconds. */
const LIFE_MS = 86_400_000;
/** Lines kept for processes that fall behind; a process that falls further behind reads everything again. */
const LOG_LINES = 10_000;
/** Denials are removed this long after their end, since the clocks of processes differ. */
const SLACK_MS = 3_600_000;
const BATCH = 500;
/** Denials read in one call. */
const PAGE_SIZE = 1000;

/** The change log in Redis, and messages that announce changes at once. */
export class RedisChangeSource implements ChangeSource {
  readonly name = "redis";
  readonly #redis: RedisConnection;
  readonly #clock: Clock;
  readonly #keys: { readonly state: string; readonly log: string; readonly denied: string };
  readonly #channel: string;

  constructor(redis: RedisConnection, { prefix = "portcullis:", clock }: RedisChangeSourceSettings) {
    this.#redis = redis;
    this.#clock = clock;
    const tag = `${prefix}{changes}`;
    this.#keys = { state: `${tag}:state`, log: `${tag}:log`, denied: `${tag}:denied` };
    this.#channel = `${tag}:told`;
  }

  async load(): Promise<ChangeBatch> {
    // Read the position first: `since` then repeats changes that are recorded while the set is read.
    const { state, log } = this.#keys;
    const [epoch, count, mark] = texts(await this.#redis.eval(POSITION, [state, log], [newEntryId(), String(LIFE_MS)]));
    return { changes: await this.#inForce(), position: `${epoch} ${count} ${mark}`, gap: false };
  }

  async since(position: string): Promise<ChangeBatch> {
    const [epoch = "", count = "0", mark = ""] = position.split(" ");
    const { state, log } = this.#keys;
    const reply = await this.#redis.eval(SINCE, [state, log], [epoch, count, mark, String(LIFE_MS)]);
    if (!isList(reply)) return { changes: [], position, gap: true };
    const lines = texts(reply[1]);
    const last = lines.at(-1);
    return {
      changes: changesOf(lines),
      position: `${epoch} ${String(reply[0])} ${last === undefined ? mark : markOf(last)}`,
      gap: false,
    };
  }

  record(changes: readonly Change[]): Promise<void> {
    return this.#record(changes, false);
  }

  restore(changes: readonly Change[]): Promise<void> {
    return this.#record(changes, true);
  }

  watch(listener: (changes: readonly Change[]) => void, onGap: () => void): Promise<() => Promise<void>> {
    return this.#redis.subscribe(this.#channel, {
      message: (text) => listener(changesOf(text.split("\n"))),
      gap: onGap,
    });
  }

  async #record(changes: readonly Change[], onlyMissing: boolean): Promise<void> {
    const { state, log, denied } = this.#keys;
    for (let start = 0; start < changes.length; start += BATCH) {
      const now = this.#clock.now();
      const args = [
        newEntryId(),
        String(LIFE_MS),
        this.#channel,
        String(LOG_LINES),
        String(now),
        String(SLACK_MS),
        onlyMissing ? "1" : "0",
      ];
      for (const change of changes.slice(start, start + BATCH))
        args.push(
          `${newEntryId()} ${writeChange(change)}`,
          memberOf(change),
          isKeyNotice(change) ? "" : String(change.endsAt),
        );
      await this.#redis.eval(RECORD, [state, log, denied], args);
    }
  }

  /** In pages, so that Redis is not blocked. */
  async #inForce(): Promise<Change[]> {
    const changes: Change[] = [];
    for (let from = "-inf", size = PAGE_SIZE; ;) {
      const found = texts(await this.#redis.eval(PAGE, [this.#keys.denied], [from, String(size)]));
      for (let at = 0; at + 1 < found.length; at += 2) {
        const change = readChange(found[at] ?? "");
        if (change !== undefined && !isKeyNotice(change)) changes.push({ ...change, endsAt: Number(found[at + 1]) });
      }
      if (found.length < 2 * size) return changes;
      // The next page begins with the end of this page's last denial, which others may share. When more share it than a
      // page holds, the next page must be longer.
      const last = found[found.length - 1] ?? from;
      if (last === from) size *= 2;
      from = last;
    }
  }
}

/** The parts of a denial except its end, which is the score. */
function memberOf(change: Change): string {
  return writeChange(isKeyNotice(change) ? change : { ...change, endsAt: 0 });
}

function changesOf(lines: readonly string[]): Change[] {
  return lines.flatMap((line) => readChange(line.slice(line.indexOf(" ") + 1)) ?? []);
}

function markOf(line: string): string {
  return line.slice(0, line.indexOf(" "));
}

function newEntryId(): string {
  return randomBytes(9).toString("base64url");
}

/** `Array.isArray` alone turns the elements of a readonly array into `any`. */
function isList(reply: RedisReply): reply is readonly RedisReply[] {
  return Array.isArray(reply);
}

function texts(reply: RedisReply): string[] {
  if (!isList(reply)) throw new StoreError("Redis did not answer with a list.");
  return reply.map(String);
}
