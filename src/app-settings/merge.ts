/**
 * Settings whose value is an object of the app's own (a client, a store), which is replaced and never merged or copied.
 */
const WHOLE = new Set(["redis", "database", "store"]);

type Tree = Readonly<Record<string, unknown>>;

/**
 * Merges settings. A later value wins, but a protection that is `false` on one side and an object on the other is off: so
 * the environment can switch off what the app configures. Objects are merged key by key, lists are replaced, `undefined` is ignored. The
 * given objects are not changed.
 *
 * A value is read when it is asked for, so that a getter that throws is an issue of that setting.
 */
export function mergeSettings(all: readonly object[]): object {
  const merged = {};
  for (const key of new Set(all.flatMap((settings) => Object.keys(settings)))) {
    Object.defineProperty(merged, key, {
      enumerable: true,
      get: () => all.map((settings) => own(settings as Tree, key)).reduce((before, after) => merge(key, before, after)),
    });
  }
  return merged;
}

function merge(key: string, before: unknown, after: unknown): unknown {
  if (after === undefined) return before;
  if (before === undefined || WHOLE.has(key)) return after;
  if (before === false && isPlain(after)) return false;
  if (!isPlain(before) || !isPlain(after)) return after;
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return Object.fromEntries([...keys].map((inner) => [inner, merge(inner, own(before, inner), own(after, inner))]));
}

function own(tree: Tree, key: string): unknown {
  return Object.hasOwn(tree, key) ? tree[key] : undefined;
}

/** An object as it is written in settings; not a list, nor an instance of a class. */
function isPlain(value: unknown): value is Tree {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
