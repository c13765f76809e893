import fc from "fast-check";
import type { ApiKeyStore, RateLimitStore, SessionStore, TokenStore } from "portcullis";
import { MemoryApiKeyStore } from "../../src/stores/memory/api-key-store.js";
import { MemorySessionStore } from "../../src/stores/memory/session-store.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";

/** How long a guard waits here, in milliseconds. */
export const STORE_TIMEOUT_MS = 100;
/** When a late answer comes, in milliseconds: after the time-out. */
const LATE_MS = STORE_TIMEOUT_MS * 10;

/** By the timers that a test may replace. */
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What is thrown: an error, and what only looks like none. `"route"` and `"router"` mean "go on" to Express when passed to `next`. */
export const thrown = fc.constantFrom<unknown>(
  new Error("the store's own"),
  new TypeError("x"),
  undefined,
  null,
  "route",
  "router",
  0,
  "",
  false,
  { code: "ECONNRESET" },
  Object.assign(new Error("gone"), { code: "ECONNREFUSED", status: 200, statusCode: 200 }),
);

export type Kind = "throws" | "rejects" | "rejects later" | "hangs" | "is late" | "answers then throws";
const KINDS: readonly Kind[] = ["throws", "rejects", "rejects later", "hangs", "is late", "answers then throws"];

export const STORES = ["limits", "sessions", "keys", "tokens"] as const;
export type StoreName = (typeof STORES)[number];

/** Which calls of which stores go wrong, and how; `from` counts the calls since the faults were switched on. */
export const fault = fc.record({
  store: fc.constantFrom(...STORES),
  kind: fc.constantFrom(...KINDS),
  error: thrown,
  from: fc.integer({ min: 1, max: 3 }),
  times: fc.constantFrom(1, 2, Infinity),
});
export type Fault = typeof fault extends fc.Arbitrary<infer T> ? T : never;

/** The real memory stores, each call of which may go wrong instead. Nothing is pretended: what does not fail is done. */
export class FaultyStores {
  readonly limits = this.#around("limits", new SlidingWindowStore(), [
    "consume",
    "consumeAll",
    "peek",
    "reset",
    "close",
  ]) as unknown as RateLimitStore;
  readonly sessions = this.#callbacks(new MemorySessionStore(), [
    "get",
    "set",
    "create",
    "replace",
    "touch",
    "destroy",
  ]);
  readonly keys = this.#around("keys", new MemoryApiKeyStore(), [
    "init",
    "insert",
    "get",
    "list",
    "revoke",
    "rotate",
    "replaceHash",
    "addUsage",
    "close",
  ]) as unknown as ApiKeyStore;
  readonly tokens = this.#around("tokens", new MemoryTokenStore(), [
    "init",
    "insert",
    "get",
    "rotate",
    "revokeFamily",
    "revokeSubject",
    "denyAccessToken",
    "denyFamily",
    "isRevoked",
    "deleteExpired",
    "close",
  ]) as unknown as TokenStore;

  #faults: readonly Fault[] = [];
  readonly #calls = new Map<StoreName, number>();
  /** `store.method` of every call that went wrong. */
  readonly hit: string[] = [];

  /** From now on these calls fail. */
  switchOn(faults: readonly Fault[]): void {
    this.#faults = faults;
    this.#calls.clear();
  }

  switchOff(): void {
    this.#faults = [];
  }

  #next(store: StoreName, method: string): Fault | undefined {
    const call = (this.#calls.get(store) ?? 0) + 1;
    this.#calls.set(store, call);
    const found =
      method === "close"
        ? undefined
        : this.#faults.find((one) => one.store === store && call >= one.from && call < one.from + one.times);
    if (found !== undefined) this.hit.push(`${store}.${method}`);
    return found;
  }

  #around<T extends object>(store: StoreName, real: T, methods: readonly string[]): Record<string, unknown> {
    return Object.fromEntries(
      methods.flatMap((method) => {
        const work = (real as Record<string, unknown>)[method];
        if (typeof work !== "function") return [];
        const faulty = (...args: unknown[]): unknown => {
          const found = this.#next(store, method);
          const answer = (): unknown => work.apply(real, args);
          switch (found?.kind) {
            case undefined:
              return answer();
            case "throws":
              throw found.error;
            case "answers then throws":
              answer();
              throw found.error;
            case "rejects":
              return Promise.reject(found.error);
            case "rejects later":
              return sleep(3).then(() => Promise.reject(found.error as Error));
            case "hangs":
              return new Promise(() => undefined);
            case "is late":
              return sleep(LATE_MS).then(answer);
          }
        };
        return [[method, faulty]];
      }),
    );
  }

  /** express-session's kind of store: the last argument is called back. A store cannot report `undefined` or `null` as an error there. */
  #callbacks(real: MemorySessionStore, methods: readonly string[]): SessionStore {
    const faulty = methods.map((method) => {
      const work = (real as unknown as Record<string, (...args: unknown[]) => void>)[method];
      return [
        method,
        (...args: unknown[]): void => {
          const found = this.#next("sessions", method);
          const done = args.at(-1) as (error: unknown, value?: unknown) => void;
          const error = found?.error ?? new Error("instead of nothing");
          switch (found?.kind) {
            case undefined:
              return work?.apply(real, args);
            case "throws":
              throw found.error;
            case "answers then throws":
              done(error);
              throw found.error;
            case "rejects":
              return done(error);
            case "rejects later":
              return void setTimeout(() => {
                done(error);
                // Some stores call back twice.
                done(null, null);
              }, 3);
            case "hangs":
              return;
            case "is late":
              return void setTimeout(() => work?.apply(real, args), LATE_MS);
          }
        },
      ];
    });
    const index = {
      listByPrincipal: real.listByPrincipal.bind(real),
      idsByPrincipal: real.idsByPrincipal.bind(real),
    };
    return Object.assign(Object.fromEntries(faulty) as unknown as SessionStore, index);
  }
}
