import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../contracts.js";
import { checkCost, mergeRequests } from "../../window-requests.js";
import { openRedis, type RedisConnection } from "../client.js";
import { CONSUME, REFUND, RESET } from "./scripts.js";
import { type BatchReply, answersTo, outcomeOf, outcomesOf, recordedAt } from "./replies.js";
import { WindowBatches } from "./batches.js";
import { keyArgument, keyPart, type PreparedPolicy, preparePolicy, resetKey, windowKey } from "./keys.js";

/** An outcome and the time of the decision: microseconds of Redis' clock, which a refund needs. */
export interface TimedOutcome extends WindowOutcome {
  readonly recordedAt: string;
}

const LOOK = "look";

/** The scripts of the sliding-window log, with their keys and arguments in order. */
export class RedisWindows {
  readonly redis: RedisConnection;
  readonly #prefix: string;
  readonly #maxRecords: number;
  readonly #batches: WindowBatches;
  /** Policies are few and long-lived objects. */
  readonly #prepared = new WeakMap<WindowPolicy, PreparedPolicy>();

  constructor(redis: string | object, prefix: string, maxRecords: number) {
    this.redis = openRedis(redis);
    this.#prefix = prefix;
    this.#maxRecords = maxRecords;
    this.#batches = new WindowBatches((keys, args) => this.redis.eval(CONSUME, keys, args));
  }

