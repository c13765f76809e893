import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideRefresh } from "../../../src/jwt/refresh/decide-refresh.js";
import { sampleToken } from "../../../src/testing/samples.js";

const NOW = 1_800_000_000_000;
const GRACE = 10_000;
const times = { issuedAt: NOW - 100_000, expiresAt: NOW + 1_000_000, familyExpiresAt: NOW + 2_000_000 };
const successor = sampleToken({ id: "token-2", ...times });
const used = (ago: number, undelivered: boolean) =>
  sampleToken({
    ...times,
    usedAt: NOW - ago,
    successorId: "token-2",
    sealedSuccessor: "s",
    undeliveredAt: undelivered ? NOW - ago : null,
  });

describe("decideRefresh", () => {
  it.each([
    { name: "used, in the grace", ago: 5000, undelivered: false, next: successor, decision: "replay" },
    { name: "used, after the grace", ago: 10_000, undelivered: false, next: successor, decision: "reuse" },
    { name: "undelivered, after the grace", ago: 10_000, undelivered: true, next: successor, decision: "replay" },
    {
      name: "undelivered, at the end of the seal",
      ago: 59_999,
      undelivered: true,
      next: successor,
      decision: "replay",
    },
    {
      name: "undelivered, after the end of the seal",
      ago: 60_000,
      undelivered: true,
      next: successor,
      decision: "expired",
    },
    { name: "undelivered, without its successor", ago: 5000, undelivered: true, next: undefined, decision: "expired" },
    { name: "used, without its successor", ago: 5000, undelivered: false, next: undefined, decision: "reuse" },
    {
      name: "undelivered, its successor used",
      ago: 5000,
      undelivered: true,
      next: { ...successor, usedAt: NOW - 1 },
      decision: "expired",
    },
    {
      name: "used, its successor used",
      ago: 5000,
      undelivered: false,
      next: { ...successor, usedAt: NOW - 1 },
      decision: "reuse",
    },
    {
      name: "undelivered, its successor revoked",
      ago: 5000,
      undelivered: true,
      next: { ...successor, revokedAt: NOW - 1 },
      decision: "expired",
    },
  ])("$name: $decision", ({ ago, undelivered, next, decision }) => {
    expect(decideRefresh(used(ago, undelivered), next, NOW, GRACE)).toBe(decision);
  });

  it("an undelivered token is replayed without a grace too; one that was delivered is reuse", () => {
    expect(decideRefresh(used(1, true), successor, NOW, 0)).toBe("replay");
    expect(decideRefresh(used(1, false), successor, NOW, 0)).toBe("reuse");
  });

  it("never calls an undelivered token reuse, and calls a revoked one revoked", () => {
    const moment = fc.option(fc.integer({ min: NOW - 200_000, max: NOW + 200_000 }), { nil: null });
    const next = fc.option(fc.record({ usedAt: moment, revokedAt: moment }), { nil: undefined });
    fc.assert(
      fc.property(
        moment,
        moment,
        fc.boolean(),
        moment,
        next,
        fc.integer({ min: 0, max: 60_000 }),
        (usedAt, undeliveredAt, isRevoked, end, found, grace) => {
          const token = {
            ...sampleToken(times),
            usedAt,
            undeliveredAt,
            revokedAt: isRevoked ? NOW : null,
            familyExpiresAt: end ?? times.familyExpiresAt,
          };
          const decision = decideRefresh(token, found && { ...successor, ...found }, NOW, grace);
          if (isRevoked) expect(decision).toBe("revoked");
          if (undeliveredAt !== null) expect(decision).not.toBe("reuse");
          if (usedAt !== null) expect(decision).not.toBe("rotate");
        },
      ),
    );
  });
});
