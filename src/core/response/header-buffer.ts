import type { Response } from "express";

/** Header fields: name, value, name, value, … */
export type HeaderLines = readonly string[];

/** The policies that the headers layer has set on one response. */
export interface ResponsePolicies {
  /** Whether a Content-Security-Policy of ours is enforced. */
  readonly isEnforced: boolean;
  /** Removes the policies that name a nonce. */
  removeNonced(): void;
}

/** A cookie that is added to the response when its headers are written. */
interface PendingCookie {
  readonly name: string;
  readonly line: string;
}

/**
 * The headers that the layers add to one response. They are buffered until the request goes on to the app, so that a
 * refusal is sent in one call; after `release`, each header is put on the response at once. All are remembered, to
 * restore them on pages for which `send` removes every header.
 */
export class HeaderBuffer {
  /** Set by the headers layer. */
  policies: ResponsePolicies | undefined;
  /** Whether the function that finishes the headers is in place (`finish-head.ts`). */
  isFinished = false;
  #res: Response | undefined;
  #lines: string[] = [];
  #cookies: PendingCookie[] | undefined;
  #hasCredential = false;
  #onRelease: ((res: Response) => void) | undefined;

  /** @param res if given, headers are put on the response at once */
  constructor(res?: Response) {
    this.#res = res;
  }

  /** Whether the headers are still buffered. */
  get isWaiting(): boolean {
    return this.#res === undefined;
  }

  get lines(): HeaderLines {
    return this.#lines;
  }

  /** The current value of a header; after `release`, the value on the response. */
  get(name: string): string | undefined {
    if (this.#res === undefined) return this.#lines[this.#find(name) + 1];
    const value = this.#res.getHeader(name);
    return Array.isArray(value) ? value.join(", ") : value?.toString();
  }

  /** @param name in the spelling that is sent; all layers use the same spelling of a name */
  set(name: string, value: string): void {
    this.#note(name, value);
    this.#res?.setHeader(name, value);
  }

  /** Adds an item to a list header (RFC 9110 section 5.6.1). */
  append(name: string, item: string): void {
    const before = this.get(name);
    this.set(name, before === undefined ? item : `${before}, ${item}`);
  }

  /** Adds to Vary the names that it does not contain yet. */
  vary(names: string): void {
    if (this.#res === undefined) {
      this.append("Vary", names);
      return;
    }
    this.#res.vary(names);
    this.#note("Vary", String(this.#res.getHeader("Vary")));
  }

  /** Removes a header that a layer has set; a header that other code has set stays. */
  remove(name: string): void {
    const at = this.#find(name);
    if (at < 0) return;
    this.#lines.splice(at, 2);
    this.#res?.removeHeader(name);
  }

  /**
   * Sets many headers at once, none of which has been set here before.
   *
   * @param onRelease is called when the request goes on to the app, but not when it is refused before
   */
  begin(lines: HeaderLines, onRelease: (res: Response) => void): void {
    this.#lines = [...this.#lines, ...lines];
    if (this.#res === undefined) {
      this.#onRelease = onRelease;
      return;
    }
    putOn(this.#res, lines);
    onRelease(this.#res);
  }

  /** Puts the buffered headers on the response when the request goes on to the app. */
  release(res: Response): void {
    if (this.#res !== undefined) return;
    this.#res = res;
    // Middleware in front may have answered meanwhile: a time-out, for example.
    if (!res.headersSent) putOn(res, this.#lines);
    this.#onRelease?.(res);
  }

  /** Restores the headers that were removed from the response. */
  restore(res: Response): void {
    const lines = this.#lines;
    for (let at = 0; at < lines.length; at += 2) {
      if (!res.hasHeader(lines[at] as string)) res.setHeader(lines[at] as string, lines[at + 1] as string);
    }
  }

  /**
   * Stores a cookie until the headers are written. The last line for a name wins.
   *
   * @param isCredential whether the response must not be stored by a cache
   */
  setCookie(name: string, line: string, isCredential: boolean): void {
    this.#cookies = [...(this.#cookies ?? []).filter((other) => other.name !== name), { name, line }];
    this.#hasCredential ||= isCredential;
  }

  /** Returns the pending cookies and removes them from the buffer. */
  takeCookies(): { readonly cookies: readonly PendingCookie[]; readonly hasCredential: boolean } | undefined {
    const cookies = this.#cookies;
    if (cookies === undefined) return undefined;
    const due = { cookies, hasCredential: this.#hasCredential };
    this.#cookies = undefined;
    this.#hasCredential = false;
    return due;
  }

  #note(name: string, value: string): void {
    const at = this.#find(name);
    if (at < 0) this.#lines.push(name, value);
    else this.#lines[at + 1] = value;
  }

  /** The index of the name, or -2. */
  #find(name: string): number {
    const lines = this.#lines;
    for (let at = 0; at < lines.length; at += 2) if (lines[at] === name) return at;
    return -2;
  }
}

function putOn(res: Response, lines: HeaderLines): void {
  for (let at = 0; at < lines.length; at += 2) res.setHeader(lines[at] as string, lines[at + 1] as string);
}
