// The limiters side by side: ours, and the two that keep their counts in memory as well.
import { MemoryStore } from "express-rate-limit";
import { RateLimiterMemory } from "rate-limiter-flexible";
import { built } from "./built.mjs";

const { SlidingWindowStore } = await built("stores/memory/sliding-window/store.js");

/**
 * `decide` counts one request of a key, as its users call it: ours answers at once, the others by a promise that a
 * refusal rejects (rate-limiter-flexible). `decideMany` is the same for keys[from] to keys[to - 1], in one function, so
 * that a caller's loop costs each of them the same.
 *
 * @typedef {{ name: string, decide: (key: string) => unknown, decideMany: (keys: string[], from: number, to: number) => unknown, clients: () => number, close: () => void }} Limiter
 * @typedef {{ limit: number, windowMs: number, maxClients: number, clock?: { now(): number, monotonic(): number } }} Terms
 */

/** @param {Terms} terms @returns {Limiter} */
export function portcullis({ limit, windowMs, maxClients, clock }) {
  const store = new SlidingWindowStore(clock === undefined ? { maxClients } : { maxClients, clock });
  const policy = { name: "default", limit, windowMs };
  return {
    name: "portcullis",
    decide: (key) => store.consume(policy, key, 1),
    decideMany(keys, from, to) {
      let allowed = 0;
      for (let i = from; i < to; i += 1) if (store.consume(policy, keys[i], 1).allowed) allowed += 1;
      return allowed;
    },
    clients: () => store.size,
    close: () => store.close(),
  };
}

/** @param {Terms} terms @returns {Limiter} */
export function expressRateLimit({ limit, windowMs }) {
  const store = new MemoryStore();
  store.init({ windowMs });
  return {
    name: "express-rate-limit MemoryStore",
    decide: (key) => store.increment(key),
    async decideMany(keys, from, to) {
      let allowed = 0;
      for (let i = from; i < to; i += 1) if ((await store.increment(keys[i])).totalHits <= limit) allowed += 1;
      return allowed;
    },
    clients: () => store.current.size + store.previous.size,
    close: () => store.shutdown(),
  };
}

/** @param {Terms} terms @returns {Limiter} */
export function rateLimiterFlexible({ limit, windowMs }) {
  const limiter = new RateLimiterMemory({ points: limit, duration: windowMs / 1000, keyPrefix: "" });
  return {
    name: "rate-limiter-flexible memory",
    decide: (key) => limiter.consume(key).catch((refused) => refused),
    async decideMany(keys, from, to) {
      let allowed = 0;
      for (let i = from; i < to; i += 1) {
        try {
          await limiter.consume(keys[i]);
          allowed += 1;
        } catch {
          // A refusal; a failure cannot be, as nothing but memory is asked.
        }
      }
      return allowed;
    },
    clients: () => limiter._memoryStorage._storage.size,
    close: () => {
      for (const key of [...limiter._memoryStorage._storage.keys()]) limiter._memoryStorage.delete(key);
    },
  };
}

export const LIMITERS = [portcullis, expressRateLimit, rateLimiterFlexible];

/** The address of a client: 12 to 15 characters, in one flat string as `req.ip` is one. */
export function address(client) {
  const text = `${100 + (client >>> 24)}.${100 + ((client >>> 16) & 127)}.${(client >>> 8) & 255}.${client & 255}`;
  return Buffer.from(text, "latin1").toString("latin1");
}

/** Numbers from 0 to 2^32 − 1 that look random and are the same in every run (xorshift32). */
export function randomNumbers(seed = 20261122) {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
