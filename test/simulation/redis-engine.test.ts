import fc from "fast-check";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PAGE, POSITION, RECORD, SINCE } from "../../src/stores/redis/changes/scripts.js";
import type { RedisScript } from "../../src/stores/redis/connection.js";
import { ENTER as ENTER_SESSION, BEGUN, END, TOUCH, WRITE } from "../../src/stores/redis/sessions/scripts.js";
import { ENTER as ENTER_SINGLE_USE } from "../../src/stores/redis/single-use/scripts.js";
import { CONSUME, REFUND } from "../../src/stores/redis/sliding-window/scripts.js";
import { runs, seed } from "../property/seed.js";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { RedisEngine, type Reply } from "./world/redis-engine.js";

type Words = readonly string[];

/** What both servers are asked: a command, or a script by its text. */
interface Call {
  readonly words: Words;
  /** The part of the reply that does not depend on the moment. */
  readonly seen?: (reply: Reply) => Reply;
}

const HOUR = "3600000";
/** Far more than a test takes: what a life is does not matter, only whether there is one. */
const hasLife = (reply: Reply): Reply => (typeof reply === "number" && reply > 0 ? 1 : reply);

const key = fc.constantFrom("a", "b", "c");
const text = fc.constantFrom("", "x", "text", "-", "12", "a longer value");
const member = fc.constantFrom("m", "n", "o", "p");
const score = fc.oneof(fc.integer({ min: -3, max: 9 }).map(String), fc.constantFrom("1.5", "1700000000000", "-inf"));
const end = fc.oneof(
  score,
  score.filter((one) => one !== "-inf").map((one) => `(${one}`),
  fc.constant("+inf"),
);
const index = fc.integer({ min: -4, max: 4 }).map(String);

const command = (...parts: readonly (string | fc.Arbitrary<string>)[]): fc.Arbitrary<Call> =>
  fc.tuple(...parts.map((part) => (typeof part === "string" ? fc.constant(part) : part))).map((words) => ({ words }));

const commands = fc.oneof(
  command("GET", key),
  command("SET", key, text),
  command("SET", key, text, "PX", HOUR),
  command("SET", key, text, "NX", "PX", HOUR),
  command("SET", key, text, "KEEPTTL"),
  command("SET", key, text, "PX", "0"),
  command("GETDEL", key),
  command("DEL", key, key),
  command("GETRANGE", key, index, index),
  command("SETRANGE", key, fc.constantFrom("0", "2", "6"), text),
  command("PEXPIRE", key, HOUR),
  command("PTTL", key).map((call) => ({ ...call, seen: hasLife })),
  command("HGET", key, member),
  command("HSET", key, member, text),
  command("HSETNX", key, member, text),
  command("HINCRBY", key, member, index),
  command("RPUSH", key, text, text),
  command("LLEN", key),
  command("LINDEX", key, index),
  command("LRANGE", key, index, index),
  command("LTRIM", key, index, index),
  command("ZADD", key, score, member),
  command("ZADD", key, "NX", score, member),
  command("ZADD", key, text, member),
  command("ZSCORE", key, member),
  command("ZCARD", key),
  command("ZRANK", key, member),
  command("ZREM", key, member, member),
  command("ZRANGE", key, index, index),
  command("ZREVRANGE", key, index, index, "WITHSCORES"),
  command("ZRANGEBYSCORE", key, end, end),
  command("ZRANGEBYSCORE", key, end, end, "WITHSCORES", "LIMIT", fc.constantFrom("0", "1"), fc.constantFrom("2", "-1")),
  command("ZREMRANGEBYSCORE", key, end, end),
  command("PING"),
);

const script = (
  { source }: RedisScript,
  keys: readonly string[],
  args: readonly (string | fc.Arbitrary<string>)[],
  seen?: Call["seen"],
): fc.Arbitrary<Call> =>
  command("EVAL", fc.constant(source), String(keys.length), ...keys, ...args).map((call) =>
    seen === undefined ? call : { ...call, seen },
  );

const UNIT = 2 ** 32;
/** Units used, negative when refused; when the oldest leaves depends on the moment. No batch here has three keys. */
const units = (reply: Reply): Reply => {
  if (Array.isArray(reply) && reply.length === 4) return (reply[0] === 1 ? 1 : -1) * Number(reply[1]);
  if (Array.isArray(reply)) return reply.flatMap((one, at) => (at === reply.length - 1 ? [] : [units(one)]));
  return typeof reply === "number" ? Math.sign(reply) * Math.floor(Math.abs(reply) / UNIT) : reply;
};
const cost = fc.constantFrom("1", "2", "3");
const mark = fc.constantFrom("set", "create", "replace");
const id = fc.constantFrom("s1", "s2", "s3", "s4", "s5");
const ends = fc.integer({ min: 1, max: 5 }).map((hours) => String(1_900_000_000_000 + hours * 3_600_000));

