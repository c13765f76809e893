/** The scope an API key needs to manage keys: a key can create keys only if it was issued for that. */
export const MANAGE_SCOPE = "api-keys:manage";

/** True when `granted` includes `wanted`: the same scope, or a prefix ending in `:*`. */
export function scopeCovers(granted: string, wanted: string): boolean {
  if (granted === wanted) return true;
  return granted.endsWith(":*") && wanted.length > granted.length - 1 && wanted.startsWith(granted.slice(0, -1));
}

/** The scopes of `wanted` that nothing in `granted` covers, in their order. */
export function missingScopes(granted: readonly string[], wanted: readonly string[]): string[] {
  return wanted.filter((scope) => !granted.some((grant) => scopeCovers(grant, scope)));
}
