import { describe, expect, it } from "vitest";
import { systemClock } from "../../../src/core/clock.js";
import { VerifiedCache, verifiedKey } from "../../../src/api-key/verification/verified-cache.js";
import { sampleKey } from "../../../src/testing/samples.js";
import type { StoredApiKey } from "../../../src/stores/contracts.js";

/** Fills a cache with more keys than it may hold. */
function filled(size: number, fields: Partial<StoredApiKey>): VerifiedCache {
  const cache = new VerifiedCache(size, systemClock, 250);
  for (let i = 0; i < size + 50; i += 1)
    cache.set(verifiedKey(sampleKey({ id: `key-${i}`, firstId: `key-${i}`, ...fields }), `fingerprint ${i}`, 0, 1));
  return cache;
}

// As large as the routes accept: 4096 bytes of JSON, which take twenty times as much memory.
const MANY_VALUES = { list: Array.from({ length: 1300 }, () => ({})) };
const LONG_LISTS = {
  scopes: Array.from({ length: 100 }, (_, i) => `scope${i}:${"a".repeat(50)}`),
  allow: Array.from({ length: 100 }, (_, i) => `2001:db8:${i.toString(16)}::/48`),
};

describe("the cache of verified keys", () => {
  it("holds as many keys as cacheSize says when their records are of the usual size", () => {
    expect(filled(200, { scopes: ["orders:read", "orders:write"], metadata: { team: "a" } }).size).toBe(200);
  });

  it("holds fewer keys with large records, so that one owner cannot fill the memory", () => {
    expect(filled(200, { metadata: MANY_VALUES }).size).toBeLessThan(10);
    expect(filled(200, LONG_LISTS).size).toBeLessThan(20);
  });

  it("holds the largest record even when cacheSize is 1", () => {
    const cache = filled(1, { ...LONG_LISTS, metadata: MANY_VALUES });
    expect(cache.get("key-50", "fingerprint 50")).toBeDefined();
    expect(cache.size).toBe(1);
  });
});
