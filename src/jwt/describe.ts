import type { ResolvedJwtSettings } from "./settings.js";

/** Returns the effective settings without secrets or keys, JSON-serialisable. */
export function describeJwt(options: ResolvedJwtSettings, kids: readonly string[]): Record<string, unknown> {
  const {
    algorithm,
    issuer,
    audience,
    accessTokenMinutes,
    refreshTokenDays,
    absoluteDays,
    reuseGraceSeconds,
    leewaySeconds,
    cacheSize,
    onStoreError,
    storeTimeoutMs,
    realm,
  } = options;
  const times = { accessTokenMinutes, refreshTokenDays, absoluteDays, reuseGraceSeconds, leewaySeconds, cacheSize };
  return {
    algorithm,
    key: keySource(options),
    kids: [...kids],
    issuer,
    audience: [...audience],
    ...times,
    onStoreError,
    storeTimeoutMs,
    realm,
  };
}

function keySource(options: ResolvedJwtSettings): string {
  if (options.secret !== undefined) return "[secret]";
  if (options.privateKey !== undefined) return "[private key]";
  return options.keys === undefined ? "derived from secretKey" : "[keys]";
}
