import type { WindowOutcome, WindowPolicy, WindowRequest } from "../contracts.js";
import { checkCost, mergeRequests } from "../window-requests.js";
import { openRedis, type RedisConnection, RedisError, type RedisReply } from "./client.js";
import { CONSUME, REFUND } from "./sliding-window-lua.js";
import { WindowBatches } from "./window-batches.js";
import { keyPart, type PreparedPolicy, preparePolicy, windowKey } from "./window-keys.js";

/** An outcome, and when it was decided: microseconds of Redis' clock, by which the record can be taken back. */
export interface RedisOutcome extends WindowOutcome {
  readonly recordedAt: string;
}

const RECORD = "1";
const LOOK = "0";
/** Numbers the script answers for each key. */
const ANSWERS = 4;

/** The scripts of the sliding-window log, called with keys and arguments in their order. */
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
    this.#batches = new WindowBatches((keys, args) => this.redis.eval(CONSUME, keys, [RECORD, ...args]));
  }

  async decide(policy: WindowPolicy, key: string, cost: number, record: boolean): Promise<RedisOutcome> {
    checkCost(cost);
    const [outcome] = await this.#decideGroup([{ policy, key, cost }], record);
    return outcome!;
  }

  async decideAll(requests: readonly WindowRequest[]): Promise<readonly WindowOutcome[]> {
    const { merged, places } = mergeRequests(requests);
    if (merged.length === 0) return [];
    const outcomes = this.redis.isCluster ? await this.#acrossSlots(merged) : await this.#decideGroup(merged, true);
    return places.map((place) => outcomes[place]!);
  }

  async forget(policy: WindowPolicy, key: string): Promise<void> {
    await this.redis.command("DEL", windowKey(this.#prefix, key, this.#prepare(policy)));
  }

  /** @param recordedAt of the outcome; `""` takes back the oldest units */
  async refund(policy: WindowPolicy, key: string, units: number, recordedAt: string): Promise<void> {
    const { limitArgument, windowArgument, tickArgument, ...rest } = this.#prepare(policy);
    const keys = [windowKey(this.#prefix, key, rest)];
    await this.redis.eval(REFUND, keys, [limitArgument, windowArgument, tickArgument, String(units), recordedAt]);
  }

  /** All of them or none, atomic. In a Cluster the keys must be of one client. */
  async #decideGroup(requests: readonly WindowRequest[], record: boolean): Promise<RedisOutcome[]> {
    try {
      return await this.#runGroup(requests, record);
    } catch (error) {
      this.redis.refused?.(error);
      throw error;
    }
  }

  async #runGroup(requests: readonly WindowRequest[], record: boolean): Promise<RedisOutcome[]> {
    const keys: string[] = [];
    const args = [String(requests.length)];
    for (const { policy, key, cost } of requests) {
      const prepared = this.#prepare(policy);
      keys.push(windowKey(this.#prefix, key, prepared));
      args.push(prepared.limitArgument, prepared.windowArgument, prepared.tickArgument, String(cost), prepared.lifeArgument);
    }
    if (!record) return outcomesOf(await this.redis.eval(CONSUME, keys, [LOOK, ...args]), 0, keys.length, keys.length);
    // Keys of several clients are in several slots of a Cluster, which one script cannot reach.
    if (this.redis.isCluster) return outcomesOf(await this.redis.eval(CONSUME, keys, [RECORD, ...args]), 0, keys.length, keys.length);
    const { reply, at, total } = await this.#batches.add(keys, args);
    return outcomesOf(reply, at, keys.length, total);
  }

  /** One script for each client's keys, all at the same time; when one refuses, the records of the others are taken back. */
  async #acrossSlots(requests: readonly WindowRequest[]): Promise<RedisOutcome[]> {
    const groups = new Map<string, number[]>();
    for (const [index, { key }] of requests.entries()) {
      const tag = keyPart(key);
      groups.set(tag, [...(groups.get(tag) ?? []), index]);
    }
    const outcomes: RedisOutcome[] = [];
    const results = await Promise.allSettled(
      [...groups.values()].map(async (indexes) => {
        const answers = await this.#decideGroup(indexes.map((index) => requests[index]!), true);
        for (const [at, index] of indexes.entries()) outcomes[index] = answers[at]!;
        return { indexes, isRecorded: answers.every(({ allowed }) => allowed) };
      }),
    );
    const done = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    if (done.length === groups.size && done.every(({ isRecorded }) => isRecorded)) return outcomes;
    await this.#takeBack(done.flatMap(({ indexes, isRecorded }) => (isRecorded ? indexes : [])), requests, outcomes);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return outcomes;
  }

  async #takeBack(indexes: readonly number[], requests: readonly WindowRequest[], outcomes: RedisOutcome[]): Promise<void> {
    await Promise.allSettled(
      indexes.map(async (index) => {
        const { policy, key, cost } = requests[index]!;
        const outcome = outcomes[index]!;
        outcomes[index] = { ...outcome, used: outcome.used - cost };
        // When this fails the client has counted more than it used, which its window forgets.
        if (cost > 0) await this.refund(policy, key, cost, outcome.recordedAt);
      }),
    );
  }

  #prepare(policy: WindowPolicy): PreparedPolicy {
    const known = this.#prepared.get(policy);
    if (known !== undefined && known.limit === policy.limit && known.windowMs === policy.windowMs && known.name === policy.name) return known;
    const prepared = preparePolicy(policy, this.#maxRecords);
    this.#prepared.set(policy, prepared);
    return prepared;
  }
}

/**
 * The outcomes of some of the keys of one call of the script.
 *
 * @throws RedisError what went wrong with one of them
 * @throws TypeError when a proxy or another program answered instead of the script
 */
function outcomesOf(reply: RedisReply, at: number, keys: number, total: number): RedisOutcome[] {
  if (!Array.isArray(reply) || reply.length !== total * ANSWERS + 1) throw new TypeError("Redis answered something else than the script does.");
  const values = reply as readonly unknown[];
  const recordedAt = String(values[total * ANSWERS]);
  const outcomes: RedisOutcome[] = [];
  for (let index = at; index < at + keys; index += 1) {
    const [verdict, used, retryAfterMs, resetMs] = values.slice(index * ANSWERS, (index + 1) * ANSWERS);
    if (verdict === -1) throw new RedisError(new Error(String(used)));
    if (typeof used !== "number" || typeof retryAfterMs !== "number" || typeof resetMs !== "number") throw new TypeError("Redis answered something else than the script does.");
    outcomes.push({ allowed: verdict === 1, used, retryAfterMs, resetMs, recordedAt });
  }
  return outcomes;
}
