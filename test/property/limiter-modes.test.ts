import express from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { RunLayer } from "../../src/core/layer.js";
import { compose } from "../../src/core/pipeline.js";
import { createPrincipal } from "../../src/core/principal.js";
import { createRuntime } from "../../src/core/runtime.js";
import { createPrincipalRateLimit, createRateLimit } from "../../src/rate-limit/middleware.js";
import { rateLimitSchema } from "../../src/rate-limit/settings.js";
import { parse } from "../../src/settings/object.js";
import type { WindowOutcome, WindowPolicy, WindowRequest } from "../../src/stores/contracts.js";
import { openRedis, type RedisConnection } from "../../src/stores/redis/client.js";
import { RedisSlidingWindowStore } from "../../src/stores/redis/sliding-window/store.js";
import { ManualClock } from "../support/manual-clock.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";
import { type RunningServer, startRedis, uniqueName } from "../support/servers.js";
import { ListOracle } from "./limiter-oracle.js";
import { TimedRedis } from "./limiter-timed-redis.js";
import { runs } from "./seed.js";

vi.setConfig({ testTimeout: runs(60_000) });

type OnStoreError = "local" | "allow" | "deny";

const MAIN: WindowPolicy = { name: "default", limit: 4, windowMs: 20_000 };
const PER_PRINCIPAL: WindowPolicy = { name: "default:principal", limit: 3, windowMs: 40_000 };
/** The longest a store that failed is left alone. */
const PAUSE_MS = 500;

interface Call {
  readonly client: string;
  readonly principal: string | undefined;
}

/** An app with both limits on a real Redis, and what it should answer: by a list of time stamps for Redis and one for the in-process limiter. */
class LimitedApp {
  readonly clock = new ManualClock();
  readonly redis: TimedRedis;
  readonly store: RedisSlidingWindowStore;
  readonly shared = new ListOracle();
  readonly local = new ListOracle();
  readonly #onStoreError: OnStoreError;
  server!: TestServer;
  reached = 0;

  constructor(connection: RedisConnection, onStoreError: OnStoreError) {
    this.redis = new TimedRedis(connection);
    this.store = new RedisSlidingWindowStore({ redis: this.redis, prefix: `${uniqueName()}:` });
    this.#onStoreError = onStoreError;
  }

  async start(): Promise<void> {
    const runtime = createRuntime({ clock: this.clock });
    const options = parse(rateLimitSchema, {
      limit: MAIN.limit,
      windowSeconds: MAIN.windowMs / 1000,
      key: (req: { headers: Record<string, unknown> }) => String(req.headers["x-client"]),
      perPrincipal: { limit: PER_PRINCIPAL.limit, windowSeconds: PER_PRINCIPAL.windowMs / 1000 },
      onStoreError: this.#onStoreError,
      // On a busy machine no answer counts as lost but those the line loses.
      storeTimeoutMs: 10_000,
    });
    const app = express();
    const [first, second] = [
      createRateLimit(options, runtime, { store: this.store, joined: true }),
      createPrincipalRateLimit(options, runtime, { store: this.store }),
    ];
    if (first === undefined || second === undefined) throw new Error("both limits are on");
    const authenticate: RunLayer = (req, _res, next) => {
      const id = req.headers["x-principal"];
      if (typeof id === "string")
        req.principal = createPrincipal({ id, kind: "jwt", scopes: [], roles: [], credentialId: "c" });
      next();
    };
    app.use(compose([first, { run: authenticate }, second], runtime), (_req, res) => {
      this.reached += 1;
      res.send("ok");
    });
    this.server = await serve(app);
  }

  advance(ms: number): void {
    this.clock.advance(ms);
    this.redis.us += ms * 1000;
  }

  send({ client, principal }: Call): Promise<Answer> {
    return this.server.send("/", {
      headers: { "x-client": client, ...(principal === undefined ? {} : { "x-principal": principal }) },
    });
  }

  requests({ client, principal }: Call): WindowRequest[] {
    const main = { policy: MAIN, key: client, cost: 1 };
    return principal === undefined ? [main] : [main, { policy: PER_PRINCIPAL, key: `principal:${principal}`, cost: 1 }];
  }

  /** While the store answers: all limits count the request or none does. */
  async hit(call: Call): Promise<void> {
    const outcomes = this.shared.consumeAll(this.requests(call), this.clock.monotonic());
    await this.#expectAnswer(call, outcomes);
  }

