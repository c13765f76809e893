import type { WindowOutcome } from "../../contracts.js";
import { RedisError, type RedisReply } from "../client.js";

/** The script's answer to a batch, and where in it the answer to one of its groups is. */
export interface BatchReply {
  readonly reply: RedisReply;
  /** Whether the answer to the only key is all there is: no array around it, and no time. */
  readonly isBare: boolean;
  /** Number of the group's first key. */
  readonly at: number;
  /** Keys of the whole batch. */
  readonly total: number;
}

/** Two numbers are in one: units above this, milliseconds below it. */
const UNIT = 2 ** 32;

/**
 * The outcome for one key.
 *
 * @throws RedisError what went wrong with that key
 * @throws TypeError when a proxy or another program answered instead of the script
 */
export function outcomeOf(answer: unknown): WindowOutcome {
  if (typeof answer === "number") {
    const size = Math.abs(answer);
    const used = Math.floor(size / UNIT);
    const resetMs = size - used * UNIT;
    return answer < 0
      ? { allowed: false, used, retryAfterMs: resetMs, resetMs }
      : { allowed: true, used, retryAfterMs: 0, resetMs };
  }
  const [verdict, used, retryAfterMs, resetMs] = Array.isArray(answer) ? (answer as readonly unknown[]) : [];
  if (typeof verdict === "string" && used === undefined) throw new RedisError(new Error(verdict));
  if (typeof used !== "number" || typeof retryAfterMs !== "number" || typeof resetMs !== "number")
    throw somethingElse();
  return { allowed: verdict === 1, used, retryAfterMs, resetMs };
}

/** @throws as `outcomeOf`, what went wrong with the first key of which something did */
export function outcomesOf(batch: BatchReply, keys: number): WindowOutcome[] {
  if (batch.isBare) return [outcomeOf(batch.reply)];
  const answers = answersTo(batch);
  const outcomes: WindowOutcome[] = [];
  for (let index = batch.at; index < batch.at + keys; index += 1) outcomes.push(outcomeOf(answers[index]));
  return outcomes;
}

/** When that batch was decided: microseconds of Redis' clock, by which what it recorded can be taken back. */
export function recordedAt(batch: BatchReply): string {
  return String(answersTo(batch)[batch.total]);
}

/** The answers to all keys of a batch, and its time. @throws TypeError as `outcomeOf` */
export function answersTo({ reply, total }: BatchReply): readonly unknown[] {
  if (!Array.isArray(reply) || reply.length !== total + 1) throw somethingElse();
  return reply as readonly unknown[];
}

function somethingElse(): TypeError {
  return new TypeError("Redis answered something else than the script does.");
}
