import type session from "express-session";
import type { Clock } from "../core/clock.js";
import type { Runtime } from "../core/runtime.js";
import type { Secret } from "../core/secret.js";
import { openNamed, readyNamed, variableOf } from "../settings/variables.js";
import { defaultBackend, registerBackend, type Backend } from "./health/backend.js";
import { ChangeFeed } from "./revocations/change-feed.js";
import type { ApiKeyStore, RateLimitStore, TokenStore, WindowPolicy } from "./contracts.js";
import { openDatabase, type DatabaseStores } from "./database/open-database.js";
import { MemoryApiKeyStore } from "./memory/api-key-store.js";
import { SlidingWindowStore } from "./memory/sliding-window/store.js";
import { MemoryTokenStore } from "./memory/token-store.js";
// Neither loads a Redis package: those are loaded when a connection is made from a URL, or a store is made.
import { RedisChangeSource } from "./redis/changes/source.js";
import { openRedis } from "./redis/client.js";
import type { RedisConnection } from "./redis/connection.js";
import { RedisSessionStore } from "./redis/sessions/store.js";
import { RedisSlidingWindowStore } from "./redis/sliding-window/store.js";
import { ReplicatedTokenStore } from "./revocations/replicated-token-store.js";

/** What says where things are kept, and what there is to keep. */
export interface StoreSettings {
  readonly redis?: Secret | object | undefined;
  readonly redisPrefix?: string | undefined;
  readonly database?: Secret | object | undefined;
  /** How long one statement may take, milliseconds; what the layers wait for the database, or less. */
  readonly databaseTimeoutMs?: number | undefined;
  /** Where the app wants limits to be counted; whoever made it closes it. */
  readonly limits?: RateLimitStore | undefined;
  /** Most clients the in-process limiter holds. */
  readonly maxClients?: number | undefined;
  /** Whether sessions are on and have no store of their own. */
  readonly sessions?: boolean;
  /** Whether API keys or tokens are on. */
  readonly credentials?: boolean;
}

/** Where each kind of thing is, as `describe()` shows it: "memory", "redis", or the engine of the database. */
export interface StorePlaces {
  readonly limits: string;
  readonly sessions: string;
  readonly apiKeys: string;
  readonly refreshTokens: string;
  readonly revocations: string;
}

/** Where everything that outlives a request is kept. */
export interface Stores {
  readonly limits: RateLimitStore;
  /** `undefined`: the session layer keeps them in memory. */
  readonly sessions: session.Store | undefined;
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  /** How processes tell each other what was revoked; `undefined` when there is nothing they share. */
  readonly changes: ChangeFeed | undefined;
  /** As far as known: the engine of a Kysely instance is, once it has been used. */
  places(): StorePlaces;
  /** The database: engine, location, driver; without credentials. `undefined` when there is none. */
  describe(): Record<string, unknown> | undefined;
  ready(): Promise<void>;
  close(): Promise<void>;
}

/** Counts in this one say nothing of anybody: they show that a store of limits takes writes. */
const WRITE_CHECK: WindowPolicy = Object.freeze({ name: "write-check", limit: 1000, windowMs: 1000 });

/**
 * Opens the stores: limits, sessions and revocations on Redis when it is given, else limits and sessions in memory; keys and
 * refresh tokens in the database when one is given, else in memory. Revocations are told through Redis, or through the
 * database without it.
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
  const changes = settings.credentials === true ? openFeed(redis, database, prefix, runtime) : undefined;
  const tokens = database?.tokens ?? new MemoryTokenStore({ clock });
  const apiKeys = database?.apiKeys ?? new MemoryApiKeyStore({ clock });
  const shared = changes === undefined ? tokens : new ReplicatedTokenStore(tokens, changes);
  const redisServer: Backend | undefined = redis && {
    name: "redis",
    variable: redisVariable,
    isCluster: () => redis.isCluster,
    probeWrite: () => redis.command("SET", `${prefix}write-check`, "1", "PX", "1000"),
  };
  // A key that nobody has, to be read afresh.
  const databaseServer: Backend | undefined = database && {
    name: "database",
    variable: databaseVariable,
    probeWrite: () => database.changes.record([{ kind: "api-key", name: "" }]),
  };
  if (settings.limits === undefined) registerBackend(redisServer, [limits]);
  else defaultBackend(limits, { name: "rate-limit", probeWrite: () => limits.consume(WRITE_CHECK, "", 1) });
  registerBackend(redisServer, [sessions]);
  registerBackend(databaseServer, [apiKeys, shared]);
  const revocations = redisServer ?? databaseServer;
  registerBackend(revocations, [changes]);
  registerBackend(revocations, [shared], "revocation");
  const engine = (): string => {
    if (database === undefined) return "memory";
    const { engine: name } = database.describe();
    return typeof name === "string" ? name : "database";
  };
  return {
    limits,
    sessions,
    apiKeys,
    tokens: shared,
    changes,
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
      // Each is closed even when another cannot be.
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
): ChangeFeed | undefined {
  const source =
    redis === undefined ? database?.changes : new RedisChangeSource(redis, { prefix, clock: runtime.clock });
  return source === undefined ? undefined : new ChangeFeed(source, runtime);
}