  /** While it does not: what `onStoreError` says, one limit after the other. */
  async hitWithoutStore(call: Call): Promise<void> {
    if (this.#onStoreError === "local") {
      const outcomes: WindowOutcome[] = [];
      for (const request of this.requests(call)) {
        outcomes.push(this.local.consumeAll([request], this.clock.monotonic())[0]!);
        if (outcomes.at(-1)?.allowed === false) break;
      }
      return this.#expectAnswer(call, outcomes);
    }
    const reached = this.reached;
    const answer = await this.send(call);
    expect(answer.status).toBe(this.#onStoreError === "allow" ? 200 : 503);
    expect(answer.headers.ratelimit).toBeUndefined();
    if (this.#onStoreError === "deny") expect(answer.json()).toMatchObject({ code: "store-unavailable" });
    expect(this.reached - reached).toBe(this.#onStoreError === "allow" ? 1 : 0);
  }

  async outage(line: "loses-requests" | "loses-answers", calls: readonly Call[]): Promise<void> {
    this.redis.line = line;
    const asked = this.redis.calls;
    for (const [index, call] of calls.entries()) {
      // Only the first gets as far as the line; it may have been counted without our knowing, and then it stays counted.
      if (index === 0 && line === "loses-answers") this.shared.consumeAll(this.requests(call), this.clock.monotonic());
      await this.hitWithoutStore(call);
    }
    expect(this.redis.calls - asked).toBe(1);
    this.redis.line = "whole";
    for (const call of calls) await this.compareLog(call);
    this.advance(PAUSE_MS);
  }

  /** What Redis holds is what the list holds: an outage writes nothing afterwards. */
  async compareLog(call: Call): Promise<void> {
    for (const request of this.requests(call)) {
      const { policy, key } = request;
      const expected = this.shared.peek(policy, `${policy.name} ${key}`, 1, this.clock.monotonic());
      expect(await this.store.peek(policy, key, 1)).toEqual(expected);
    }
  }

  async #expectAnswer(call: Call, outcomes: readonly WindowOutcome[]): Promise<void> {
    const reached = this.reached;
    const answer = await this.send(call);
    const refused = outcomes.findIndex(({ allowed }) => !allowed);
    // A refusal ends the list: limits after it are not told.
    const told = refused === -1 ? outcomes : outcomes.slice(0, refused + 1);
    const wait = ({ retryAfterMs }: WindowOutcome) => Math.max(1, Math.ceil(retryAfterMs / 1000));
    const items = told.map((outcome, index) => {
      const [name, { limit }] = index === 0 ? ["default", MAIN] : ["default-principal", PER_PRINCIPAL];
      return `"${name}";r=${Math.max(0, limit - outcome.used)};t=${outcome.allowed ? Math.ceil(outcome.resetMs / 1000) : wait(outcome)}`;
    });
    expect([answer.status, answer.headers.ratelimit]).toEqual([refused === -1 ? 200 : 429, items.join(", ")]);
    expect(answer.headers["retry-after"]).toBe(refused === -1 ? undefined : String(wait(outcomes[refused]!)));
    expect(this.reached - reached).toBe(refused === -1 ? 1 : 0);
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.store.close();
  }
}

const call: fc.Arbitrary<Call> = fc.record({
  client: fc.constantFrom("a", "b"),
  principal: fc.constantFrom(undefined, "ann", "bob"),
});
const step = fc.oneof(
  { weight: 5, arbitrary: call.map((one) => ({ kind: "hit", calls: [one] }) as const) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 8 }).map((ms) => ({ kind: "advance", ms: ms * 2500 }) as const) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom("loses-requests", "loses-answers"), fc.array(call, { minLength: 1, maxLength: 6 }))
      .map(([line, calls]) => ({ kind: "outage", line, calls }) as const),
  },
);

describe("a limiter whose Redis comes and goes", () => {
  let redis: RunningServer;
  let connection: RedisConnection;
  let app: LimitedApp | undefined;
  beforeAll(async () => {
    redis = await startRedis();
    connection = openRedis(redis.url);
    await connection.ready();
  });
  afterAll(async () => {
    await connection.close();
    await redis.close();
  });

  it.each(["local", "allow", "deny"] as const)(
    "decides as two lists of time stamps do with onStoreError %s, and neither loses nor invents a request",
    async (onStoreError) => {
      await fc.assert(
        fc
          .asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), async (steps) => {
            app = new LimitedApp(connection, onStoreError);
            await app.start();
            for (const one of steps) {
              if (one.kind === "advance") app.advance(one.ms);
              else if (one.kind === "outage") await app.outage(one.line, one.calls);
              else for (const call of one.calls) await app.hit(call);
            }
          })
          .afterEach(() => app?.close()),
        { numRuns: runs(15) },
      );
    },
  );
});
