import { validateHeaderName, validateHeaderValue } from "node:http";

/** Header fields that are ready to be sent: one text for the wire, and the same line by line for who asks. Immutable. */
export class HeaderBlock {
  static readonly EMPTY = new HeaderBlock([]);

  /** Name, value, name, value, … */
  readonly lines: readonly string[];
  /** `Name: value` and CRLF, for each line (RFC 9112 section 5). */
  readonly text: string;
  /** The lengths of the names, by `lengthBit`. */
  readonly lengths: number;
  #values: ReadonlyMap<string, string> | undefined;

  /** @throws TypeError when a name or value cannot be sent (`ERR_INVALID_HTTP_TOKEN`, `ERR_INVALID_CHAR`) */
  constructor(lines: readonly string[]) {
    let text = "";
    let lengths = 0;
    for (let at = 0; at < lines.length; at += 2) {
      text += fieldLine(lines[at] as string, lines[at + 1] as string);
      lengths |= lengthBit(lines[at] as string);
    }
    this.lines = Object.freeze([...lines]);
    this.text = text;
    this.lengths = lengths;
  }

  /** Values by name in lower case. */
  get values(): ReadonlyMap<string, string> {
    return (this.#values ??= new Map(this.lines.flatMap((name, at) => (at % 2 === 0 ? [[name.toLowerCase(), this.lines[at + 1] as string] as const] : []))));
  }

  /** The same with other values for some names. */
  with(values: ReadonlyMap<string, string>): HeaderBlock {
    return new HeaderBlock(this.lines.map((text, at) => (at % 2 === 1 ? (values.get(this.lines[at - 1] as string) ?? text) : text)));
  }
}

/** One line as it is sent. @throws TypeError as Node's `setHeader` does: nothing may end the line early (RFC 9110 section 5.5) */
export function fieldLine(name: string, value: string): string {
  validateHeaderName(name);
  validateHeaderValue(name, value);
  return `${name}: ${value}\r\n`;
}

/**
 * A bit for the length of a name. Names of other lengths are other names: most that an app reads or sets are told from ours by
 * that alone, before anything is compared.
 */
export function lengthBit(name: string): number {
  return 1 << (name.length & 31);
}
