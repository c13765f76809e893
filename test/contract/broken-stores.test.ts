import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import {
  apiKeyStoreConformance,
  rateLimitStoreConformance,
  sessionStoreConformance,
  tokenStoreConformance,
  type ConformanceCase,
} from "portcullis/testing";
import type { Clock } from "../../src/core/clock.js";
import type {
  RateLimitStore,
  StoredApiKey,
  StoredRefreshToken,
  UsageBatch,
  WindowOutcome,
  WindowPolicy,
} from "../../src/stores/contracts.js";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";

// The suites are only worth something when a store that is wrong fails them: each store here is wrong in one way.

async function failures(cases: readonly ConformanceCase[]): Promise<string[]> {
  const failed: string[] = [];
  for (const { name, run } of cases) await run().catch(() => failed.push(name));
  return failed;
}

class RacingRotation extends MemoryApiKeyStore {
  override async rotate(id: string, successor: StoredApiKey, graceUntil: number): Promise<boolean> {
    const key = await this.get(id);
    if (key === undefined || key.revokedAt !== null || key.rotatedTo !== null) return false;
    await turn();
    await this.insert(successor);
    await super.rotate(id, { ...successor, id: `${successor.id}-` }, graceUntil);
    return true;
  }
}

class BackwardUsage extends MemoryApiKeyStore {
  override async addUsage(batch: readonly UsageBatch[]): Promise<void> {
    for (const { id, count } of batch) await super.addUsage([{ id, count, lastUsedAt: 1 }]);
  }
}

class OffsetPaging extends MemoryApiKeyStore {
  override async list(
    ownerId: string,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<StoredApiKey[]> {
    const all = await super.list(ownerId, { limit: 1000 });
    const from =
      page.after === undefined
        ? 0
        : all.findIndex((key) => key.createdAt < (all.find(({ id }) => id === page.after)?.createdAt ?? 0));
    return from === -1 ? [] : all.slice(from, from + page.limit);
  }
}

class FoldingCase extends MemoryApiKeyStore {
  override get(id: string): Promise<StoredApiKey | undefined> {
    return super.get(id.toLowerCase());
  }
}

class AnyDigest extends MemoryApiKeyStore {
  override async replaceHash(id: string, _from: StoredApiKey["hash"], to: StoredApiKey["hash"]): Promise<boolean> {
    const key = await this.get(id);
    return key === undefined ? false : super.replaceHash(id, key.hash, to);
  }
}

/** Stores what fits, as a database does that is not strict. */
class CutsNames extends MemoryApiKeyStore {
  override insert(key: StoredApiKey): Promise<void> {
    return super.insert({ ...key, ownerId: key.ownerId.slice(0, 255) });
  }
}

/** Accepts 254 characters only, and its error does not say that the value is at fault. */
class RefusesLongNames extends MemoryTokenStore {
  override async insert(token: StoredRefreshToken): Promise<void> {
    if (token.subject.length > 254) throw new Error("no");
    return super.insert(token);
  }
}

test.each([
  [RacingRotation, "of twenty concurrent calls of rotate exactly one returns true, and only its successor exists"],
  [BackwardUsage, "addUsage adds counts, and moves lastUsedAt only forward"],
  [OffsetPaging, "paging omits and repeats no key at any page size, even with equal times and new keys"],
  [FoldingCase, "get of an unknown id is undefined, whatever the id looks like"],
  [CutsNames, "a name of 256 characters is refused as invalid input, and nothing is stored"],
  [AnyDigest, "replaceHash replaces the digest only if it is still the given one, and changes nothing else"],
])("the conformance suite fails an API key store that is broken: %o", async (Broken, name) => {
  expect(await failures(apiKeyStoreConformance(() => new Broken()))).toContain(name);
});

class LateSuccessor extends MemoryTokenStore {
  override async rotate(id: string, usedAt: number, successor: StoredRefreshToken, sealed: string): Promise<boolean> {
    const token = await this.get(id);
    if (token === undefined || token.usedAt !== null || token.revokedAt !== null) return false;
    await turn();
    await super.rotate(id, usedAt, { ...successor, id: `${successor.id}-` }, sealed);
    await this.insert({ ...successor, familyId: `${successor.familyId}-` });
    return true;
  }
}

class ForgetsReuse extends MemoryTokenStore {
  override async deleteExpired(now: number): Promise<number> {
    return super.deleteExpired(now + 24 * 86_400_000);
  }
}

class CutsOffTooMuch extends MemoryTokenStore {
  override revokeSubject(subject: string, at: number, forgetAfter: number): Promise<void> {
    return super.revokeSubject(subject, at + 1, forgetAfter);
  }
}

class OneFamilyOnly extends MemoryTokenStore {
  override async revokeSubject(): Promise<void> {}
}

test.each([
  [LateSuccessor, "concurrent revokeFamily and rotate leave no valid token, whichever is first"],
  [
    ForgetsReuse,
    "deleteExpired: an unused token is deleted after its end, a used one only after the end of its family",
  ],
  [RefusesLongNames, "names of 255 characters, of one byte or three, are stored, found again and denied"],
  [RefusesLongNames, "a name of 256 characters is refused as invalid input, and nothing is stored or denied"],
  [CutsOffTooMuch, "revokeSubject cuts off tokens issued before, not at or after"],
  [OneFamilyOnly, "revokeSubject revokes every family of the subject, and no others"],
])("the conformance suite fails a token store that is broken: %o", async (Broken, name) => {
  expect(await failures(tokenStoreConformance(() => new Broken()))).toContain(name);
});

/** Counts by periods, as most limiters do. */
class FixedWindows implements RateLimitStore {
  readonly #counts = new Map<string, number>();

