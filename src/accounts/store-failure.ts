/** Whether a store of accounts, of sessions or of tokens did not answer. Each has announced it. */
export function isStoreFailure(error: unknown): boolean {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return code === "PORTCULLIS_STORE_UNAVAILABLE" || code === "store-unavailable";
}
