import type { ErrorRequestHandler } from "express";
import { MemoryStore, type Store } from "express-rate-limit";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { rateLimitSchema } from "../../src/rate-limit/settings.js";
import { createRateLimit, rateLimiter } from "../../src/rate-limit/middleware.js";
import { createRuntime } from "../../src/core/runtime.js";
import { parse } from "../../src/settings/object.js";
import type { RateLimitStore, WindowOutcome, WindowPolicy } from "../../src/stores/contracts.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import { bench as startBench, statuses } from "./support.js";

type Trouble = "none" | "rejects" | "throws" | "hangs" | "garbage";

/** A store over a real one, that can be put into trouble as a network store gets into it. */
class TroubledStore implements RateLimitStore {
  trouble: Trouble = "none";
  calls = 0;
  readonly #inner = new SlidingWindowStore();

  consume(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    return this.#answer(() => this.#inner.consume(policy, key, cost));
  }

  peek(policy: WindowPolicy, key: string, cost: number): Promise<WindowOutcome> {
    return this.#answer(() => this.#inner.peek(policy, key, cost));
  }

  reset(policy: WindowPolicy, key: string): void {
    this.#inner.reset(policy, key);
  }

  close(): void {
    this.#inner.close();
  }

  #answer(real: () => WindowOutcome): Promise<WindowOutcome> {
    this.calls += 1;
    switch (this.trouble) {
      case "none":
        return sleep(1).then(real);
      case "rejects":
        return sleep(1).then(() => Promise.reject(Object.assign(new Error("connection lost"), { code: "ECONNRESET" })));
      case "throws":
        throw Object.assign(new Error("not connected"), { code: "ECONNREFUSED" });
      case "hangs":
        return new Promise(() => undefined);
      case "garbage":
        return Promise.resolve({ allowed: "yes" } as unknown as WindowOutcome);
    }
  }
}

