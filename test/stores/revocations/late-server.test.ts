import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRuntime } from "../../../src/core/runtime.js";
import { GuardedTokenStore } from "../../../src/jwt/guarded-token-store.js";
import { registerBackend } from "../../../src/stores/health/backend.js";
import { StoreGuard } from "../../../src/stores/health/store-guard.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import type { ChangeBatch } from "../../../src/stores/revocations/changes.js";
import { ReplicatedTokenStore } from "../../../src/stores/revocations/replicated-token-store.js";
import { caller } from "../../support/caller.js";
import { runs } from "../../property/seed.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const TIMEOUT_MS = 250;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** An app whose sessions and change log are on one server, which answers in order. */
async function setUp() {
  const server = { latencyMs: 1 };
  let lastAnswer = 0;
  const answer = (): Promise<void> => {
    const now = performance.now();
    lastAnswer = Math.max(lastAnswer, now + server.latencyMs);
    return sleep(lastAnswer - now);
  };
  const runtime = createRuntime();
  const events: string[] = [];
  runtime.events.on("portcullis_store_unavailable", ({ source }) => events.push(`down ${source}`));
  runtime.events.on("portcullis_store_recovered", ({ source }) => events.push(`up ${source}`));
  const read = async (): Promise<ChangeBatch> => {
    await answer();
    return { changes: [], position: "1", gap: false };
  };
  const nothing = async (): Promise<void> => undefined;
  const feed = new ChangeFeed({ name: "test", load: read, since: read, record: nothing, restore: nothing }, runtime);
  const store = new ReplicatedTokenStore(new MemoryTokenStore(), feed, false);
  const sessionStore = {};
  registerBackend({ name: "redis" }, [feed, store, sessionStore]);
  const tokens = new GuardedTokenStore(store, runtime, TIMEOUT_MS);
  const sessions = new StoreGuard("session", runtime, TIMEOUT_MS, sessionStore);
  const started = feed.start();
  await vi.advanceTimersByTimeAsync(10);
  await started;
  /** How a call ends does not matter here. */
  const ask = (call: () => unknown): void => {
    Promise.resolve()
      .then(call)
      .catch(() => undefined);
  };
  return {
    server,
    events,
    askToken: (client: string) =>
      ask(() => tokens.isRevoked({ jti: "j", subject: "ada", issuedAt: Date.now() }, caller(client))),
    askSession: (client: string) => ask(() => sessions.run(() => answer(), undefined, caller(client))),
    close: async () => {
      const closed = feed.close();
      await vi.advanceTimersByTimeAsync(1000);
      await closed;
      vi.clearAllTimers();
    },
  };
}

describe("a server that stays late", () => {
  it("is one outage and one recovery, also when callers join a reading that began long before: property", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: TIMEOUT_MS + 10, max: 3000 }),
        fc.array(fc.record({ gapMs: fc.integer({ min: 1, max: 120 }), client: fc.nat(4) }), {
          minLength: 50,
          maxLength: 100,
        }),
        fc.integer({ min: 3000, max: 8000 }),
        async (latencyMs, requests, lastsMs) => {
          const { server, events, askToken, askSession, close } = await setUp();
          const traffic = async (ms: number): Promise<void> => {
            for (let passed = 0, next = 0; passed < ms; next += 1) {
              const { gapMs, client } = requests[next % requests.length]!;
              await vi.advanceTimersByTimeAsync(gapMs);
              passed += gapMs;
              // A feed that is read in 260 ms is current: without sessions there would be no outage.
              (next % 3 === 0 ? askSession : askToken)(`192.0.2.${client}`);
            }
          };
          try {
            await traffic(500);
            expect(events).toEqual([]);
            server.latencyMs = latencyMs;
            await traffic(lastsMs);
            expect(events).toEqual(["down redis"]);
            server.latencyMs = 1;
            await traffic(latencyMs + 3000);
            expect(events).toEqual(["down redis", "up redis"]);
          } finally {
            await close();
          }
        },
      ),
      { numRuns: runs(60) },
    );
  });
});

describe("a change log that gives no answer", () => {
  it("is an outage of its server, also without any request", async () => {
    const { server, events, close } = await setUp();
    server.latencyMs = 10_000;
    await vi.advanceTimersByTimeAsync(3000);
    expect(events).toEqual(["down redis"]);
    await close();
  });
});
