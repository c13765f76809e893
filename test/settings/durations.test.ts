import fc from "fast-check";
import express from "express";
import { describe, expect, it, vi } from "vitest";
import {
  ApiKeyService,
  applySecurity,
  parseSettings,
  rateLimiter,
  type SecuritySettings,
  sessions,
  settingsFromEnv,
} from "portcullis";
import { SettingsError } from "../../src/settings/errors.js";
import { checkWindow } from "../../src/settings/durations.js";
import { runs } from "../property/seed.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const base = { trustedHosts: ["a.example"], secretKey: SECRET };

function issuesFrom(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof SettingsError)
      return error.issues.map(({ code, path, message, remedy }) => `${code} ${path}: ${message} ${remedy}`);
    throw error;
  }
  return [];
}
const issuesOf = (settings: object): string[] => issuesFrom(() => parseSettings({ ...base, ...settings }));

describe("a window that looks like milliseconds", () => {
  const refused = (path: string) => [
    `wrong-value ${path}: This is in seconds; did you mean 60? Write 60. If you do mean 60000 seconds, add units: "seconds".`,
  ];
  const windowSeconds = 60_000;
  const units = "seconds";

  it("stops the start in every limit, and units beside it allows it", () => {
    expect(issuesOf({ rateLimit: { windowSeconds } })).toEqual(refused("rateLimit.windowSeconds"));
    expect(issuesOf({ rateLimit: { windowSeconds, units } })).toEqual([]);
    const perPrincipal = { limit: 5, windowSeconds };
    expect(issuesOf({ session: {}, rateLimit: { perPrincipal } })).toEqual(
      refused("rateLimit.perPrincipal.windowSeconds"),
    );
    expect(issuesOf({ session: {}, rateLimit: { perPrincipal: { ...perPrincipal, units } } })).toEqual([]);
    expect(issuesOf({ apiKeys: { failures: { windowSeconds } } })).toEqual(refused("apiKeys.failures.windowSeconds"));
    expect(issuesOf({ apiKeys: { failures: { windowSeconds, units } } })).toEqual([]);
  });

  it("stops a part used alone, and the limit of a route", () => {
    expect(issuesFrom(() => rateLimiter({ windowSeconds }))).toEqual(refused("windowSeconds"));
    expect(issuesFrom(() => rateLimiter({ windowSeconds, units }))).toEqual([]);
    expect(issuesFrom(() => new ApiKeyService({ failures: { windowSeconds } }))).toEqual(
      refused("failures.windowSeconds"),
    );
    const security = applySecurity(express(), { debug: true });
    expect(issuesFrom(() => security.rateLimit({ name: "a", limit: 1, windowSeconds }))).toEqual(
      refused("windowSeconds"),
    );
    expect(issuesFrom(() => security.rateLimit({ name: "a", limit: 1, windowSeconds, units }))).toEqual([]);
  });

  it("is a multiple of 60,000, and nothing else", () => {
    const found = (settings: { windowSeconds: number; units?: "seconds" }): unknown[] => {
      const issues: unknown[] = [];
      checkWindow(settings, { addIssue: (issue: unknown) => issues.push(issue) } as never);
      return issues;
    };
    fc.assert(
      fc.property(
        fc.oneof(
          fc.integer({ min: 1, max: 35_791 }).map((n) => n * 60_000),
          fc.integer({ min: 1 }),
        ),
        (n) => {
          expect(found({ windowSeconds: n })).toHaveLength(n % 60_000 === 0 ? 1 : 0);
          expect(found({ windowSeconds: n, units: "seconds" })).toEqual([]);
        },
      ),
      { numRuns: runs(200) },
    );
  });

  it.each([60, 3600, 59_999, 60_001, 86_400, 604_800, 2_592_000])("accepts %d seconds", (seconds) => {
    expect(issuesOf({ rateLimit: { windowSeconds: seconds } })).toEqual([]);
  });

  it("is recognised above the greatest window too", () => {
    expect(issuesOf({ rateLimit: { windowSeconds: 2_592_000_000 } })).toEqual([
      "wrong-value rateLimit.windowSeconds: This is in seconds; did you mean 2592000? Use at most 2147483647.",
    ]);
  });

  it("takes no other unit", () => {
    expect(issuesOf({ rateLimit: { windowSeconds, units: "milliseconds" } })).toEqual([
      'wrong-value rateLimit.units: This value is not allowed. Use one of: "seconds".',
    ]);
  });
});

