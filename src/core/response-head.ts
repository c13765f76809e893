import type { Response } from "express";
import { HeaderBlock, lengthBit } from "./header-block.js";

/** What the layers need of a response to put headers on it. */
export interface HeaderTarget {
  getHeader(name: string): number | string | string[] | undefined;
  /** @param line the same made at start by `fieldLine`, for who keeps lines */
  setHeader(name: string, value: string, line?: string): unknown;
}

/** What must not stand in a value: RFC 9110 section 5.5, and no byte that readers may take for something else. */
const UNSENDABLE = /[^\t\x20-\x7e]/;

/**
 * The headers that the layers give a response. Put on it one by one they would cost more than all the checks together, so they
 * stay here and go out with its first line as one text (`head-on-response.ts`). The app finds them on the response all the
 * same: what it reads is read here, what it changes is moved over there first.
 */
export class ResponseHead implements HeaderTarget {
  /** What the layer that began the block keeps of this response. */
  memo: object | undefined;
  #open = true;
  #block = HeaderBlock.EMPTY;
  #introduce: ((res: Response) => void) | undefined;
  /** Lines of this one response: name, value, text, name, value, text, … */
  #lines: string[] = [];
  #lengths = 0;

  /** Whether the request is still on its way through the layers: later ones put headers on the response, as the app does. */
  get isOpen(): boolean {
    return this.#open;
  }

  /**
   * The block that was ready at start.
   *
   * @param introduce what is to be done for a response that goes on to the app, and not for one refused before
   */
  begin(block: HeaderBlock, introduce: (res: Response) => void): void {
    this.#block = block;
    this.#introduce = introduce;
  }

  /** The request leaves the layers. */
  close(res: Response): void {
    this.#open = false;
    this.#introduce?.(res);
  }

  /** Another block in place of this one. False when the app has touched one of its headers: then all are on the response. */
  exchange(before: HeaderBlock, after: HeaderBlock): boolean {
    if (this.#block !== before) return false;
    this.#block = after;
    return true;
  }

  /** By the very name it was set with: for layers. */
  getHeader(name: string): string | undefined {
    const lines = this.#lines;
    for (let at = 0; at < lines.length; at += 3) if (lines[at] === name) return lines[at + 1];
    return undefined;
  }

  /**
   * @param name as layers write it, all of them constants
   * @param text the line, when it was made at start: for a value that is always the same
   * @throws TypeError for a value that cannot be sent
   */
  setHeader(name: string, value: string, text = checkedLine(name, value)): void {
    const lines = this.#lines;
    for (let at = 0; at < lines.length; at += 3) {
      if (lines[at] !== name) continue;
      lines[at + 1] = value;
      lines[at + 2] = text;
      return;
    }
    lines.push(name, value, text);
    this.#lengths |= lengthBit(name);
  }

  /** By any spelling of the name: for the response. */
  find(name: string): string | undefined {
    if (((this.#lengths | this.#block.lengths) & lengthBit(name)) === 0) return undefined;
    const lower = name.toLowerCase();
    const at = this.#lineOf(lower);
    return at === -1 ? this.#block.values.get(lower) : this.#lines[at + 1];
  }

  /** Gives up a header that is about to change; the block is given up as a whole. */
  release(name: string, put: (name: string, value: string) => void): void {
    const lower = name.toLowerCase();
    const at = this.#lineOf(lower);
    if (at !== -1) {
      const [own = "", value = ""] = this.#lines.splice(at, 3);
      put(own, value);
    } else if (this.#block.values.has(lower)) this.#releaseBlock(put);
  }

  /** Gives up everything. */
  releaseAll(put: (name: string, value: string) => void): void {
    this.#releaseBlock(put);
    const lines = this.#lines;
    this.#lines = [];
    for (let at = 0; at < lines.length; at += 3) put(lines[at] as string, lines[at + 1] as string);
  }

  /** Every header that is here, in the order in which it is sent. */
  entries(): [name: string, value: string][] {
    const entries: [string, string][] = [];
    for (let at = 0; at < this.#block.lines.length; at += 2) entries.push([this.#block.lines[at] as string, this.#block.lines[at + 1] as string]);
    for (let at = 0; at < this.#lines.length; at += 3) entries.push([this.#lines[at] as string, this.#lines[at + 1] as string]);
    return entries;
  }

  /** As it is sent. */
  get text(): string {
    let { text } = this.#block;
    for (let at = 2; at < this.#lines.length; at += 3) text += this.#lines[at];
    return text;
  }

  #lineOf(lower: string): number {
    const lines = this.#lines;
    for (let at = 0; at < lines.length; at += 3) {
      const name = lines[at] as string;
      if (name.length === lower.length && name.toLowerCase() === lower) return at;
    }
    return -1;
  }

  #releaseBlock(put: (name: string, value: string) => void): void {
    const { lines } = this.#block;
    this.#block = HeaderBlock.EMPTY;
    for (let at = 0; at < lines.length; at += 2) put(lines[at] as string, lines[at + 1] as string);
  }
}

function checkedLine(name: string, value: string): string {
  if (UNSENDABLE.test(value)) throw new TypeError(`The value of ${name} has a character that no header may have.`);
  return `${name}: ${value}\r\n`;
}
