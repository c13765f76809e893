/**
 * A path of this origin, with or without a query, as a redirect may name it: printable ASCII, one slash at the
 * beginning, no backslash. Browsers read `//host`, `/\host` and `/<tab>/host` as another host.
 */
const LOCAL_PATH = /^\/(?!\/)[\x21\x22\x24-\x5b\x5d-\x7e]*$/;
const MAX_LENGTH = 2048;

/** Whether a redirect to this text stays on this origin. */
export function isLocalPath(text: unknown): text is string {
  return typeof text === "string" && text.length <= MAX_LENGTH && LOCAL_PATH.test(text);
}

/** Adds the parameter `returnTo` to the path of a log-in page, if `from` is a path of this origin. */
export function withReturnTo(path: string, from: string): string {
  if (!isLocalPath(from)) return path;
  return `${path}${path.includes("?") ? "&" : "?"}returnTo=${encodeURIComponent(from)}`;
}