  /** @param record whether to record an allowed request */
  async decide(policy: WindowPolicy, key: string, cost: number, record: boolean): Promise<WindowOutcome> {
    checkCost(cost);
    const prepared = this.#prepare(policy);
    const keys = [windowKey(this.#prefix, key, prepared)];
    const args = [keyArgument(prepared, cost)];
    try {
      if (!record) return outcomeOf(answersTo(await this.#look(keys, args))[0]);
      const alone = this.redis.isCluster ? this.redis.eval(CONSUME, keys, args) : this.#batches.alone(keys, args);
      if (alone !== undefined) return outcomeOf(await alone);
      const batch = await this.#batches.add(keys, args, false);
      return outcomeOf(answersTo(batch)[batch.at]);
    } catch (error) {
      this.redis.refused?.(error);
      throw error;
    }
  }

  /** Records an allowed request, for callers that may refund it. */
  async decideTimed(policy: WindowPolicy, key: string, cost: number): Promise<TimedOutcome> {
    checkCost(cost);
    const [outcome] = await this.#decideGroup([{ policy, key, cost }], true);
    return outcome!;
  }

  /** @param timed whether the outcomes have the time of the decision, for callers that may refund it */
  async decideAll(requests: readonly WindowRequest[], timed = false): Promise<readonly WindowOutcome[]> {
    const { merged, places } = mergeRequests(requests);
    if (merged.length === 0) return [];
    const outcomes = this.redis.isCluster
      ? await this.#acrossSlots(merged)
      : await (timed ? this.#decideGroup(merged, true) : this.#decideGroup(merged, false));
    return places.map((place) => outcomes[place]!);
  }

  async forget(policy: WindowPolicy, key: string): Promise<void> {
    const prepared = this.#prepare(policy);
    const keys = this.#keysOf(key, prepared);
    if (keys.length === 1) await this.redis.command("DEL", ...keys);
    else await this.redis.eval(RESET, keys, [String(prepared.life)]);
  }

  /**
   * @param recordedAt of the outcome; `""` refunds the oldest units
   * @returns how many units were refunded
   */
  async refund(policy: WindowPolicy, key: string, units: number, recordedAt: string): Promise<number> {
    const prepared = this.#prepare(policy);
    const back = await this.redis.eval(REFUND, this.#keysOf(key, prepared), [
      String(prepared.maxLimit),
      String(prepared.window),
      String(prepared.tick),
      String(units),
      recordedAt,
    ]);
    return typeof back === "number" ? back : 0;
  }

  /** The log and, where units recorded before and after a reset may have the same time, the mark of its last reset. */
  #keysOf(key: string, prepared: PreparedPolicy): string[] {
    const log = windowKey(this.#prefix, key, prepared);
    return prepared.tick === 1 ? [log] : [log, resetKey(log)];
  }

  /** All of them or none, atomically. In a Cluster all keys must belong to one client. */
  async #decideGroup(requests: readonly WindowRequest[], timed: false): Promise<WindowOutcome[]>;
  async #decideGroup(requests: readonly WindowRequest[], timed: true): Promise<TimedOutcome[]>;
  async #decideGroup(requests: readonly WindowRequest[], timed: boolean): Promise<WindowOutcome[]> {
    const keys: string[] = [];
    const args: string[] = [];
    for (const { policy, key, cost } of requests) {
      const prepared = this.#prepare(policy);
      keys.push(windowKey(this.#prefix, key, prepared));
      args.push(keyArgument(prepared, cost));
    }
    try {
      const batch = await this.#record(keys, args, timed);
      const outcomes = outcomesOf(batch, keys.length);
      return timed ? outcomes.map((outcome) => ({ ...outcome, recordedAt: recordedAt(batch) })) : outcomes;
    } catch (error) {
      this.redis.refused?.(error);
      throw error;
    }
  }

  #record(keys: readonly string[], args: readonly string[], timed: boolean): Promise<BatchReply> {
    return this.redis.isCluster ? this.#alone(keys, args, timed) : this.#batches.add(keys, args, timed);
  }

  /** Keys of several clients are in several slots of a Cluster, which one script cannot reach. */
  async #alone(keys: readonly string[], args: readonly string[], timed: boolean): Promise<BatchReply> {
    const isBare = keys.length === 1 && !timed;
    const reply = await this.redis.eval(CONSUME, keys, isBare ? args : [...args, String(keys.length)]);
    return { reply, isBare, at: 0, total: keys.length };
  }

  async #look(keys: readonly string[], args: readonly string[]): Promise<BatchReply> {
    const reply = await this.redis.eval(CONSUME, keys, [...args, String(keys.length), LOOK]);
    return { reply, isBare: false, at: 0, total: keys.length };
  }

  /**
   * Runs one script for each client's keys, all at the same time. When one refuses, the records of the others are
   * refunded.
   */
  async #acrossSlots(requests: readonly WindowRequest[]): Promise<TimedOutcome[]> {
    const groups = new Map<string, number[]>();
    for (const [index, { key }] of requests.entries()) {
      const tag = keyPart(key);
      groups.set(tag, [...(groups.get(tag) ?? []), index]);
    }
    const outcomes: TimedOutcome[] = [];
    const results = await Promise.allSettled(
      [...groups.values()].map(async (indexes) => {
        const answers = await this.#decideGroup(
          indexes.map((index) => requests[index]!),
          true,
        );
        for (const [at, index] of indexes.entries()) outcomes[index] = answers[at]!;
        return { indexes, isRecorded: answers.every(({ allowed }) => allowed) };
      }),
    );
    const done = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    if (done.length === groups.size && done.every(({ isRecorded }) => isRecorded)) return outcomes;
    await this.#takeBack(
      done.flatMap(({ indexes, isRecorded }) => (isRecorded ? indexes : [])),
      requests,
      outcomes,
    );
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return outcomes;
  }

  async #takeBack(
    indexes: readonly number[],
    requests: readonly WindowRequest[],
    outcomes: TimedOutcome[],
  ): Promise<void> {
    await Promise.allSettled(
      indexes.map(async (index) => {
        const { policy, key, cost } = requests[index]!;
        const outcome = outcomes[index]!;
        outcomes[index] = { ...outcome, used: outcome.used - cost };
        // When this fails, the client's count is too high until the window has passed.
        if (cost > 0) await this.refund(policy, key, cost, outcome.recordedAt);
      }),
    );
  }

  #prepare(policy: WindowPolicy): PreparedPolicy {
    const known = this.#prepared.get(policy);
    if (
      known !== undefined &&
      known.limit === policy.limit &&
      known.maxLimit === (policy.maxLimit ?? policy.limit) &&
      known.windowMs === policy.windowMs &&
      known.name === policy.name
    )
      return known;
    const prepared = preparePolicy(policy, this.#maxRecords);
    this.#prepared.set(policy, prepared);
    return prepared;
  }
}
