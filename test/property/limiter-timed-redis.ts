import { expect } from "vitest";
import { type RedisConnection, RedisError, type RedisScript, redisScript } from "../../src/stores/redis/client.js";

/** 2026 in microseconds of Redis' clock. */
const START_US = 1_795_000_000_000_000;

const timed = new Map<string, RedisScript>();

/** The script as it is, but for where it reads the time. */
function withSetClock(script: RedisScript): RedisScript {
  const known = timed.get(script.sha);
  if (known !== undefined) return known;
  const changed = script.source.replace(/(redis\.)?call\('TIME'\)/, "set");
  expect(changed).not.toBe(script.source);
  const made = redisScript(`local set = cjson.decode(table.remove(ARGV))\n${changed}`);
  timed.set(script.sha, made);
  return made;
}

/** A real Redis whose clock a test sets, behind a line that a test cuts. */
export class TimedRedis implements RedisConnection {
  readonly library: RedisConnection["library"];
  readonly isCluster = false;
  us = START_US;
  /** What the line does to the next scripts: the request never arrives, or the answer is lost after Redis has done it. */
  line: "whole" | "loses-requests" | "loses-answers" = "whole";
  /** Scripts that were to be run, lost ones included. */
  calls = 0;
  readonly #redis: RedisConnection;

  constructor(redis: RedisConnection) {
    this.#redis = redis;
    this.library = redis.library;
  }

  eval: RedisConnection["eval"] = async (script, keys, args) => {
    this.calls += 1;
    if (this.line === "loses-requests") throw lost();
    const answer = await this.#redis.eval(withSetClock(script), keys, [
      ...args,
      JSON.stringify([Math.floor(this.us / 1e6), this.us % 1e6]),
    ]);
    if (this.line === "loses-answers") throw lost();
    return answer;
  };

  command: RedisConnection["command"] = (...words) => this.#redis.command(...words);
  publish: RedisConnection["publish"] = (...words) => this.#redis.publish(...words);
  subscribe: RedisConnection["subscribe"] = (...words) => this.#redis.subscribe(...words);
  ready = (): Promise<void> => this.#redis.ready();
  close = (): Promise<void> => Promise.resolve();
}

function lost(): RedisError {
  return new RedisError(Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }));
}