const scripts = fc.oneof(
  script(CONSUME, ["w"], ["5 3600002"], units),
  script(CONSUME, ["w"], [cost.map((one) => `5 -3600002 3600000000 1 ${one}`)], units),
  script(CONSUME, ["w", "v"], ["5 3600002", "3 3600002", "2"], units),
  script(CONSUME, ["w", "v"], ["5 3600002", "3 3600002", "1 1"], units),
  script(CONSUME, ["w"], ["5 3600002", "1", "look"], units),
  script(CONSUME, ["wide"], [cost.map((one) => `70000 -3600002 3600000000 1 ${one} w`)], units),
  script(REFUND, ["w"], ["5", "3600000000", "1", cost, ""]),
  script(WRITE, ["s"], [mark, text, HOUR]),
  script(TOUCH, ["s"], [fc.constantFrom("0", "3"), text, HOUR]),
  script(END, ["s"], ["4", HOUR, fc.constantFrom("", "x")]),
  script(ENTER_SESSION, ["of", "begun"], [id, ends, "1900000000000", "300000", "3"]),
  script(BEGUN, ["begun"], ["3600000"]),
  script(ENTER_SINGLE_USE, ["one"], [id, ends, HOUR, "3"]),
  script(POSITION, ["state", "log"], ["epoch", HOUR]),
  script(SINCE, ["state", "log"], ["epoch", index, fc.constantFrom("", "m1", "m2"), HOUR]),
  script(
    RECORD,
    ["state", "log", "denied"],
    [
      "epoch",
      HOUR,
      "channel",
      "3",
      "1900000000000",
      "0",
      fc.constantFrom("0", "1"),
      "m1 {}",
      "{}",
      ends,
      "m2 {}",
      "{2}",
      "",
    ],
  ),
  script(PAGE, ["denied"], ["-inf", fc.constantFrom("1", "5")]),
);

describe("the simulated Redis", () => {
  let real: { connect(): Promise<unknown>; sendCommand(call: string[]): Promise<unknown>; destroy(): void };
  let engine: RedisEngine;
  beforeAll(async () => {
    real = createClient({ url: (await sharedRedis()).url, RESP: 2 });
    await real.connect();
    engine = await RedisEngine.create();
  });
  afterAll(() => real.destroy());

  /** Each run has keys of its own on the real server. */
  async function compare(calls: readonly Call[]): Promise<void> {
    engine.forgetData();
    const prefix = `${uniqueName()}:`;
    const own = ({ words: [name = "", first = "", ...rest] }: Call): string[] => {
      if (name === "PING") return [name];
      if (name !== "EVAL") return [name, prefix + first, ...(name === "DEL" ? rest.map((one) => prefix + one) : rest)];
      const keys = Number(rest[0]);
      return [name, first, String(keys), ...rest.slice(1).map((word, at) => (at < keys ? prefix + word : word))];
    };
    const told = await Promise.all(
      calls.map((call) =>
        real.sendCommand(own(call)).then(
          (reply) => reply as Reply,
          (error: unknown) => error as Error,
        ),
      ),
    );
    const now = Date.now() * 1000;
    for (const [at, { words, seen = (reply: Reply) => reply }] of calls.entries()) {
      const [name, source = "", ...rest] = words;
      const { reply } =
        name === "EVAL" ? engine.serveSource(now + at, source, ...rest) : engine.serve(now + at, ...words);
      const simulated = plain(reply);
      expect({ at, words: words.slice(0, 4), reply: seen(simulated) }).toEqual({
        at,
        words: words.slice(0, 4),
        reply: seen(plain(told[at] ?? null)),
      });
    }
  }

  it("answers every command as a real one", async () => {
    const several = fc.array(commands, { minLength: 1, maxLength: 60 });
    await fc.assert(fc.asyncProperty(several, compare), { seed, numRuns: runs(300) });
  });

  it("runs every script of the library as a real one", async () => {
    const several = fc.array(scripts, { minLength: 1, maxLength: 60 });
    await fc.assert(fc.asyncProperty(several, compare), { seed, numRuns: runs(300) });
  });
});

/** Errors by their first word, as the library reads them; texts as far as a NUL, where those of the simulated one end. */
function plain(reply: Reply): Reply {
  if (reply instanceof Error) return `error ${reply.message.split(" ")[0] ?? ""}`;
  if (typeof reply === "string") return reply.split("\0")[0] ?? "";
  return Array.isArray(reply) ? reply.map(plain) : reply;
}
