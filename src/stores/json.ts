/** Any value that JSON can represent. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** Maximum nesting depth of JSON from the app. */
export const MAX_JSON_DEPTH = 8;

/**
 * A frozen copy of a value that consists of JSON values only. A store or a token would return a Date or a Map as a
 * different type. Omits members that are `undefined`.
 *
 * @returns `undefined` when the value is not JSON, is nested deeper than 8 levels, has a `__proto__` key, or contains a
 * lone surrogate
 */
export function copyJson(value: unknown, depth = 0): JsonValue | undefined {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string") return /\p{Surrogate}/u.test(value) ? undefined : value;
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (typeof value !== "object" || depth >= MAX_JSON_DEPTH) return undefined;
  if (Array.isArray(value)) {
    const items: JsonValue[] = [];
    for (const item of value as readonly unknown[]) {
      const copied = copyJson(item, depth + 1);
      if (copied === undefined) return undefined;
      items.push(copied);
    }
    return Object.freeze(items);
  }
  return isPlainObject(value) ? copyObject(value, depth) : undefined;
}

function copyObject(value: Readonly<Record<string, unknown>>, depth: number): JsonValue | undefined {
  const copy: Record<string, JsonValue> = {};
  for (const [name, inner] of Object.entries(value)) {
    if (inner === undefined) continue;
    const copied = name === "__proto__" ? undefined : copyJson(inner, depth + 1);
    if (copied === undefined) return undefined;
    copy[name] = copied;
  }
  return Object.freeze(copy);
}

/** Whether a value is a plain object, not an instance of a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