  constructor(readonly clock: Clock) {}

  consume(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    const outcome = this.peek(policy, key, cost);
    if (outcome.allowed) this.#counts.set(this.#bucket(policy, key), outcome.used);
    return outcome;
  }

  peek(policy: WindowPolicy, key: string, cost: number): WindowOutcome {
    const used = this.#counts.get(this.#bucket(policy, key)) ?? 0;
    const left = policy.windowMs - (this.clock.monotonic() % policy.windowMs);
    const allowed = used + cost <= policy.limit;
    return {
      allowed,
      used: allowed ? used + cost : used,
      retryAfterMs: allowed ? 0 : left,
      resetMs: used === 0 ? 0 : left,
    };
  }

  reset(policy: WindowPolicy, key: string): void {
    this.#counts.delete(this.#bucket(policy, key));
  }

  close(): void {}

  #bucket(policy: WindowPolicy, key: string): string {
    return JSON.stringify([policy.name, key, Math.floor(this.clock.monotonic() / policy.windowMs)]);
  }
}

test("the conformance suite fails a rate limit store with fixed windows", async () => {
  expect(await failures(rateLimitStoreConformance((clock) => new FixedWindows(clock)))).toEqual(
    expect.arrayContaining([
      "the window slides: a slot frees exactly when its unit leaves, not when a period ends",
      "no window has more accepted requests than the limit",
    ]),
  );
});

type Data = Parameters<MemorySessionStore["set"]>[1];
type Told = Parameters<MemorySessionStore["replace"]>[2];

/** What a store of express-session does when it looks before it writes. */
class LooksThenWrites extends MemorySessionStore {
  override replace(sid: string, data: Data, callback: Told): void {
    this.get(sid, (_error, found) => {
      if (found == null) callback(null, false);
      // By then another process may have ended it; `set` under a new name of the store knows nothing of that.
      else setImmediate(() => super.replace(sid, data, () => this.revive(sid, data, callback)));
    });
  }

  private readonly revived = new Map<string, Data>();

  private revive(sid: string, data: Data, callback: Told): void {
    this.revived.set(sid, data);
    callback(null, true);
  }

  override get(sid: string, callback: (error: unknown, data?: Data | null) => void): void {
    super.get(sid, (error, data) => callback(error, data ?? this.revived.get(sid) ?? null));
  }
}

class ForgetsEnded extends MemorySessionStore {
  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    // Ends by running out: nothing remembers that it was ended.
    this.get(sid, (_error, data) => {
      if (data == null) callback?.();
      else super.replace(sid, { ...data, cookie: { ...data.cookie, expires: new Date(0) } }, () => callback?.());
    });
  }
}

class TouchWritesData extends MemorySessionStore {
  override touch(sid: string, data: Data, callback: Told): void {
    super.replace(sid, data, callback);
  }
}

test.each([
  [LooksThenWrites, "destroy concurrent with twenty saves and touches: the session does not exist when all are done"],
  [ForgetsEnded, "a destroyed session stays destroyed, whatever is written or touched later"],
  [TouchWritesData, "touch changes the end and seenAt, and no data"],
])("the conformance suite fails a session store that is broken: %o", async (Broken, name) => {
  expect(await failures(sessionStoreConformance((clock) => new Broken({ clock })))).toContain(name);
});
