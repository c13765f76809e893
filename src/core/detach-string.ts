const LATIN1 = /^[\x00-\xff]*$/;

/**
 * Copies the characters. A string cut out of a header is, inside V8, a view that keeps the whole header (up to 16
 * KiB) in memory. A store of such views would let one client cost a thousand times its share.
 */
export function detachString(text: string): string {
  // V8 creates views only for strings of 13 characters and more.
  if (text.length < 13) return text;
  const encoding = LATIN1.test(text) ? "latin1" : "utf16le";
  return Buffer.from(text, encoding).toString(encoding);
}
