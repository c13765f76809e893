/**
 * Returns a value that Express treats as an error: for its `next`, a falsy value and the words "route" and "router"
 * mean "go on".
 */
export function errorOf(failure: unknown): object {
  return typeof failure === "object" && failure !== null
    ? failure
    : new Error("A handler failed with a value that is not an Error.", { cause: failure });
}
