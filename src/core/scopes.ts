/** One scope: words of letters, digits, `.`, `_` or `-` joined by colons, the last of which may be `*` (`orders:*`). */
export const SCOPE_PATTERN = /^[A-Za-z0-9._-]{1,64}(?::[A-Za-z0-9._-]{1,64}){0,7}(?::\*)?$/;

/** True when holding `granted` means holding `wanted`: the same scope, or a prefix ending in `:*`. */
export function scopeCovers(granted: string, wanted: string): boolean {
  if (granted === wanted) return true;
  return granted.endsWith(":*") && wanted.length > granted.length - 1 && wanted.startsWith(granted.slice(0, -1));
}

/** The scopes of `wanted` that nothing in `granted` covers, in their order. */
export function missingScopes(granted: readonly string[], wanted: readonly string[]): string[] {
  return wanted.filter((scope) => !granted.some((grant) => scopeCovers(grant, scope)));
}
