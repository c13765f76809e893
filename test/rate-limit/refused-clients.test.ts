import { describe, expect, it } from "vitest";
import type { LimitCount } from "../../src/core/pending-limits.js";
import { RefusedClients } from "../../src/rate-limit/refused-clients.js";
import { heapUsed } from "../support/heap.js";
import { ManualClock } from "../support/manual-clock.js";

const REFUSED = { allowed: false, used: 1, retryAfterMs: 1000, resetMs: 1000 };
const STOPPED = { source: "rate-limit", refusal: { code: "rate-limited", reason: "default" } } as const;
const count = (key: string): LimitCount => ({
  requests: [{ policy: { name: "default", limit: 1, windowMs: 1000 }, key, cost: 1 }],
  applyOutcomes: () => STOPPED,
  onStoreFailure: () => STOPPED,
});

describe("clients that were just refused", () => {
  it.each([
    ["refused, while it has to wait", REFUSED, 999, true],
    ["refused, once it need not", REFUSED, 1000, false],
    ["let through", { ...REFUSED, allowed: true, retryAfterMs: 0 }, 0, false],
  ])("%s", (_name, outcome, later, expected) => {
    const clock = new ManualClock();
    const refused = new RefusedClients(clock);
    expect(refused.track(count("203.0.113.7")).applyOutcomes([outcome])).toBe(STOPPED);
    clock.advance(later);
    expect(refused.has(count("203.0.113.7"))).toBe(expected);
    expect(refused.has(count("203.0.113.8"))).toBe(false);
  });

  it("are remembered without the header their address was cut out of", () => {
    const refused = new RefusedClients(new ManualClock());
    const refuse = (from: number, number: number): void => {
      for (let n = from; n < from + number; n += 1) {
        const header = Buffer.from(`${"x".repeat(12_000)}, 203.0.${100 + (n >> 8)}.${100 + (n & 127)}`).toString(
          "latin1",
        );
        void refused.track(count(header.slice(12_002))).applyOutcomes([REFUSED]);
      }
    };
    refuse(0, 200);
    const before = heapUsed();
    refuse(256, 2000);
    expect((heapUsed() - before) / 1000).toBeLessThan(2000);
    expect(refused.has(count("203.0.101.100"))).toBe(true);
  });
});
