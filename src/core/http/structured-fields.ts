/**
 * Serialises Structured Field Values (RFC 9651) as far as this library sends them: strings, integers, tokens,
 * booleans and byte sequences, with parameters, in inner lists and dictionaries. Strict: one invalid member would
 * void the whole field for the receiver, so a value that cannot be serialised throws a `RangeError`.
 */

/** A bare item that one of the functions below has serialised; only its type distinguishes it from other text. */
export type SfText = string;

/** Parameters: key and serialised bare item; `true` is written as the key alone (section 4.1.1.2). */
export type SfParameters = readonly (readonly [key: string, value: SfText | true])[];

/** RFC 9651 section 3.3.1: fifteen decimal digits, so that every receiver can hold it in a double. */
export const SF_MAX_INTEGER = 999_999_999_999_999;

const KEY = /^[a-z*][a-z0-9_.*-]*$/;
const TOKEN = /^[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*$/;
const STRING = /^[\x20-\x7e]*$/;

/** True when `text` can be a key of a dictionary or of parameters (section 3.1.2: lower case). */
export function isSfKey(text: string): boolean {
  return KEY.test(text);
}

/** True when `text` can be sent as a token (section 3.3.4). */
export function isSfToken(text: string): boolean {
  return TOKEN.test(text);
}

/**
 * A key, checked (section 4.1.1.3).
 *
 * @throws RangeError when it is not lower-case letters, digits, `_`, `-`, `.`, `*` beginning with a letter or `*`
 */
export function sfKey(text: string): SfText {
  if (!KEY.test(text)) throw new RangeError("Not a structured field key (RFC 9651 section 3.1.2).");
  return text;
}

/**
 * A token, checked (section 4.1.7).
 *
 * @throws RangeError when it is not a token
 */
export function sfToken(text: string): SfText {
  if (!TOKEN.test(text)) throw new RangeError("Not a structured field token (RFC 9651 section 3.3.4).");
  return text;
}

/**
 * A string in double quotes (section 4.1.6).
 *
 * @throws RangeError when `text` contains anything but printable ASCII
 */
export function sfString(text: string): SfText {
  if (!STRING.test(text))
    throw new RangeError("Not a structured field string: printable ASCII only (RFC 9651 section 3.3.3).");
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/**
 * An integer (section 4.1.4).
 *
 * @throws RangeError when it is not a whole number of at most fifteen digits
 */
export function sfInteger(value: number): SfText {
  if (!Number.isInteger(value) || Math.abs(value) > SF_MAX_INTEGER) {
    throw new RangeError(
      "Not a structured field integer: a whole number of at most 15 digits (RFC 9651 section 3.3.1).",
    );
  }
  // `-0` is written 0, as String() does.
  return String(value);
}

/** A boolean (section 4.1.9). */
export function sfBoolean(value: boolean): SfText {
  return value ? "?1" : "?0";
}

/** A byte sequence: base64 between colons (section 4.1.8). */
export function sfBytes(bytes: Uint8Array): SfText {
  return `:${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")}:`;
}

/**
 * Parameters, each as `;key=value` (section 4.1.1.2).
 *
 * @throws RangeError on an invalid key, or a duplicate one
 */
export function sfParameters(parameters: SfParameters): SfText {
  let text = "";
  const seen = new Set<string>();
  for (const [key, value] of parameters) {
    if (seen.has(key)) throw new RangeError("A structured field parameter occurs twice.");
    seen.add(key);
    text += value === true ? `;${sfKey(key)}` : `;${sfKey(key)}=${value}`;
  }
  return text;
}

/** An item: a bare item and its parameters (section 4.1.3). */
export function sfItem(bareItem: SfText, parameters: SfParameters = []): SfText {
  return bareItem + sfParameters(parameters);
}

/** An inner list of serialised items, in parentheses (section 4.1.1.1). */
export function sfInnerList(items: readonly SfText[], parameters: SfParameters = []): SfText {
  return `(${items.join(" ")})${sfParameters(parameters)}`;
}

/** A list of serialised items and inner lists (section 4.1.1). Empty text when there are none: send no header then. */
export function sfList(members: readonly SfText[]): SfText {
  return members.join(", ");
}

/**
 * A dictionary of serialised items and inner lists (section 4.1.2); a member `?1` is written as its key alone. Empty
 * text when there are none: send no header then.
 *
 * @throws RangeError on an invalid key, or a duplicate one
 */
export function sfDictionary(members: Iterable<readonly [key: string, value: SfText]>): SfText {
  const written: string[] = [];
  const seen = new Set<string>();
  for (const [key, value] of members) {
    if (seen.has(key)) throw new RangeError("A key of a structured field dictionary occurs twice.");
    seen.add(key);
    if (value === "?1") written.push(sfKey(key));
    else if (value.startsWith("?1;")) written.push(sfKey(key) + value.slice(2));
    else written.push(`${sfKey(key)}=${value}`);
  }
  return written.join(", ");
}
