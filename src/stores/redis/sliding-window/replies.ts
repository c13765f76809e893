import { StoreError } from "../../../core/portcullis-error.js";
import type { WindowOutcome } from "../../contracts.js";
import { RedisError, type RedisReply } from "../client.js";

/** The script's answer to a batch, and the position of one group's answers in it. */
export interface BatchReply {
  readonly reply: RedisReply;
  /** Whether the reply is the answer to the only key: without an array around it, and without a time. */
  readonly isBare: boolean;
  /** Index of the group's first key. */
  readonly at: number;
  /** Number of keys in the whole batch. */
  readonly total: number;
}

/** One number combines two: units above this, milliseconds below it. */
const UNIT = 2 ** 32;

/**
 * The outcome for one key.
 *
 * @throws RedisError the failure of that key
 * @throws StoreError when a proxy or another program answered instead of the script
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
    throw unexpectedReply();
  return { allowed: verdict === 1, used, retryAfterMs, resetMs };
}

/** @throws as `outcomeOf`, the failure of the first key that failed */
export function outcomesOf(batch: BatchReply, keys: number): WindowOutcome[] {
  if (batch.isBare) return [outcomeOf(batch.reply)];
  const answers = answersTo(batch);
  const outcomes: WindowOutcome[] = [];
  for (let index = batch.at; index < batch.at + keys; index += 1) outcomes.push(outcomeOf(answers[index]));
  return outcomes;
}

/** The time of that batch's decision: microseconds of Redis' clock, which a refund needs. */
export function recordedAt(batch: BatchReply): string {
  return String(answersTo(batch)[batch.total]);
}

/** The answers to all keys of a batch, and its time. @throws StoreError as `outcomeOf` */
export function answersTo({ reply, total }: BatchReply): readonly unknown[] {
  if (!Array.isArray(reply) || reply.length !== total + 1) throw unexpectedReply();
  return reply as readonly unknown[];
}

function unexpectedReply(): StoreError {
  return new StoreError("Redis did not answer as the script does.");
}