describe("a life in the wrong unit", () => {
  it.each([
    [
      { session: { maxAge: 86_400_000 } },
      "session.maxAge: This is in seconds; did you mean 86400? Use at most 34560000.",
    ],
    [
      { session: { absoluteMaxAge: 2_592_000_000 } },
      "session.absoluteMaxAge: This is in seconds; did you mean 2592000? Use at most 34560000.",
    ],
    [{ session: { maxAge: 34_560_001 } }, "session.maxAge: This must be at most 34560000. Use at most 34560000."],
    [
      { jwt: { accessTokenMinutes: 900_000 } },
      "jwt.accessTokenMinutes: This is in minutes; did you mean 15? Use at most 43200.",
    ],
    [
      { jwt: { accessTokenMinutes: 43_260 } },
      "jwt.accessTokenMinutes: This is in minutes; did you mean 721? Use at most 43200.",
    ],
    [{ jwt: { refreshTokenDays: 604_800 } }, "jwt.refreshTokenDays: This is in days; did you mean 7? Use at most 365."],
    [
      { jwt: { refreshTokenDays: 604_800_000 } },
      "jwt.refreshTokenDays: This is in days; did you mean 7? Use at most 365.",
    ],
    [{ jwt: { absoluteDays: 2_592_000 } }, "jwt.absoluteDays: This is in days; did you mean 30? Use at most 3650."],
    [
      { jwt: { accessTokenSeconds: 900_000 } },
      'jwt.accessTokenSeconds: This is in seconds; did you mean 900? Write 900. If you do mean 900000 seconds, add units: "seconds".',
    ],
    [
      { jwt: { refreshTokenSeconds: 604_800_000 } },
      "jwt.refreshTokenSeconds: This is in seconds; did you mean 604800? Use at most 31536000.",
    ],
    [
      { jwt: { absoluteSeconds: 3_600_000 } },
      'jwt.absoluteSeconds: This is in seconds; did you mean 3600? Write 3600. If you do mean 3600000 seconds, add units: "seconds".',
    ],
    [{ jwt: { absoluteDays: 3651 } }, "jwt.absoluteDays: This must be at most 3650. Use at most 3650."],
  ])("%j stops the start", (settings, issue) => {
    expect(issuesOf(settings)).toEqual([`wrong-value ${issue}`]);
  });

  it.each([
    { session: { maxAge: 34_560_000 } },
    { session: { maxAge: 60_000 } },
    { session: { maxAge: 2_160_000 } },
    { jwt: { accessTokenMinutes: 43_200 } },
    { jwt: { refreshTokenDays: 365, absoluteDays: 3650 } },
    { jwt: { accessTokenSeconds: 90, refreshTokenSeconds: 604_800, absoluteSeconds: 2_592_000 } },
    { jwt: { accessTokenSeconds: 900_000, units: "seconds" } },
  ])("%j is accepted", (settings) => {
    expect(issuesOf(settings)).toEqual([]);
  });

  it("stops sessions() alone, and names a variable that it came from", () => {
    expect(issuesFrom(() => sessions({ secret: SECRET, maxAge: 86_400_000 }))).toEqual([
      "wrong-value maxAge: This is in seconds; did you mean 86400? Use at most 34560000.",
    ]);
    expect(issuesFrom(() => sessions({ secret: SECRET, maxAge: 86_400 }))).toEqual([]);
    expect(issuesFrom(() => settingsFromEnv({ SESSION_MAX_AGE: "86400000" }))).toEqual([
      "wrong-value SESSION_MAX_AGE: This is in seconds; did you mean 86400? Use at most 34560000.",
    ]);
    expect(issuesFrom(() => settingsFromEnv({ ACCESS_TOKEN_EXPIRE_MINUTES: "1800000" }))).toEqual([
      "wrong-value ACCESS_TOKEN_EXPIRE_MINUTES: This is in minutes; did you mean 30? Use at most 43200.",
    ]);
  });
});

describe("a time that is allowed, but probably in another unit,", () => {
  /** The warnings of one start. */
  function warningsOf(settings: SecuritySettings): string[] {
    const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    try {
      applySecurity(express(), { trustedHosts: ["a.example"], secretKey: SECRET, ...settings });
      return warned.mock.calls
        .filter(([, options]) => JSON.stringify(options).includes("PORTCULLIS_UNIT"))
        .map(([message]) => String(message));
    } finally {
      warned.mockRestore();
    }
  }

  it.each([
    [
      { session: { maxAge: 900_000 } },
      "session.maxAge is 900000 seconds (10.4 days). If you meant 15 minutes, write 900.",
    ],
    [
      { session: { maxAge: 3_600_000 } },
      "session.maxAge is 3600000 seconds (41.7 days). If you meant 60 minutes, write 3600.",
    ],
    [
      { session: { maxAge: 28_800_000 } },
      "session.maxAge is 28800000 seconds (333.3 days). If you meant 8 hours, write 28800.",
    ],
    [
      { session: { maxAge: 10_800_000 } },
      "session.maxAge is 10800000 seconds (125 days). If you meant 3 hours, write 10800.",
    ],
    [
      { session: { maxAge: 900, absoluteMaxAge: 3_600_000 } },
      "session.absoluteMaxAge is 3600000 seconds (41.7 days). If you meant 60 minutes, write 3600.",
    ],
    [
      { jwt: { accessTokenMinutes: 3600 } },
      "jwt.accessTokenMinutes is 3600 minutes (2.5 days). If you meant 60 minutes, write 60.",
    ],
    [
      { jwt: { accessTokenMinutes: 1800 } },
      "jwt.accessTokenMinutes is 1800 minutes (30 hours). If you meant 30 minutes, write 30.",
    ],
  ] as [SecuritySettings, string][])("%j gets one warning at start", (settings, warning) => {
    expect(warningsOf(settings)).toEqual([warning]);
  });

  it("says nothing of whole days, nor of times that people use", () => {
    for (const days of [1, 7, 14, 25, 30, 60, 90, 100, 180, 200, 365, 400])
      expect(warningsOf({ session: { maxAge: days * 86_400 } })).toEqual([]);
    for (const maxAge of [60, 900, 1800, 3600, 28_800, 43_200, 86_400])
      expect(warningsOf({ session: { maxAge } })).toEqual([]);
    for (const accessTokenMinutes of [1, 15, 30, 60, 600, 720, 900, 1440, 2160, 2880, 10_080, 11_520, 43_200])
      expect(warningsOf({ jwt: { accessTokenMinutes } })).toEqual([]);
  });
});
