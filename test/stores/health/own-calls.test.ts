import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ApiKeyService, JwtManager } from "../../../src/index.js";
import { createRuntime } from "../../../src/core/runtime.js";
import { GuardedSessionStore } from "../../../src/session/guarded-store.js";
import { MemoryApiKeyStore } from "../../../src/stores/memory/api-key-store.js";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { MemoryTokenStore } from "../../../src/stores/memory/token-store.js";

const TIMEOUT_MS = 100;
const never = new Promise<never>(() => undefined);

/** A store that gives no answer to calls with one of these values in their arguments. */
function slowFor<Store extends object>(store: Store, slow: ReadonlySet<unknown>): Store {
  const isSlow = (value: unknown, depth = 0): boolean =>
    slow.has(value) ||
    (depth < 2 &&
      typeof value === "object" &&
      value !== null &&
      Object.values(value).some((one) => isSlow(one, depth + 1)));
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...given: unknown[]): unknown =>
        given.some((one) => isSlow(one)) ? never : (value as (...given: unknown[]) => unknown).apply(target, given);
    },
  });
}

/** Calls of the app's own code, with a name of the one whose data they are about. */
interface Calls {
  readonly slow: Set<unknown>;
  readonly call: (who: "ada" | "bob") => Promise<unknown>;
  readonly slowValue?: unknown;
}

async function apiKeys() {
  const slow = new Set<unknown>();
  const service = new ApiKeyService(
    { hash: "hmac-sha256", secret: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ", storeTimeoutMs: TIMEOUT_MS },
    { store: slowFor(new MemoryApiKeyStore(), slow) },
  );
  const make = async (ownerId: string) => (await service.create({ ownerId, name: "k" })).record.id;
  return { slow, service, ids: { ada: await make("ada"), bob: await make("bob") } };
}

async function tokens() {
  const slow = new Set<unknown>();
  const manager = new JwtManager(
    {
      issuer: "https://a.example",
      audience: "https://b.example",
      secret: "kZ3vQ8sW1xY6bN0mR4tU7pL2cD5fG9hJ",
      storeTimeoutMs: TIMEOUT_MS,
    },
    { store: slowFor(new MemoryTokenStore(), slow) },
  );
  return { slow, manager };
}

function sessions() {
  const slow = new Set<unknown>();
  return {
    slow,
    store: new GuardedSessionStore(slowFor(new MemorySessionStore(), slow), createRuntime(), TIMEOUT_MS),
  };
}

const CALLS: Record<string, () => Promise<Calls>> = {
  "apiKeys.list": async () => {
    const { slow, service } = await apiKeys();
    return { slow, call: (who) => service.list(who) };
  },
  "apiKeys.create": async () => {
    const { slow, service } = await apiKeys();
    return { slow, call: (ownerId) => service.create({ ownerId, name: "k" }) };
  },
  "apiKeys.get": async () => {
    const { slow, service, ids } = await apiKeys();
    return { slow, slowValue: ids.ada, call: (who) => service.get(ids[who]) };
  },
  "apiKeys.rotate": async () => {
    const { slow, service, ids } = await apiKeys();
    return { slow, slowValue: ids.ada, call: (who) => service.rotate(ids[who]) };
  },
  "jwt.issue": async () => {
    const { slow, manager } = await tokens();
    return { slow, call: (who) => manager.issue(who) };
  },
  "jwt.refresh": async () => {
    const { slow, manager } = await tokens();
    const [ada, bob] = [
      (await manager.issue("ada")).refreshToken ?? "",
      (await manager.issue("bob")).refreshToken ?? "",
    ];
    return {
      slow,
      slowValue: ada.slice(3).split(".")[0],
      call: (who) => manager.refresh(who === "ada" ? ada : bob),
    };
  },
  "the end of a session": async () => {
    const { slow, store } = sessions();
    return { slow, call: async (who) => store.destroy(who) };
  },
  "the list of a principal's sessions": async () => {
    const { slow, store } = sessions();
    return { slow, call: async (who) => store.list(who) };
  },
  "a session that the app touches": async () => {
    const { slow, store } = sessions();
    return { slow, call: async (who) => store.touch(who, { cookie: { originalMaxAge: null } }) };
  },
};

describe("while a server is late for one caller", () => {
  it.each(Object.keys(CALLS))("calls about another are made: %s", async (name) => {
    const { slow, call, slowValue = "ada" } = await CALLS[name]!();
    slow.add(slowValue);
    for (const { status } of await Promise.allSettled(Array.from({ length: 5 }, () => call("ada"))))
      expect(status).toBe("rejected");
    // The circuit is open; the next call about the same one is not made.
    const refused = performance.now();
    await expect(call("ada")).rejects.toThrow();
    expect(performance.now() - refused).toBeLessThan(TIMEOUT_MS / 2);
    await sleep(60);
    const waiting = call("ada").catch(() => undefined);
    await sleep(5);
    await call("bob");
    await waiting;
  });
});
