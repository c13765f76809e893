/**
 * Parses a URL. Not by `URL.canParse`: on Node 20 it returns false for a Latin-1 character such as `ü` once V8 has
 * optimised the call.
 *
 * @returns `undefined` when the text is not a URL. The parser's own error repeats the text, so it is dropped
 */
export function parseUrl(text: string, base?: string): URL | undefined {
  try {
    return new URL(text, base);
  } catch {
    return undefined;
  }
}
