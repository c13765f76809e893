import type { ExpressSessionStore } from "./express-session.js";
import type { Clock } from "../core/clock.js";
import { OWN_LIMITS } from "../core/rate-limits.js";
import type { Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { openNamed, readyNamed, variableOf } from "../settings/variables.js";
import { defaultBackend, registerBackend, type Backend } from "./health/backend.js";
import { ChangeFeed } from "./revocations/change-feed.js";
import type {
  ApiKeyStore,
  CredentialStore,
  RateLimitStore,
  SingleUseStore,
  TokenStore,
  WindowPolicy,
} from "./contracts.js";
import { openDatabase, type DatabaseStores } from "./database/open-database.js";
import { SlidingWindowStore } from "./memory/sliding-window/store.js";
import { MemoryTokenStore } from "./memory/token-store.js";
// These modules do not load a Redis package. It is loaded when a connection is made from a URL, or a store is created.
import { RedisChangeSource } from "./redis/changes/source.js";
import { openRedis } from "./redis/client.js";
import type { RedisConnection } from "./redis/connection.js";
import { RedisSessionStore } from "./redis/sessions/store.js";
import { RedisSingleUseStore } from "./redis/single-use/store.js";
import { RedisSlidingWindowStore } from "./redis/sliding-window/store.js";
import { ReplicatedTokenStore } from "./revocations/replicated-token-store.js";

/** Where to store data, and which data there is. */
export interface StoreSettings {
  readonly redis?: Secret | object | undefined;
  readonly redisPrefix?: string | undefined;
  readonly database?: Secret | object | undefined;
  /** Time limit of one statement, in milliseconds; at most what the layers wait for the database. */
  readonly databaseTimeoutMs?: number | undefined;
  /** How long publishing a revocation may take, in milliseconds: the longest time that a layer waits for a store. */
  readonly publishTimeoutMs?: number | undefined;
  /** The app's own limit store; the app closes it. */
  readonly limits?: RateLimitStore | undefined;
  /** Most clients that the in-process limiter tracks. */
  readonly maxClients?: number | undefined;
  /** Whether sessions are on and have no store of their own. */
  readonly sessions?: boolean;
  /** Whether sessions, API keys or tokens are on. */
  readonly credentials?: boolean;
}

/** Where each kind of data is, as `describe()` shows it: "memory", "redis", or the engine of the database. */
export interface StorePlaces {
  readonly limits: string;
  readonly sessions: string;
  readonly apiKeys: string;
  readonly refreshTokens: string;
  readonly revocations: string;
}

/** All stores for data that outlives a request. */
export interface Stores {
  readonly limits: RateLimitStore;
  /** `undefined`: the session layer keeps them in memory. */
  readonly sessions: ExpressSessionStore | undefined;
  /** `undefined`: the service keeps them in memory. */
  readonly apiKeys: ApiKeyStore | undefined;
  /** `undefined`: the manager keeps them in memory. */
  readonly tokens: TokenStore | undefined;
  /** Propagates revocations between processes; `undefined` when they share no backend. */
  readonly changes: ChangeFeed | undefined;
  /** Opens the stores of accounts: in the database, on Redis what soon ends, otherwise in memory. */
  accounts(): AccountStores;
  /** As far as known: the engine of a Kysely instance is known once it has been used. */
  places(): StorePlaces;
  /** The database: engine, location, driver; without credentials. `undefined` when there is none. */
  describe(): Record<string, unknown> | undefined;
  ready(): Promise<void>;
  close(): Promise<void>;
}

/** The stores of accounts, and where each is. */
export interface AccountStores {
  /** `undefined`: the module keeps them in memory. */
  readonly credentials: CredentialStore | undefined;
  /** `undefined`: the module keeps them in memory. */
  readonly singleUse: SingleUseStore | undefined;
  /** As far as known: "memory", "redis", or the engine of the database. */
  places(): { readonly credentials: string; readonly singleUse: string };
}

/** Requests under this policy belong to no client: they only check that a limit store accepts writes. */
const WRITE_CHECK: WindowPolicy = Object.freeze({ name: OWN_LIMITS.writeCheck, limit: 1000, windowMs: 1000 });

/**
 * Opens the stores. Limits, sessions and revocations are on Redis when it is configured; otherwise limits and sessions
 * are in memory. API keys and refresh tokens are in the database when one is configured, otherwise in memory. Without
 * Redis, revocations are propagated through the database.
 *
 * @throws SettingsError when `redis` or `database` cannot be used
 */
export function openStores(settings: StoreSettings, runtime: Runtime): Stores {
  const { clock } = runtime;
  const { redisPrefix: prefix = "portcullis:" } = settings;
  const redisVariable = variableOf("REDIS_URL", settings.redis);
  const databaseVariable = variableOf("DATABASE_URL", settings.database);
  const { redis: redisSetting, database: databaseSetting } = settings;
  const redis = redisSetting && openNamed(redisVariable, () => openRedis(redisSetting));
  const database =
    databaseSetting &&
    openNamed(databaseVariable, () =>
      openDatabase(databaseSetting, runtime, { timeoutMs: settings.databaseTimeoutMs }),
    );
  const limits = settings.limits ?? openLimits(redis, prefix, clock, settings.maxClients);
  const sessions =
    redis === undefined || settings.sessions !== true
      ? undefined
      : new RedisSessionStore({ client: redis, prefix, clock });
  const changes =
    settings.credentials === true ? openFeed(redis, database, prefix, runtime, settings.publishTimeoutMs) : undefined;
  const apiKeys = database?.apiKeys;
  const tokens =
    changes === undefined
      ? database?.tokens
      : new ReplicatedTokenStore(database?.tokens ?? new MemoryTokenStore({ clock }), changes, database !== undefined);
  const redisServer: Backend | undefined = redis && {
    name: "redis",
    variable: redisVariable,
    isCluster: () => redis.isCluster,
    probeWrite: () => redis.command("SET", `${prefix}write-check`, "1", "PX", "1000"),
  };
  // Publishes a change of a key that does not exist.
  const databaseServer: Backend | undefined = database && {
    name: "database",
    variable: databaseVariable,
    probeWrite: () => database.changes.record([{ kind: "api-key", name: "" }]),
  };
  if (settings.limits === undefined) registerBackend(redisServer, [limits]);
  else defaultBackend(limits, { name: "rate-limit", probeWrite: () => limits.consume(WRITE_CHECK, "", 1) });
  registerBackend(redisServer, [sessions]);
  registerBackend(databaseServer, [apiKeys, tokens]);
  const revocations = redisServer ?? databaseServer;
  registerBackend(revocations, [changes]);
  registerBackend(revocations, [tokens], "revocation");
  const engine = (): string => {
    if (database === undefined) return "memory";
    const { engine: name } = database.describe();
    return typeof name === "string" ? name : "database";
  };
  return {
    limits,
    sessions,
    apiKeys,
    tokens,
    changes,
    accounts: () => {
      const singleUse =
        redis === undefined ? database?.singleUse : new RedisSingleUseStore({ client: redis, prefix, clock });
      registerBackend(databaseServer, [database?.credentials]);
      registerBackend(redisServer ?? databaseServer, [singleUse]);
      const places = () => ({ credentials: engine(), singleUse: redis === undefined ? engine() : "redis" });
      return { credentials: database?.credentials, singleUse, places };
    },
    places: () => ({
      limits: redis === undefined ? "memory" : "redis",
      sessions: redis === undefined ? "memory" : "redis",
      apiKeys: engine(),
      refreshTokens: engine(),
      revocations: redis === undefined ? engine() : "redis",
    }),
    describe: () => database?.describe(),
    ready: async () => {
      await Promise.all([
        readyNamed(redisVariable, async () => redis?.ready()),
        readyNamed(databaseVariable, async () => database?.ready()),
      ]);
      await sessions?.ready();
      await changes?.start();
    },
    close: async () => {
      // Each one is closed even when closing another fails.
      const ends = [
        () => changes?.close(),
        () => sessions?.close(),
        () => (settings.limits === undefined ? limits.close() : undefined),
        () => redis?.close(),
        () => database?.close(),
      ];
      for (const end of ends) await end();
    },
  };
}

function openLimits(
  redis: RedisConnection | undefined,
  prefix: string,
  clock: Clock,
  maxClients: number | undefined,
): RateLimitStore {
  if (redis !== undefined) return new RedisSlidingWindowStore({ redis, prefix: `${prefix}limit:` });
  return new SlidingWindowStore({ clock, ...(maxClients === undefined ? {} : { maxClients }) });
}

function openFeed(
  redis: RedisConnection | undefined,
  database: DatabaseStores | undefined,
  prefix: string,
  runtime: Runtime,
  writeMs: number | undefined,
): ChangeFeed | undefined {
  const source =
    redis === undefined ? database?.changes : new RedisChangeSource(redis, { prefix, clock: runtime.clock });
  return source === undefined ? undefined : new ChangeFeed(source, runtime, { writeMs });
}