describe.each(EXPRESS)("when the store fails, on $name,", ({ express }) => {
  const servers: TestServer[] = [];
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  beforeAll(() => void process.on("unhandledRejection", note));
  afterAll(() => void process.off("unhandledRejection", note));
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    await sleep(5);
    expect(unhandled).toEqual([]);
  });

  async function bench(
    ...[settings, parts]: Parameters<typeof startBench> extends [unknown, ...infer Rest] ? Rest : never
  ) {
    const made = await startBench(express, settings, parts);
    servers.push(made.server);
    return made;
  }

  const OUTCOMES: [Trouble, "local" | "allow" | "deny", number[]][] = (
    ["rejects", "throws", "hangs", "garbage"] as const
  ).flatMap((trouble) => [
    [trouble, "local", [200, 200, 429, 429]] as [Trouble, "local", number[]],
    [trouble, "allow", [200, 200, 200, 200]] as [Trouble, "allow", number[]],
    [trouble, "deny", [503, 503, 503, 503]] as [Trouble, "deny", number[]],
  ]);

  it.each(OUTCOMES)(
    "the store %s and onStoreError is %s: answers %j, and one event for the outage and one for its end",
    async (trouble, onStoreError, expected) => {
      const store = new TroubledStore();
      const { server, clock, events } = await bench({ limit: 2, onStoreError, storeTimeoutMs: 40 }, { store });
      expect(await statuses(server, 1)).toEqual([200]);
      store.trouble = trouble;
      const began = performance.now();
      expect(await statuses(server, 4)).toEqual(expected);
      if (trouble === "hangs") await statuses(server, 2);
      expect(performance.now() - began).toBeLessThan(1500);
      // A server that cannot be reached is asked once, one that is late five times in a row; one that answers nonsense answers.
      expect(store.calls - 1).toBe({ none: 0, rejects: 1, throws: 1, hangs: 5, garbage: 4 }[trouble]);
      store.trouble = "none";
      clock.advance(1000);
      // One of the two slots in the store itself was taken before the outage.
      expect(await statuses(server, 2)).toEqual([200, 429]);
      const kinds = events.map(({ event }) => event).filter((event) => /^portcullis_store_(?:un|rec)/.test(event));
      expect(kinds).toEqual(["portcullis_store_unavailable", "portcullis_store_recovered"]);
      store.close();
    },
  );

  it("a refusal is problem+json with 503, and does not mention the store", async () => {
    const store = new TroubledStore();
    store.trouble = "rejects";
    const { server, reached } = await bench({ onStoreError: "deny" }, { store });
    const answer = await server.send("/");
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ code: "store-unavailable" });
    expect(answer.text).not.toContain("connection lost");
    expect(reached()).toBe(0);
    store.close();
  });

  it("report mode refuses no request", async () => {
    const store = new TroubledStore();
    store.trouble = "throws";
    const { server } = await bench({ onStoreError: "deny", mode: "report" }, { store });
    expect(await statuses(server, 2)).toEqual([200, 200]);
    store.close();
  });

  it("one outage is reported once, however many limits count in the store", async () => {
    const store = new TroubledStore();
    store.trouble = "rejects";
    const { server, events } = await bench({ perPrincipal: { limit: 5 } }, { store });
    expect(await statuses(server, 3, { "x-test-principal": "ann" })).toEqual([200, 200, 200]);
    expect(events.map(({ event }) => event)).toEqual(["portcullis_store_unavailable"]);
    store.close();
  });

  it("an error that the app throws later is not taken for a store failure", async () => {
    const store = new TroubledStore();
    const { server, events } = await bench(
      {},
      {
        store,
        routes: (app) => {
          app.get("/throws", () => {
            throw new Error("the app's own");
          });
          app.use(((_error, _req, res, _next) => void res.status(500).send("handled")) satisfies ErrorRequestHandler);
        },
      },
    );
    expect((await server.send("/throws")).text).toBe("handled");
    expect(events).toEqual([]);
    store.close();
  });

  it("the limiter accepts a store of express-rate-limit: its real MemoryStore", async () => {
    const store = new MemoryStore();
    const { server } = await bench({ limit: 2, windowSeconds: 600, store });
    const first = await server.send("/");
    expect(first.headers["ratelimit-policy"]).toBe('"default";q=2;w=600');
    expect(first.headers.ratelimit).toMatch(/^"default";r=1;t=\d+$/);
    expect(await statuses(server, 2)).toEqual([200, 429]);
    expect(await store.get("127.0.0.1")).toMatchObject({ totalHits: 3 });
    expect(Number((await server.send("/")).headers["retry-after"])).toBeGreaterThan(0);
    store.shutdown();
  });

  it("the limiter counts a cost of n as n increments in such a store, and refuses a cost above the limit without asking it", async () => {
    const store = new MemoryStore();
    let cost = 2;
    const { server } = await bench({ limit: 5, store, cost: () => cost });
    expect(await statuses(server, 3)).toEqual([200, 200, 429]);
    expect(await store.get("127.0.0.1")).toMatchObject({ totalHits: 6 });
    cost = 1_000_000_000;
    expect(await statuses(server, 1)).toEqual([429]);
    expect(await store.get("127.0.0.1")).toMatchObject({ totalHits: 6 });
    store.shutdown();
  });

  it("such a store that cannot start, or gives invalid answers, has failed", async () => {
    const broken: Store = {
      init: () => Promise.reject(new Error("no connection")),
      increment: () => ({ totalHits: 1, resetTime: undefined }),
      decrement: () => undefined,
      resetKey: () => undefined,
    };
    const { server } = await bench({ onStoreError: "deny", store: broken });
    expect(await statuses(server, 1)).toEqual([503]);
    const layer = createRateLimit(parse(rateLimitSchema, { store: broken }), createRuntime(), {
      store: new SlidingWindowStore(),
    });
    await expect(layer?.ready?.()).rejects.toThrow("no connection");

    const silly: Store = {
      increment: () => ({ totalHits: NaN, resetTime: undefined }),
      decrement: () => undefined,
      resetKey: () => undefined,
    };
    expect(await statuses((await bench({ onStoreError: "deny", store: silly })).server, 1)).toEqual([503]);
    const timeless: Store = {
      increment: () => ({ totalHits: 7, resetTime: undefined }),
      decrement: () => undefined,
      resetKey: () => undefined,
    };
    const refused = await (await bench({ limit: 6, store: timeless })).server.send("/");
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "60"]);
  });

  it("the factory accepts a store too", async () => {
    const store = new SlidingWindowStore();
    const app = express();
    app.use("/a", rateLimiter({ limit: 2, store }));
    app.use("/b", rateLimiter({ limit: 2, store }));
    app.use((_req, res) => void res.send("ok"));
    const server = await serve(app);
    servers.push(server);
    expect([...(await statuses(server, 1, {}, "/a")), ...(await statuses(server, 2, {}, "/b"))]).toEqual([
      200, 200, 429,
    ]);
    store.close();
  });
});
