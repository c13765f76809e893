import { isDeepStrictEqual } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { IssuedTokens } from "../../src/jwt/types.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { ManualClock } from "../support/manual-clock.js";
import { bench, type Bench, codeOf, START, UnreliableStore } from "./support.js";

/** Longer than the first pause before a refused write is repeated. */
const REPEATED_MS = 700;

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** Lets time pass until `value` returns what is expected, at most four seconds. */
async function eventually(value: () => unknown, expected: unknown): Promise<void> {
  for (let waited = 0; waited < 4000 && !isDeepStrictEqual(value(), expected); waited += 50) await pass(50);
  expect(value()).toEqual(expected);
}

/** A store that refuses to revoke while told to. */
class RefusingStore extends UnreliableStore {
  refusing = false;
  /** Whether what is refused is done all the same. */
  doesIt = false;

  constructor(inner: MemoryTokenStore) {
    super(inner);
    for (const name of ["revokeFamily", "revokeSubject", "denyAccessToken", "denyFamily"] as const) {
      const call = this[name] as (...args: unknown[]) => Promise<unknown>;
      Object.assign(this, {
        [name]: async (...args: unknown[]) => {
          if (this.refusing && !this.doesIt) throw new Error("connection lost");
          const answer = await call(...args);
          if (this.refusing) throw new Error("connection lost");
          return answer;
        },
      });
    }
  }
}

const jtiOf = async ({ manager }: Bench, { accessToken }: IssuedTokens): Promise<string> =>
  (await manager.verifyAccessToken(accessToken)).jti;

describe.each([
  {
    what: "revokeToken",
    reason: "token",
    ends: "access",
    revoke: async (parts: Bench, tokens: IssuedTokens) => parts.manager.revokeToken(await jtiOf(parts, tokens)),
  },
  {
    what: "revokeFamily",
    reason: "family",
    ends: "both",
    revoke: ({ manager }: Bench, { refreshToken }: IssuedTokens) => manager.revokeFamily(refreshToken),
  },
  {
    what: "revokeSubject",
    reason: "subject",
    ends: "both",
    revoke: ({ manager }: Bench) => manager.revokeSubject("ada"),
  },
])("$what that the store refused", ({ reason, ends, revoke }) => {
  let parts: Bench;
  let store: RefusingStore;
  afterEach(() => parts.manager.close());

  async function refused(doesIt = false): Promise<{ tokens: IssuedTokens; again: () => Promise<unknown> }> {
    store = new RefusingStore(new MemoryTokenStore({ clock: new ManualClock(START) }));
    parts = bench({}, store);
    const tokens = await parts.manager.issue("ada");
    // The id is read while the token is good.
    const jti = await jtiOf(parts, tokens);
    const again = (): Promise<unknown> => (reason === "token" ? parts.manager.revokeToken(jti) : revoke(parts, tokens));
    store.refusing = true;
    store.doesIt = doesIt;
    expect(await codeOf(again())).toBe("store-unavailable");
    expect(announced()).toEqual([]);
    store.refusing = false;
    return { tokens, again };
  }

  const announced = (): unknown[] =>
    parts.events.filter(({ event }) => event === "authn_token_revoked").map((event) => event.reason);

  async function expectEnded({ accessToken, refreshToken }: IssuedTokens): Promise<void> {
    expect(await codeOf(parts.manager.verifyAccessToken(accessToken))).toBe("revoked");
    expect(await codeOf(parts.manager.refresh(refreshToken))).toBe(ends === "both" ? "revoked" : "fulfilled");
  }

  it.each([
    { when: "before the store had done it", doesIt: false },
    { when: "after the store had done it", doesIt: true },
  ])(
    "$when: is retried until the store has it, and reported once; repeating the call succeeds without another event",
    async ({ doesIt }) => {
      const { tokens, again } = await refused(doesIt);
      await eventually(announced, [reason]);
      await expectEnded(tokens);
      expect(await codeOf(again())).toBe("fulfilled");
      expect(announced()).toEqual([reason]);
    },
  );

  it("is retried while the store keeps refusing it", async () => {
    const { tokens } = await refused();
    store.refusing = true;
    await pass(REPEATED_MS);
    expect(announced()).toEqual([]);
    store.refusing = false;
    await eventually(announced, [reason]);
    await expectEnded(tokens);
  });

  it("and that is called again at once is completed and reported by the second call, and not retried", async () => {
    const { tokens, again } = await refused();
    expect(await codeOf(again())).toBe("fulfilled");
    expect(announced()).toEqual([reason]);
    const calls = store.calls;
    await pass(REPEATED_MS);
    expect([store.calls, announced()]).toEqual([calls, [reason]]);
    await expectEnded(tokens);
  });

  it("and that is called again leaves a later log-in valid", async () => {
    const { again } = await refused();
    await again();
    parts.clock.advance(1);
    const { accessToken, refreshToken } = await parts.manager.issue("ada");
    await pass(REPEATED_MS);
    expect(await codeOf(parts.manager.verifyAccessToken(accessToken))).toBe("fulfilled");
    expect(await codeOf(parts.manager.refresh(refreshToken))).toBe("fulfilled");
  });

  it.each([false, true])(
    "and that is not called again leaves a later log-in valid, and ends earlier tokens (the store had executed it: %s)",
    async (doesIt) => {
      const { tokens } = await refused(doesIt);
      parts.clock.advance(1);
      const fresh = await parts.manager.issue("ada");
      await eventually(announced, [reason]);
      await pass(REPEATED_MS);
      expect(await codeOf(parts.manager.verifyAccessToken(fresh.accessToken))).toBe("fulfilled");
      expect(await codeOf(parts.manager.refresh(fresh.refreshToken))).toBe("fulfilled");
      await expectEnded(tokens);
      expect(announced()).toEqual([reason]);
    },
  );

  it("twice in a row is reported once", async () => {
    const { again } = await refused();
    store.refusing = true;
    expect(await codeOf(again())).toBe("store-unavailable");
    store.refusing = false;
    expect(await codeOf(again())).toBe("fulfilled");
    await pass(REPEATED_MS);
    expect(announced()).toEqual([reason]);
  });

  it("is reported each time if it is not refused", async () => {
    parts = bench();
    const tokens = await parts.manager.issue("ada");
    const jti = await jtiOf(parts, tokens);
    const once = (): Promise<unknown> => (reason === "token" ? parts.manager.revokeToken(jti) : revoke(parts, tokens));
    await once();
    await once();
    expect(announced()).toEqual([reason, reason]);
  });
});

