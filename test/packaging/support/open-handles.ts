/**
 * What Jest reports as open (`--detectOpenHandles`). It leaves out requests to node:crypto, but not this kind: hkdfSync has ended when
 * it returns, and counts as open until it is collected.
 *
 * @param output without colours
 */
export function openHandles(output: string): string[] {
  const kinds = [...output.matchAll(/^ {2}● {2}(.+)$/gm)].map(([, kind = ""]) => kind);
  return kinds.filter((kind) => kind !== "DERIVEBITSREQUEST");
}
