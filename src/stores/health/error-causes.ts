/**
 * Whether an error, or one of its causes, meets a condition. Checks at most four levels, so that a cycle of causes
 * ends.
 */
export function someCause(error: unknown, condition: (cause: Error, code: string | undefined) => boolean): boolean {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth += 1) {
    const code = "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
    if (condition(cause, code)) return true;
  }
  return false;
}
