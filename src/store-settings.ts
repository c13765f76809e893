import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import { isWindowStore } from "./rate-limit/settings.js";
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
    databaseTimeoutMs: shortest(apiKeys ? apiKeys.storeTimeoutMs : undefined, jwt ? jwt.storeTimeoutMs : undefined),
    // A store of express-rate-limit counts for the main limit only.
    limits: rateLimit && rateLimit.store !== undefined && isWindowStore(rateLimit.store) ? rateLimit.store : undefined,
    maxClients: rateLimit ? rateLimit.maxClients : undefined,
    sessions: session !== false && session.store === undefined,
    credentials: session !== false || apiKeys !== false || jwt !== false,
  };
}

function shortest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
