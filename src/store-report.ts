import type { LayerId } from "./core/layer-id.js";
import type { ResolvedSecuritySettings } from "./app-settings/schema.js";
import type { StorePlaces } from "./stores/open.js";

const OWN = "its own";

/** Which store each layer uses, for `describe()`. */
export function storesOf(settings: ResolvedSecuritySettings, places: StorePlaces): ReadonlyMap<LayerId, string> {
  const { rateLimit, session, apiKeys, jwt } = settings;
  const stores = new Map<LayerId, string>();
  if (rateLimit) {
    const store = rateLimit.store === undefined ? places.limits : OWN;
    stores.set("rate-limit", store).set("principal-rate-limit", store);
  }
  if (session) stores.set("session", session.store === undefined ? places.sessions : OWN);
  if (apiKeys) stores.set("api-key", apiKeys.store === undefined ? places.apiKeys : OWN);
  if (jwt) {
    const { refreshTokens, revocations } = places;
    const shared = refreshTokens === revocations ? refreshTokens : `${refreshTokens}; revocations: ${revocations}`;
    stores.set("jwt", jwt.store === undefined ? shared : OWN);
  }
  return stores;
}

/** What each layer loses on a restart because it is kept only in this process. */
export function lossesOnRestart(settings: ResolvedSecuritySettings, places: StorePlaces): ReadonlyMap<LayerId, string> {
  const losses = new Map<LayerId, string>();
  // An app with Redis has, or will have, several processes.
  const alone = settings.redis === undefined ? "" : "; other processes cannot see them";
  if (settings.session && settings.session.store === undefined && places.sessions === "memory")
    losses.set("session", "all sessions: users must log in again");
  if (settings.apiKeys && settings.apiKeys.store === undefined && places.apiKeys === "memory")
    losses.set("api-key", `all API keys${alone}`);
  if (settings.jwt && settings.jwt.store === undefined && places.refreshTokens === "memory") {
    losses.set(
      "jwt",
      places.revocations === "memory"
        ? "all refresh tokens and revocations: a revoked access token works again"
        : `all refresh tokens${alone}`,
    );
  }
  return losses;
}

/** Warns once about the losses, except in development. */
export function warnOfLosses(losses: ReadonlyMap<LayerId, string>, debug: boolean): void {
  if (debug || losses.size === 0) return;
  const list = [...losses].map(([id, what]) => `${id} (${what})`).join("; ");
  const needed = [
    ...(losses.has("session") ? ["redis (REDIS_URL)"] : []),
    ...(losses.has("api-key") || losses.has("jwt") ? ["database (DATABASE_URL)"] : []),
  ];
  process.emitWarning(
    `Some data is kept in memory only, and a restart loses it: ${list}. To keep it, set ${needed.join(" and ")}, or a store.`,
    {
      code: "PORTCULLIS_MEMORY",
    },
  );
}
