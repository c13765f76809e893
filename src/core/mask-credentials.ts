import { type DecodedText, decodeOnce, nextEncoded, undecoded } from "./decoded-text.js";

/** Replaces a credential in an event. */
export const MASK = "[credential]";

/** A range of a text: its first index, and the index after its last character. */
type Span = readonly [start: number, end: number];
type Find = (text: string) => Iterable<Span>;

/** Kinds of credentials that consist of the same characters. */
interface Forms {
  /**
   * By character code: 1 for the characters of these credentials. Any other encoded byte is ignored, because a reader
   * can strip it.
   */
  readonly characters: Uint8Array;
  /** Finds credentials in a text as it was sent. */
  readonly find: Find[];
  /**
   * Finds credentials in a text that was decoded and stripped. The first two characters may be missing if they are
   * hexadecimal digits: `%2` before `eyJ` makes its `e` a part of an escape.
   */
  readonly findStripped: Find[];
}

const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** API keys and refresh tokens. An encoded dot is stripped: it may be the token's own, or one that breaks it up. */
const KEYS: Forms = {
  characters: charactersOf(`${BASE62}_-`),
  find: [matches(/rt_[\w-]{22}\.[\w-]{43}/g), matches(/mcp_[0-9A-Za-z]{37,}/g)],
  findStripped: [matches(/rt_[\w-]{22}\.?[\w-]{43}/g), matches(/mcp_[0-9A-Za-z]{37,}/g)],
};
const TOKENS: Forms = {
  characters: charactersOf(`${BASE62}_-.`),
  find: [tokensFrom(/eyJ/)],
  findStripped: [tokensFrom(/y\.*J/)],
};
const SESSION_COOKIE = matches(/s:[\w-]{32}\.[0-9A-Za-z+/]{43}/g);
const COOKIES: Forms = {
  characters: charactersOf(`${BASE62}_-.:+/`),
  find: [SESSION_COOKIE],
  findStripped: [SESSION_COOKIE],
};
const ALL: readonly Forms[] = [KEYS, TOKENS, COOKIES];

/** Maximum number of decoding rounds; real requests need no more. */
const MOST_ROUNDS = 3;
/** How much of a path is decoded, in characters: an event shows an eighth of it. */
const MOST_DECODED = 2048;

/** Matches a text that changes when it is decoded, or when its non-printable characters are stripped. */
const READS_OTHERWISE = /[^\x21-\x24\x26-\x7e]/;

/** The prefixes that `KEYS` has expressions for: at first, the default of `apiKeys.prefix`. */
const PREFIXES = new Set(["mcp_"]);

/**
 * Adds an API key prefix to those that this process masks. A key is masked wherever it appears, also by a protection
 * that does not know the service that created it. A key is `<prefix><id><secret><checksum>`: at least 37 characters
 * of base62 after the prefix.
 *
 * @param prefix letters, digits, `_` and `-`
 */
export function maskKeysWith(prefix: string): void {
  if (PREFIXES.has(prefix)) return;
  PREFIXES.add(prefix);
  KEYS.find.push(matches(new RegExp(`${prefix}[0-9A-Za-z]{37,}`, "g")));
  KEYS.findStripped.push(matches(new RegExp(`${prefix.replace(/^[0-9A-F]{1,2}/i, "")}[0-9A-Za-z]{37,}`, "g")));
}

/**
 * Masks the credentials in a path: API keys, JWTs, refresh tokens and signed session cookies, by their form.
 * Credentials that a reader could reassemble are masked too: percent-encoded in part, up to three times over, or
 * broken up by encoded bytes. Text that is not decoded is masked whole: a segment that is encoded more often and, in
 * a path with encoded bytes, everything from the segment that extends beyond 2048 characters. Linear in the length. A
 * path without credentials is returned unchanged.
 */
export function maskCredentials(path: string): string {
  const spans: Span[] = [];
  for (const { find } of ALL) for (const spansIn of find) spans.push(...spansIn(path));
  if (READS_OTHERWISE.test(path)) addHidden(path, spans);
  return spans.length === 0 ? path : withMasks(path, spans);
}

/** Adds the spans of credentials that appear only when the path is decoded. */
function addHidden(path: string, spans: Span[]): void {
  const head = path.slice(0, MOST_DECODED);
  if (path.length > head.length) spans.push([head.lastIndexOf("/") + 1, path.length]);
  let text: DecodedText | undefined = undecoded(head);
  for (let round = 0; text !== undefined; round += 1) {
    for (const forms of ALL) addStripped(text, forms, spans);
    if (round === MOST_ROUNDS) return addEncodedSegments(head, text, spans);
    text = decodeOnce(text);
  }
}

function addStripped(text: DecodedText, { characters, findStripped }: Forms, spans: Span[]): void {
  const { codes, starts, ends, length } = text;
  const kept = new Uint16Array(length);
  const stripped = Buffer.allocUnsafe(length);
  let count = 0;
  for (let at = 0; at < length; at += 1) {
    const code = codes[at] ?? 0;
    const isAsSent = (ends[at] ?? 0) - (starts[at] ?? 0) === 1 && code > 0x20 && code < 0x7f;
    if (!isAsSent && characters[code] !== 1) continue;
    kept[count] = at;
    stripped[count] = code;
    count += 1;
  }
  const reading = stripped.toString("latin1", 0, count);
  for (const find of findStripped)
    for (const [first, end] of find(reading)) {
      const span: Span = [starts[kept[first] ?? 0] ?? 0, ends[kept[end - 1] ?? 0] ?? 0];
      // Credentials that were sent unencoded have been found already.
      if (span[1] - span[0] > end - first) spans.push(span);
    }
}

/** Adds the segments of the path in which something is still encoded. */
function addEncodedSegments(path: string, text: DecodedText, spans: Span[]): void {
  let end = 0;
  for (let at = nextEncoded(text, 0); at !== -1; at = nextEncoded(text, at + 1)) {
    const sentAt = text.starts[at] ?? 0;
    if (sentAt < end) continue;
    const slash = path.indexOf("/", sentAt);
    end = slash === -1 ? path.length : slash;
    spans.push([path.lastIndexOf("/", sentAt) + 1, end]);
  }
}

/** Replaces each span with a mask; overlapping spans get one mask. */
function withMasks(text: string, spans: Span[]): string {
  spans.sort(([a], [b]) => a - b);
  let masked = "";
  let end = 0;
  for (const span of spans) {
    if (span[0] >= end) masked += text.slice(end, span[0]) + MASK;
    end = Math.max(end, span[1]);
  }
  return masked + text.slice(end);
}

function charactersOf(text: string): Uint8Array {
  const characters = new Uint8Array(128);
  for (const character of text) characters[character.charCodeAt(0)] = 1;
  return characters;
}

function matches(pattern: RegExp): Find {
  return function* (text) {
    for (const { 0: match, index } of text.matchAll(pattern)) yield [index, index + match.length];
  };
}

/**
 * JWTs: base64url parts joined by dots. The first part begins with `eyJ`, which is `{"`. Several dots may follow each
 * other, because a client may have added some.
 */
function tokensFrom(begin: RegExp): Find {
  return function* (text) {
    if (!begin.test(text)) return;
    // Shorter runs cannot contain three parts.
    for (const { 0: run, index } of text.matchAll(/[\w.-]{7,}/g)) {
      const start = run.search(begin);
      // A later beginning has fewer parts after it than the first one.
      if (start !== -1 && run.slice(start).split(".").filter(Boolean).length >= 3)
        yield [index + start, index + run.length];
    }
  };
}
