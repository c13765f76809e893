import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cookieNameOnWire,
  expiryOf,
  isTouchDue,
  loginKind,
  MAX_COOKIE_BYTES,
  readSessionCookie,
  timePolicy,
  timeVerdict,
} from "../../src/session/decide.js";

const NAME = "__Host-mcp_session";
const SID = "Abcdefghijklmnopqrstuvwxyz01234_";
const SIGNATURE = "A".repeat(43);
const VALUE = `s%3A${SID}.${SIGNATURE}`;
const found = { kind: "present", value: VALUE };

describe("readSessionCookie", () => {
  const table: { name: string; input: string | undefined; verdict: object }[] = [
    { name: "no header", input: undefined, verdict: { kind: "none" } },
    { name: "an empty header", input: "", verdict: { kind: "none" } },
    { name: "only other cookies", input: "a=b; c=d", verdict: { kind: "none" } },
    { name: "our cookie alone", input: `${NAME}=${VALUE}`, verdict: found },
    { name: "ours among others", input: `a=b; ${NAME}=${VALUE}; c=d`, verdict: found },
    { name: "blanks around name and value", input: `a=b;\t ${NAME} = ${VALUE} ;c`, verdict: found },
    { name: "no blank after the semicolon", input: `a=b;${NAME}=${VALUE}`, verdict: found },
    { name: "a longer name that ends in ours", input: `x${NAME}=${VALUE}`, verdict: { kind: "none" } },
    { name: "a longer name that begins with ours", input: `${NAME}2=${VALUE}`, verdict: { kind: "none" } },
    { name: "our name in another case", input: `${NAME.toUpperCase()}=${VALUE}`, verdict: { kind: "none" } },
    { name: "the name without the prefix", input: `mcp_session=${VALUE}`, verdict: { kind: "none" } },
    { name: "our name without a value", input: NAME, verdict: { kind: "none" } },
    { name: "our name as another's value", input: `a=${NAME}=${VALUE}`, verdict: { kind: "none" } },
    { name: "twice, different", input: `${NAME}=${VALUE}; ${NAME}=x`, verdict: { kind: "duplicate" } },
    { name: "twice, the same", input: `${NAME}=${VALUE}; ${NAME}=${VALUE}`, verdict: { kind: "duplicate" } },
    { name: "twice, the first empty", input: `${NAME}=; ${NAME}=${VALUE}`, verdict: { kind: "duplicate" } },
    { name: "empty", input: `${NAME}=`, verdict: { kind: "malformed" } },
    { name: "unsigned", input: `${NAME}=${SID}`, verdict: { kind: "malformed" } },
    { name: "not encoded", input: `${NAME}=s:${SID}.${SIGNATURE}`, verdict: { kind: "malformed" } },
    { name: "encoded in lower case", input: `${NAME}=s%3a${SID}.${SIGNATURE}`, verdict: { kind: "malformed" } },
    { name: "with a letter before it", input: `${NAME}=x${VALUE}`, verdict: { kind: "malformed" } },
    { name: "quoted", input: `${NAME}="${VALUE}"`, verdict: { kind: "malformed" } },
    { name: "an id one short", input: `${NAME}=s%3A${SID.slice(1)}.${SIGNATURE}`, verdict: { kind: "malformed" } },
    { name: "a signature one long", input: `${NAME}=${VALUE}A`, verdict: { kind: "malformed" } },
    {
      name: "a signature with a plus sign as such",
      input: `${NAME}=s%3A${SID}.${"A".repeat(42)}+`,
      verdict: { kind: "malformed" },
    },
    {
      name: "a signature with an encoded plus sign",
      input: `${NAME}=s%3A${SID}.${"A".repeat(42)}%2B`,
      verdict: { kind: "present", value: `s%3A${SID}.${"A".repeat(42)}%2B` },
    },
    { name: "text before the id", input: `${NAME}=x${VALUE}`, verdict: { kind: "malformed" } },
    {
      name: "another name as long as ours beside it",
      input: `__Host-mcp_sessiom=${VALUE}; ${NAME}=${VALUE}`,
      verdict: found,
    },
    {
      name: "blanks up to what a cookie may be",
      input: `${NAME}=${VALUE}${" ".repeat(MAX_COOKIE_BYTES - NAME.length - VALUE.length)}`,
      verdict: found,
    },
    {
      name: "one blank more",
      input: `${NAME}=${VALUE}${" ".repeat(MAX_COOKIE_BYTES - NAME.length - VALUE.length + 1)}`,
      verdict: { kind: "malformed" },
    },
    { name: "longer than a cookie may be", input: `${NAME}=${"a".repeat(5000)}`, verdict: { kind: "malformed" } },
  ];
  it.each(table)("$name", ({ input, verdict }) => expect(readSessionCookie(input, NAME)).toEqual(verdict));

  it("takes time in proportion to the header", () => {
    const worst = `${";".repeat(16_000)}=${NAME}`;
    const start = performance.now();
    for (let i = 0; i < 20; i += 1) readSessionCookie(worst, NAME);
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe("timeVerdict", () => {
  const policy = timePolicy(3600, 86_400);
  const now = 10_000_000_000;
  const table: { name: string; input: { age: number; idle: number }; verdict: string }[] = [
    { name: "new", input: { age: 0, idle: 0 }, verdict: "alive" },
    { name: "idle for a moment less than allowed", input: { age: 4_000_000, idle: 3_599_999 }, verdict: "alive" },
    { name: "idle for as long as allowed", input: { age: 4_000_000, idle: 3_600_000 }, verdict: "idle" },
    { name: "a moment younger than allowed", input: { age: 86_399_999, idle: 1 }, verdict: "alive" },
    { name: "as old as allowed", input: { age: 86_400_000, idle: 1 }, verdict: "absolute" },
    { name: "both", input: { age: 86_400_000, idle: 3_600_000 }, verdict: "absolute" },
    {
      name: "made in the future, after the clock was set back",
      input: { age: -5_000, idle: -5_000 },
      verdict: "alive",
    },
  ];
  it.each(table)("$name: $verdict", ({ input, verdict }) =>
    expect(timeVerdict({ createdAt: now - input.age, seenAt: now - input.idle }, policy, now)).toBe(verdict),
  );

  it("ends a session at whichever time-out comes first", () => {
    expect(expiryOf({ createdAt: 0, seenAt: 0 }, policy)).toBe(3_600_000);
    expect(expiryOf({ createdAt: 0, seenAt: 86_000_000 }, policy)).toBe(86_400_000);
  });

  it("records a use at most once a minute, and ten times within a short idle time", () => {
    expect(timePolicy(3600, 86_400).touchAfterMs).toBe(60_000);
    expect(timePolicy(100, 86_400).touchAfterMs).toBe(10_000);
    expect(isTouchDue({ createdAt: 0, seenAt: 0 }, policy, 59_999)).toBe(false);
    expect(isTouchDue({ createdAt: 0, seenAt: 0 }, policy, 60_000)).toBe(true);
    expect(isTouchDue({ createdAt: 0, seenAt: now }, policy, now + 59_999)).toBe(false);
    expect(isTouchDue({ createdAt: 0, seenAt: now }, policy, now + 60_000)).toBe(true);
  });
});

describe("cookieNameOnWire", () => {
  const table: [name: string, secure: boolean, domain: string | undefined, path: string, wire: string][] = [
    ["mcp_session", true, undefined, "/", "__Host-mcp_session"],
    ["mcp_session", false, undefined, "/", "mcp_session"],
    ["mcp_session", true, "example.com", "/", "__Secure-mcp_session"],
    ["mcp_session", false, "example.com", "/", "mcp_session"],
    ["mcp_session", true, undefined, "/admin", "__Secure-mcp_session"],
    ["mcp_session", false, undefined, "/admin", "mcp_session"],
    ["__Host-sid", true, undefined, "/", "__Host-sid"],
    ["__Host-sid", false, undefined, "/", "sid"],
    ["__Secure-sid", true, undefined, "/", "__Secure-sid"],
    ["__Secure-sid", true, "example.com", "/", "__Secure-sid"],
    ["sid__Host-", false, undefined, "/", "sid__Host-"],
    ["sid__Host-", true, undefined, "/", "__Host-sid__Host-"],
  ];
  it.each(table)("%s, secure %s, domain %s, path %s: %s", (name, secure, domain, path, wire) =>
    expect(cookieNameOnWire(name, { secure, domain, path })).toBe(wire),
  );
});

describe("a session with a maxAge of its own", () => {
  const policy = timePolicy(3600, 86_400);
  const day = 86_400_000;

  it("ends by it, and never before it by the absolute time-out", () => {
    const long = { createdAt: 0, seenAt: 0, maxAgeMs: 30 * day };
    expect(timeVerdict(long, policy, 30 * day - 1)).toBe("alive");
    expect(timeVerdict(long, policy, 30 * day)).toBe("absolute");
    expect(timeVerdict({ ...long, seenAt: day }, policy, 30 * day)).toBe("absolute");
    expect(expiryOf(long, policy)).toBe(30 * day);
    const short = { createdAt: 0, seenAt: 0, maxAgeMs: 60_000 };
    expect(timeVerdict(short, policy, 59_999)).toBe("alive");
    expect(timeVerdict(short, policy, 60_000)).toBe("idle");
    expect(timeVerdict({ ...short, seenAt: day - 1 }, policy, day)).toBe("absolute");
  });

  it("is recorded as used within a tenth of it", () => {
    const short = { createdAt: 0, seenAt: 0, maxAgeMs: 60_000 };
    expect(isTouchDue(short, policy, 5_999)).toBe(false);
    expect(isTouchDue(short, policy, 6_000)).toBe(true);
    expect(isTouchDue({ ...short, maxAgeMs: 30 * day }, policy, 59_999)).toBe(false);
    expect(isTouchDue({ ...short, maxAgeMs: 30 * day }, policy, 60_000)).toBe(true);
  });

  it("expires when its verdict changes, whatever the times", () => {
    const ms = fc.integer({ min: 1, max: 400 * day });
    fc.assert(
      fc.property(ms, ms, fc.option(ms, { nil: undefined }), ms, (createdAt, sinceCreated, maxAgeMs, offset) => {
        const times = { createdAt, seenAt: createdAt + sinceCreated, maxAgeMs };
        const end = expiryOf(times, policy);
        expect(timeVerdict(times, policy, end)).not.toBe("alive");
        if (end - offset >= createdAt) expect(timeVerdict(times, policy, end - offset)).toBe("alive");
      }),
    );
  });
});

it("loginKind tells the three kinds of log-in apart", () => {
  expect(loginKind(undefined, "a")).toBe("first");
  expect(loginKind("a", "a")).toBe("renewal");
  expect(loginKind("b", "a")).toBe("other-user");
});
