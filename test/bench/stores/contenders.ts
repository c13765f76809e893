import { Redis } from "ioredis";
import { RedisStore, type RedisReply, type SendCommandFn } from "rate-limit-redis";
import { RateLimiterMemory, RateLimiterRedis } from "rate-limiter-flexible";
import { createClient } from "redis";
import type { WindowPolicy } from "../../../src/stores/contracts.js";
import { SlidingWindowStore } from "../../../src/stores/memory/sliding-window/store.js";
import { RedisSlidingWindowStore } from "../../../src/stores/redis/sliding-window/store.js";

/** One limiter under measurement. */
export interface Contender {
  readonly name: string;
  readonly algorithm: "exact log" | "fixed window";
  /** One decision for one client. */
  decide(client: string): unknown;
  /** The decision of a request with so many limits, four at most, as that package does it. */
  decideSeveral(client: string, limits: number): unknown;
  close(): Promise<void>;
}

export const LIMIT = 100;
export const WINDOW_MS = 60_000;

const POLICIES = ["a", "b", "c", "d"].map((name): WindowPolicy => ({ name, limit: LIMIT, windowMs: WINDOW_MS }));
const POLICY = POLICIES[0]!;

export function memory(): Contender {
  const store = new SlidingWindowStore();
  return {
    name: "portcullis, memory",
    algorithm: "exact log",
    decide: (client) => store.consume(POLICY, client, 1),
    decideSeveral: (client, limits) =>
      store.consumeAll(POLICIES.slice(0, limits).map((policy) => ({ policy, key: client, cost: 1 }))),
    close: async () => store.close(),
  };
}

export function flexibleMemory(): Contender {
  const limiter = new RateLimiterMemory({ points: LIMIT, duration: WINDOW_MS / 1000 });
  const decide = (client: string) => limiter.consume(client).catch(refused);
  return {
    name: "rate-limiter-flexible, memory",
    algorithm: "fixed window",
    decide,
    decideSeveral: (client, limits) =>
      Promise.all(POLICIES.slice(0, limits).map(({ name }) => decide(`${name}${client}`))),
    close: () => Promise.resolve(),
  };
}

/** That package rejects with an object that is no Error when a request is over the limit. */
function refused(reason: unknown): void {
  if (reason instanceof Error) throw reason;
}

/** Each has a connection of its own, of the same package with the same options. */
export async function throughNodeRedis(url: string): Promise<Contender[]> {
  const clients = await Promise.all(
    [0, 1, 2].map(async () => {
      const client = createClient({ url });
      await client.connect();
      return client;
    }),
  );
  const [first, second, third] = clients as [
    (typeof clients)[number],
    (typeof clients)[number],
    (typeof clients)[number],
  ];
  const close = (client: (typeof clients)[number]) => async () => client.destroy();
  return [
    ours("node-redis", first, close(first)),
    rateLimitRedis("node-redis", (...words) => second.sendCommand(words), close(second)),
    flexible("node-redis", { storeClient: third, useRedisPackage: true }, close(third)),
  ];
}

export async function throughIoRedis(url: string): Promise<Contender[]> {
  const [first, second, third] = [new Redis(url), new Redis(url), new Redis(url)];
  const close = (client: Redis) => async () => client.disconnect();
  return Promise.resolve([
    ours("ioredis", first, close(first)),
    rateLimitRedis(
      "ioredis",
      (name, ...rest) => second.call(name ?? "", ...rest) as Promise<RedisReply>,
      close(second),
    ),
    flexible("ioredis", { storeClient: third }, close(third)),
  ]);
}

function ours(library: string, redis: object, close: () => Promise<void>): Contender {
  const store = new RedisSlidingWindowStore({ redis, prefix: `bench:ours:${library}:` });
  return {
    name: `portcullis, ${library}`,
    algorithm: "exact log",
    decide: (client) => store.consume(POLICY, client, 1),
    decideSeveral: (client, limits) =>
      store.consumeAll(POLICIES.slice(0, limits).map((policy) => ({ policy, key: client, cost: 1 }))),
    close,
  };
}

function rateLimitRedis(library: string, sendCommand: SendCommandFn, close: () => Promise<void>): Contender {
  const stores = POLICIES.map(({ name }) => {
    const store = new RedisStore({ sendCommand, prefix: `bench:rlr:${library}:${name}:` });
    void store.init({ windowMs: WINDOW_MS } as Parameters<RedisStore["init"]>[0]);
    return store;
  });
  const [first] = stores;
  return {
    name: `rate-limit-redis, ${library}`,
    algorithm: "fixed window",
    decide: (client) => first?.increment(client),
    // Several limits are several middlewares of express-rate-limit, one after the other.
    decideSeveral: async (client, limits) => {
      for (const store of stores.slice(0, limits)) await store.increment(client);
    },
    close,
  };
}

function flexible(
  library: string,
  options: Pick<ConstructorParameters<typeof RateLimiterRedis>[0], "storeClient" | "useRedisPackage">,
  close: () => Promise<void>,
): Contender {
  const limiters = POLICIES.map(
    ({ name }) =>
      new RateLimiterRedis({
        ...options,
        keyPrefix: `bench:rlf:${library}:${name}`,
        points: LIMIT,
        duration: WINDOW_MS / 1000,
      }),
  );
  const [first] = limiters;
  return {
    name: `rate-limiter-flexible, ${library}`,
    algorithm: "fixed window",
    decide: (client) => first?.consume(client).catch(refused),
    decideSeveral: (client, limits) =>
      Promise.all(limiters.slice(0, limits).map((limiter) => limiter.consume(client).catch(refused))),
    close,
  };
}