it("a log-in does not wait for a revocation that hangs, and stays valid", async () => {
  class SlowOnce extends MemoryTokenStore {
    isSlow = true;
    override async revokeSubject(...call: Parameters<MemoryTokenStore["revokeSubject"]>): Promise<void> {
      if (!this.isSlow) return super.revokeSubject(...call);
      this.isSlow = false;
      await new Promise((resolve) => setTimeout(resolve, 300));
      throw new Error("late");
    }
  }
  const { manager, clock } = bench(
    { storeTimeoutMs: 150 },
    new UnreliableStore(new SlowOnce({ clock: new ManualClock(START) })),
  );
  const old = await manager.issue("ada");
  const late = codeOf(manager.revokeSubject("ada"));
  await pass(200);
  expect(await late).toBe("store-unavailable");
  clock.advance(1);
  const logIn = manager.issue("ada");
  await pass(150);
  const fresh = await logIn;
  await pass(REPEATED_MS);
  expect(await codeOf(manager.refresh(fresh.refreshToken))).toBe("fulfilled");
  expect(await codeOf(manager.refresh(old.refreshToken))).toBe("revoked");
  await manager.close();
});

it("a log-in is refused while all tokens of its subject are still to be revoked, and those of others are not", async () => {
  const store = new RefusingStore(new MemoryTokenStore({ clock: new ManualClock(START) }));
  const { manager } = bench({}, store);
  store.refusing = true;
  expect(await codeOf(manager.revokeSubject("ada"))).toBe("store-unavailable");
  expect(await codeOf(manager.issue("ada"))).toBe("store-unavailable");
  expect(await codeOf(manager.issue("bob"))).toBe("fulfilled");
  store.refusing = false;
  expect(await codeOf(manager.issue("ada"))).toBe("fulfilled");
  await manager.close();
});

describe("revokeSubject, refused in one process and done in another", () => {
  it("is retried by the first: later log-ins stay valid, earlier ones stay revoked", async () => {
    const store = new RefusingStore(new MemoryTokenStore({ clock: new ManualClock(START) }));
    const [one, other] = [bench({}, store), bench({}, store.inner)];
    const before = await one.manager.issue("ada");
    store.refusing = true;
    expect(await codeOf(one.manager.revokeSubject("ada"))).toBe("store-unavailable");
    other.clock.advance(1000);
    await other.manager.revokeSubject("ada");
    const since = await other.manager.issue("ada");
    store.refusing = false;
    await eventually(() => one.events.filter(({ event }) => event === "authn_token_revoked").length, 1);
    expect(await codeOf(other.manager.verifyAccessToken(since.accessToken))).toBe("fulfilled");
    expect(await codeOf(other.manager.refresh(since.refreshToken))).toBe("fulfilled");
    expect(await codeOf(other.manager.refresh(before.refreshToken))).toBe("revoked");
    await Promise.all([one.manager.close(), other.manager.close()]);
  });
});
