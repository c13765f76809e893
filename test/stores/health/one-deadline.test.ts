import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ApiKeyService } from "../../../src/api-key/service.js";
import type { SecurityEvent } from "../../../src/core/events.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { DeadlinePassedError, type WriteCall } from "../../../src/stores/health/write-call.js";
import { JwtManager } from "../../../src/jwt/manager.js";
import type { StoredApiKey, StoredRefreshToken } from "../../../src/stores/contracts.js";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { ROOT } from "../../jwt/support.js";

const TIMEOUT_MS = 400;
/** Node counts a timer from the time that its event loop last read, so a timer of a busy process fires this much early. */
const EARLY_MS = 10;
/** Each call takes `share` of the time-out. */
const TOO_SLOW = 0.6;
const SLOW = 0.2;

/** Takes as long as a statement, then looks at the deadline as a database store does before COMMIT. */
async function statement(share: number, call?: WriteCall): Promise<void> {
  if (share > 0) await sleep(share * TIMEOUT_MS);
  if (call?.beginCommit() === false) throw new DeadlinePassedError();
}

class SlowKeyStore extends MemoryApiKeyStore {
  share = 0;
  commits = 0;

  override async get(id: string): Promise<StoredApiKey | undefined> {
    await statement(this.share);
    return super.get(id);
  }

  override async rotate(id: string, successor: StoredApiKey, graceUntil: number, call?: WriteCall): Promise<boolean> {
    await statement(this.share, call);
    this.commits += 1;
    return super.rotate(id, successor, graceUntil);
  }
}

class SlowTokenStore extends MemoryTokenStore {
  share = 0;
  commits = 0;

  override async get(id: string): Promise<StoredRefreshToken | undefined> {
    await statement(this.share);
    return super.get(id);
  }

  override async rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealed: string,
    call?: WriteCall,
  ): Promise<boolean> {
    await statement(this.share, call);
    this.commits += 1;
    return super.rotate(id, usedAt, successor, sealed);
  }
}

function setUp() {
  const runtime = createRuntime();
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const keyStore = new SlowKeyStore();
  const tokenStore = new SlowTokenStore();
  const keys = new ApiKeyService(
    { hash: "hmac-sha256", cacheSeconds: 0, storeTimeoutMs: TIMEOUT_MS, store: keyStore },
    { runtime, secretKey: [ROOT] },
  );
  const tokens = new JwtManager({ storeTimeoutMs: TIMEOUT_MS }, { runtime, store: tokenStore, secretKey: [ROOT] });
  return { events, keyStore, tokenStore, keys, tokens };
}

/** How long the call took, in milliseconds, and how it ended. */
async function timed(call: Promise<unknown>): Promise<{ ms: number; code: string }> {
  const began = performance.now();
  const code = await call.then(
    () => "done",
    (error: { code?: string }) => error.code ?? "no code",
  );
  return { ms: performance.now() - began, code };
}

describe("one deadline for a public call", () => {
  it("ends a rotation whose look-up and write are each in time, but together too late", async () => {
    const { keys, keyStore } = setUp();
    const old = await keys.create({ ownerId: "ada", name: "n" });
    keyStore.share = TOO_SLOW;
    const { ms, code } = await timed(keys.rotate(old.record.id));
    expect(code).toBe("PORTCULLIS_STORE_UNAVAILABLE");
    expect(ms).toBeGreaterThanOrEqual(TIMEOUT_MS - EARLY_MS);
    expect(ms).toBeLessThan(2 * TOO_SLOW * TIMEOUT_MS);
    await sleep(TIMEOUT_MS);
    keyStore.share = 0;
    expect(keyStore.commits).toBe(0);
    expect(await keys.list("ada")).toMatchObject([{ id: old.record.id, rotatedTo: null }]);
    expect(await keys.verify(old.key)).toMatchObject({ ok: true });
  });

  it("ends a refresh whose look-up and write are each in time, but together too late", async () => {
    const { tokens, tokenStore, events } = setUp();
    const { refreshToken } = await tokens.issue("ada");
    tokenStore.share = TOO_SLOW;
    const { ms, code } = await timed(tokens.refresh(refreshToken));
    expect(code).toBe("store-unavailable");
    expect(ms).toBeGreaterThanOrEqual(TIMEOUT_MS - EARLY_MS);
    expect(ms).toBeLessThan(2 * TOO_SLOW * TIMEOUT_MS);
    await sleep(TIMEOUT_MS);
    tokenStore.share = 0;
    expect(tokenStore.commits).toBe(0);
    expect((await timed(tokens.refresh(refreshToken))).code).toBe("done");
    expect(events.filter(({ level }) => level === "CRITICAL")).toEqual([]);
  });

  it("allows calls whose look-up and write are in time together", async () => {
    const { keys, keyStore, tokens, tokenStore } = setUp();
    const old = await keys.create({ ownerId: "ada", name: "n" });
    const { refreshToken } = await tokens.issue("ada");
    keyStore.share = SLOW;
    tokenStore.share = SLOW;
    expect((await timed(keys.rotate(old.record.id))).code).toBe("done");
    expect((await timed(tokens.refresh(refreshToken))).code).toBe("done");
    expect([keyStore.commits, tokenStore.commits]).toEqual([1, 1]);
  });

  it("does not count the time of hashing", async () => {
    const runtime = createRuntime();
    const store = new SlowKeyStore();
    const keys = new ApiKeyService({ hash: "argon2id", hashConcurrency: 1, storeTimeoutMs: 100, store }, { runtime });
    const made = [];
    for (let n = 0; n < 12; n += 1) made.push(await keys.create({ ownerId: `owner-${n}`, name: "n" }));
    const began = performance.now();
    const rotated = await Promise.all(made.map(({ record }) => keys.rotate(record.id)));
    expect(performance.now() - began).toBeGreaterThan(100);
    expect(rotated).toHaveLength(12);
    expect(store.commits).toBe(12);
  });
});
