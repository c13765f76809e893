/**
 * Freezes lists and plain objects at every depth. Instances (clients, keys) are not frozen. The value must not
 * contain cycles; JSON, for example, has none.
 *
 * @param except name of a member that is not frozen at any depth
 */
export function deepFreeze<T>(value: T, except?: string): T {
  if (typeof value !== "object" || value === null || !isPlain(value)) return value;
  for (const [name, inner] of Object.entries(value)) if (name !== except) deepFreeze(inner, except);
  return Object.freeze(value);
}

function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
