import { describe, expect, it } from "vitest";
import {
  decide,
  epochSeconds,
  isStricter,
  limitText,
  rateLimitItem,
  type Verdict,
} from "../../src/rate-limit/decide.js";
import type { WindowOutcome } from "../../src/stores/contracts.js";

const LIMIT = 100;

/** Each refusal has its twin, which differs in one field of the store's answer. */
const TABLE: { name: string; outcome: WindowOutcome; verdict: Verdict }[] = [
  {
    name: "the first request",
    outcome: { allowed: true, used: 1, retryAfterMs: 0, resetMs: 60_000 },
    verdict: { allowed: true, remaining: 99, resetSeconds: 60, retryAfterSeconds: 0 },
  },
  {
    name: "the last request that fits",
    outcome: { allowed: true, used: 100, retryAfterMs: 12_345, resetMs: 12_345 },
    verdict: { allowed: true, remaining: 0, resetSeconds: 13, retryAfterSeconds: 0 },
  },
  {
    name: "its twin that did not",
    outcome: { allowed: false, used: 100, retryAfterMs: 12_345, resetMs: 12_345 },
    verdict: { allowed: false, remaining: 0, resetSeconds: 13, retryAfterSeconds: 13 },
  },
  {
    name: "a wait of whole seconds is not rounded up",
    outcome: { allowed: false, used: 100, retryAfterMs: 13_000, resetMs: 12_345 },
    verdict: { allowed: false, remaining: 0, resetSeconds: 13, retryAfterSeconds: 13 },
  },
  {
    name: "a wait of one millisecond is a second",
    outcome: { allowed: false, used: 100, retryAfterMs: 1, resetMs: 1 },
    verdict: { allowed: false, remaining: 0, resetSeconds: 1, retryAfterSeconds: 1 },
  },
  {
    name: "no wait at all is a second still: Retry-After: 0 would ask for a loop",
    outcome: { allowed: false, used: 100, retryAfterMs: 0, resetMs: 0 },
    verdict: { allowed: false, remaining: 0, resetSeconds: 1, retryAfterSeconds: 1 },
  },
  {
    name: "an expensive request, while cheap ones still fit: t is the time for this cost",
    outcome: { allowed: false, used: 97, retryAfterMs: 20_000, resetMs: 5_000 },
    verdict: { allowed: false, remaining: 3, resetSeconds: 20, retryAfterSeconds: 20 },
  },
  {
    name: "more used than the limit, as another store may say",
    outcome: { allowed: false, used: 140, retryAfterMs: 20_000, resetMs: 20_000 },
    verdict: { allowed: false, remaining: 0, resetSeconds: 20, retryAfterSeconds: 20 },
  },
];

describe("the verdict", () => {
  it.each(TABLE)("$name", ({ outcome, verdict }) => {
    expect(decide(outcome, LIMIT)).toEqual(verdict);
  });

  it("refuses exactly the requests that the store refuses", () => {
    for (const { outcome } of TABLE) {
      const twin = { ...outcome, allowed: !outcome.allowed };
      expect(decide(outcome, LIMIT).allowed).toBe(outcome.allowed);
      expect(decide(twin, LIMIT).allowed).toBe(!outcome.allowed);
    }
  });
});

describe("the header values", () => {
  it("are those of the draft's examples", () => {
    const text = limitText("draft-8", "default", 100, 60_000);
    expect(text.policy).toBe('"default";q=100;w=60');
    expect(rateLimitItem(text, { allowed: true, remaining: 50, resetSeconds: 30, retryAfterSeconds: 0 })).toBe(
      '"default";r=50;t=30',
    );
    expect(limitText("draft-6", "default", 100, 60_000).policy).toBe("100;w=60");
  });

  it("round a window of a fraction of a second up: w is a whole number and not 0", () => {
    expect(limitText("draft-8", "x", 5, 250).policy).toBe('"x";q=5;w=1');
  });

  it("give a point in time in the legacy form", () => {
    const verdict = { allowed: true, remaining: 1, resetSeconds: 10, retryAfterSeconds: 0 };
    expect(epochSeconds(verdict, 1_700_000_000_000)).toBe(1_700_000_010);
    expect(epochSeconds(verdict, 1_700_000_000_001)).toBe(1_700_000_011);
  });
});

describe("which of two limits the headers show when there is room for one", () => {
  const before = { remaining: 5, resetSeconds: 30 };
  const verdict = { allowed: true, remaining: 5, resetSeconds: 30, retryAfterSeconds: 0 };
  it.each([
    { name: "the same again", verdict, wins: false },
    { name: "less left", verdict: { ...verdict, remaining: 4 }, wins: true },
    { name: "more left", verdict: { ...verdict, remaining: 6 }, wins: false },
    { name: "as much left, for longer", verdict: { ...verdict, resetSeconds: 31 }, wins: true },
    { name: "a refusal, whatever is left", verdict: { ...verdict, allowed: false, remaining: 6 }, wins: true },
  ])("$name: $wins", ({ verdict: ours, wins }) => {
    expect(isStricter(ours, before)).toBe(wins);
  });
});
