import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import { isWindowStore } from "./rate-limit/store-choice.js";
import type { StoreSettings } from "./stores/open.js";

/** The part of the settings that says which stores to open. */
export function storeSettings({
  redis,
  redisPrefix,
  database,
  rateLimit,
  session,
  apiKeys,
  jwt,
}: ResolvedSecuritySettings): StoreSettings {
  return {
    redis,
    redisPrefix,
    database,
    databaseTimeoutMs: shortest(timeoutOf(apiKeys), timeoutOf(jwt)),
    publishTimeoutMs: Math.max(timeoutOf(apiKeys) ?? 0, timeoutOf(jwt) ?? 0, timeoutOf(session) ?? 0) || undefined,
    // A store of express-rate-limit counts for the main limit only.
    limits: rateLimit && rateLimit.store !== undefined && isWindowStore(rateLimit.store) ? rateLimit.store : undefined,
    maxClients: rateLimit ? rateLimit.maxClients : undefined,
    sessions: session !== false && session.store === undefined,
    credentials: session !== false || apiKeys !== false || jwt !== false,
  };
}

function timeoutOf(layer: { readonly storeTimeoutMs: number } | false): number | undefined {
  return layer === false ? undefined : layer.storeTimeoutMs;
}

function shortest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
