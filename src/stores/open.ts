import type { Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import type { ApiKeyStore, RateLimitStore, TokenStore } from "./contracts.js";
import { openDatabase } from "./database.js";
import { MemoryApiKeyStore } from "./memory/api-key-store.js";
import { SlidingWindowStore } from "./memory/sliding-window-store.js";
import { MemoryTokenStore } from "./memory/token-store.js";

/** Where everything that outlives a request is kept. */
export interface Stores {
  readonly limits: RateLimitStore;
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  /** False when keys and tokens are gone after a restart. */
  readonly durable: boolean;
  /** The database: engine, location, driver; without credentials. `undefined` when there is none. */
  describe(): Record<string, unknown> | undefined;
  ready(): Promise<void>;
  close(): Promise<void>;
}

/** Opens the stores: keys and tokens in `database` when one is given, else in memory; limits in memory. */
export function openStores(database: Secret | object | undefined, runtime: Runtime, maxClients: number | undefined): Stores {
  const limits = new SlidingWindowStore({ clock: runtime.clock, ...(maxClients === undefined ? {} : { maxClients }) });
  if (database === undefined) {
    return {
      limits,
      apiKeys: new MemoryApiKeyStore(),
      tokens: new MemoryTokenStore({ clock: runtime.clock }),
      durable: false,
      describe: () => undefined,
      ready: () => Promise.resolve(),
      close: async () => limits.close(),
    };
  }
  const opened = openDatabase(database, runtime);
  return {
    limits,
    apiKeys: opened.apiKeys,
    tokens: opened.tokens,
    durable: true,
    describe: () => opened.describe(),
    ready: () => opened.ready(),
    close: async () => {
      limits.close();
      await opened.close();
    },
  };
}
