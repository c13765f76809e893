import { expect } from "vitest";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../src/stores/contracts.js";
import { openRedis } from "../../src/stores/redis/client.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { ManualClock } from "../support/manual-clock.js";
import { uniqueName } from "../support/servers.js";
import { keyIn, ListOracle } from "./limiter-oracle.js";
import { TimedRedis } from "./limiter-timed-redis.js";

export type Failure = "loses-requests" | "loses-answers" | "declines";

/** A store with a clock of the test's, and the list of time stamps it is held against. */
export abstract class Subject {
  abstract readonly store: SlidingWindowStore | RedisSlidingWindowStore;
  /** What the trace came to: a property that refuses nothing proves nothing. */
  readonly seen = { allowed: 0, refused: 0, moved: 0 };
  protected readonly oracle = new ListOracle();

  abstract now(): number;
  abstract advance(ms: number): void;
  abstract setBack(ms: number): void;
  /** One request while the store fails. */
  abstract fail(kind: Failure, policy: WindowPolicy, key: string, cost: number): Promise<void>;
  /** Tells the oracle that the clock may have been set back since it last saw this key. */
  protected abstract settleClock(policy: WindowPolicy, key: string): boolean;

  expected(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    if (this.settleClock(policy, key)) this.seen.moved += 1;
    const outcome = this.oracle.consume(policy, keyIn(policy, key), cost, this.now());
    this.seen[outcome.allowed ? "allowed" : "refused"] += 1;
    return outcome;
  }

  async hit(policy: WindowPolicy, key: string, cost: number): Promise<void> {
    await this.look(policy, key, cost);
    const expected = this.expected(policy, key, cost);
    expect(await this.store.consume(policy, key, cost)).toEqual(expected);
  }

  /** What `peek` says, and that it changes nothing. */
  async look(policy: WindowPolicy, key: string, cost: number): Promise<void> {
    const id = keyIn(policy, key);
    const before = this.oracle.snapshot(id);
    this.settleClock(policy, key);
    expect(await this.store.peek(policy, key, cost)).toEqual(this.oracle.peek(policy, id, cost, this.now()));
    this.oracle.restore(id, before);
  }

  /** Requests that are under way together are decided in their order. */
  async burst(requests: readonly WindowRequest[]): Promise<void> {
    const expected = requests.map(({ policy, key, cost }) => this.expected(policy, key, cost));
    expect(
      await Promise.all(requests.map(async ({ policy, key, cost }) => this.store.consume(policy, key, cost))),
    ).toEqual(expected);
  }

  async hitAll(requests: readonly WindowRequest[]): Promise<void> {
    for (const { policy, key } of requests) this.settleClock(policy, key);
    const expected = this.oracle.consumeAll(requests, this.now());
    expect(await this.store.consumeAll(requests)).toEqual(expected);
  }

  async takeBack(policy: WindowPolicy, key: string): Promise<void> {
    await this.store.decrement(key);
    this.oracle.uncountOldest(keyIn(policy, key), policy.windowMs, this.now());
  }

  async reset(policy: WindowPolicy, key: string): Promise<void> {
    await this.store.reset(policy, key);
    this.oracle.reset(keyIn(policy, key));
  }
}

/** Time is monotonic, so setting the machine's clock changes nothing; and there is no line that could fail. */
export class MemorySubject extends Subject {
  readonly #clock = new ManualClock();
  readonly store: SlidingWindowStore;

  constructor({ limit, windowMs }: WindowPolicy) {
    super();
    this.store = new SlidingWindowStore({ clock: this.#clock, limit, windowMs });
  }

  now = (): number => this.#clock.monotonic();
  advance = (ms: number): void => this.#clock.advance(ms);
  setBack = (ms: number): void => this.#clock.step(-ms);
  fail = (): Promise<void> => Promise.resolve();
  protected settleClock = (): boolean => false;
}

/** Redis goes by its machine's clock, over a client of an app's. */
export class RedisSubject extends Subject {
  readonly redis: TimedRedis;
  readonly store: RedisSlidingWindowStore;

  constructor({ limit, windowMs }: WindowPolicy, client: object) {
    super();
    this.redis = new TimedRedis(openRedis(client));
    // As many records as there are units in any limit here, so that times are kept to the microsecond.
    this.store = new RedisSlidingWindowStore({
      redis: this.redis,
      prefix: `${uniqueName()}:`,
      limit,
      windowMs,
      maxRecords: 100_000,
    });
  }

  now = (): number => this.redis.us / 1000;
  advance = (ms: number): void => void (this.redis.us += ms * 1000);
  setBack = (ms: number): void => void (this.redis.us -= ms * 1000);
  protected settleClock = (policy: WindowPolicy, key: string): boolean =>
    this.oracle.moveBack(keyIn(policy, key), policy.windowMs, this.now());

  async fail(kind: Failure, policy: WindowPolicy, key: string, cost: number): Promise<void> {
    if (kind === "declines") return this.#whileDeclining(policy, key, cost);
    this.redis.line = kind;
    await expect(this.store.consume(policy, key, cost)).rejects.toMatchObject({ code: "ECONNRESET" });
    this.redis.line = "whole";
    // Nobody knows whether an answer that never came said yes, so what was recorded stays: the count is never below the truth.
    if (kind === "loses-answers") this.expected(policy, key, cost);
    await this.look(policy, key, 1);
  }

  /** A server that takes no writes still refuses who is over the limit; whoever would have to be recorded gets an error. */
  async #whileDeclining(policy: WindowPolicy, key: string, cost: number): Promise<void> {
    const id = keyIn(policy, key);
    const before = this.oracle.snapshot(id);
    const wouldMove = this.settleClock(policy, key);
    const expected = this.oracle.consume(policy, id, cost, this.now());
    this.oracle.restore(id, before);
    await this.redis.command("CONFIG", "SET", "min-replicas-to-write", "1");
    const answer = this.store.consume(policy, key, cost);
    if (wouldMove || (expected.allowed && cost > 0)) await expect(answer).rejects.toMatchObject({ code: "NOREPLICAS" });
    else expect(await answer).toEqual(expected);
    await this.redis.command("CONFIG", "SET", "min-replicas-to-write", "0");
    await this.look(policy, key, 1);
  }
}
