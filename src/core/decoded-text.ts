/**
 * A text after some rounds of decoding: for each character its code and its position in the text as it was sent.
 * Bytes that are not a character on their own keep their value, 0x80 to 0xff. Only the first `length` entries are
 * valid.
 */
export interface DecodedText {
  length: number;
  readonly codes: Uint16Array;
  /** Index of the first sent character that encodes it. */
  readonly starts: Uint16Array;
  /** Index after the last one. */
  readonly ends: Uint16Array;
}

const PERCENT = 0x25;

/**
 * The text before any decoding.
 *
 * @param text at most 65,535 characters
 */
export function undecoded(text: string): DecodedText {
  const sent = room(text.length);
  for (let at = 0; at < text.length; at += 1) put(sent, text.charCodeAt(at), at, at + 1);
  return withoutOverlong(sent);
}

/**
 * One round of decoding: `%41`, the `%u0041` of IIS, and overlong UTF-8, which lenient decoders accept. Linear in the
 * length.
 *
 * @returns `undefined` when there was nothing to decode
 */
export function decodeOnce(text: DecodedText): DecodedText | undefined {
  if (nextEncoded(text, 0) === -1) return undefined;
  const { codes, starts, ends } = text;
  const decoded = room(text.length);
  for (let at = 0; at < text.length;) {
    const digits = escapeDigits(text, at);
    const length = digits === 0 ? 1 : digits === 2 ? 3 : 6;
    const code = digits === 0 ? codes[at] : hexNumber(text, at + length - digits, digits);
    put(decoded, code ?? 0, starts[at] ?? 0, ends[at + length - 1] ?? 0);
    at += length;
  }
  return withoutOverlong(decoded);
}

/** Index of the first character that another round of decoding would change, from `from` on; -1 when there is none. */
export function nextEncoded(text: DecodedText, from: number): number {
  for (let at = from; at < text.length; at += 1) if (escapeDigits(text, at) !== 0) return at;
  return -1;
}

/** How many hexadecimal digits the escape that begins here has: 2, 4, or 0 when there is none. */
function escapeDigits(text: DecodedText, at: number): number {
  if (text.codes[at] !== PERCENT) return 0;
  if (hexNumber(text, at + 1, 2) !== -1) return 2;
  return ((text.codes[at + 1] ?? 0) | 0x20) === 0x75 && hexNumber(text, at + 2, 4) !== -1 ? 4 : 0;
}

/** The value of these digits; -1 when they are not all hexadecimal digits. */
function hexNumber({ codes, length }: DecodedText, from: number, digits: number): number {
  if (from + digits > length) return -1;
  let number = 0;
  for (let at = from; at < from + digits; at += 1) {
    const code = codes[at] ?? 0;
    const letter = code | 0x20;
    if (code >= 0x30 && code <= 0x39) number = number * 16 + code - 0x30;
    else if (letter >= 0x61 && letter <= 0x66) number = number * 16 + letter - 0x57;
    else return -1;
  }
  return number;
}

/** Replaces each overlong UTF-8 sequence by the ASCII character it encodes: `c1 81` is `A`. */
function withoutOverlong(text: DecodedText): DecodedText {
  const { codes, starts, ends } = text;
  const joined = room(text.length);
  for (let at = 0; at < text.length;) {
    const more = followingBytes(codes[at] ?? 0);
    const code = more === 0 ? -1 : overlongAscii(text, at, more);
    const length = code === -1 ? 1 : more + 1;
    put(joined, code === -1 ? (codes[at] ?? 0) : code, starts[at] ?? 0, ends[at + length - 1] ?? 0);
    at += length;
  }
  return joined;
}

/** How many bytes follow this first byte of a UTF-8 sequence. */
function followingBytes(code: number): number {
  if (code < 0xc0 || code > 0xf7) return 0;
  if (code <= 0xdf) return 1;
  return code <= 0xef ? 2 : 3;
}

/** The ASCII character that an overlong sequence encodes; -1 when the sequence is not overlong ASCII or is invalid. */
function overlongAscii({ codes, length }: DecodedText, at: number, more: number): number {
  if (at + more >= length) return -1;
  let code = (codes[at] ?? 0) & (0x3f >> more);
  for (let next = at + 1; next <= at + more; next += 1) {
    const byte = codes[next] ?? 0;
    if (byte < 0x80 || byte > 0xbf) return -1;
    code = code * 64 + (byte & 0x3f);
  }
  return code < 0x80 ? code : -1;
}

function room(length: number): DecodedText {
  return {
    length: 0,
    codes: new Uint16Array(length),
    starts: new Uint16Array(length),
    ends: new Uint16Array(length),
  };
}

function put(text: DecodedText, code: number, start: number, end: number): void {
  text.codes[text.length] = code;
  text.starts[text.length] = start;
  text.ends[text.length] = end;
  text.length += 1;
}
