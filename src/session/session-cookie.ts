import { createHash, createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import session from "express-session";
import { LRUCache } from "lru-cache";
import { CacheKey } from "../core/cache-key.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import { detachString } from "../core/detach-string.js";
import { cookieNameOnWire } from "./decide.js";
import type { ResolvedSessionSettings } from "./settings.js";

/** Where the id stands in a signed value, behind `s%3A`. */
const ID_AT = 4;
const ID_LENGTH = 32;
/** Cookies whose signature need not be computed again; about 200 bytes each. */
const REMEMBERED = 10_000;

/** A session as its cookie names it, and as everybody else may. */
export interface SessionName {
  readonly sid: string;
  readonly handle: string;
}

/** Everything about the cookie that does not change from one response to the next. */
export class SessionCookie {
  /** The name as browsers send it. */
  readonly name: string;
  readonly secure: boolean;
  readonly #options: ResolvedSessionSettings;
  readonly #keys: readonly [KeyObject, ...KeyObject[]];
  readonly #attributes: string;
  /** Cookies verified lately, by their cache key, and the handles of their sessions. */
  readonly #handles = new LRUCache<string, string>({ max: REMEMBERED });
  readonly #cacheKey = new CacheKey();

  /** @param keys all verify, the first one signs */
  constructor(options: ResolvedSessionSettings, debug: boolean, keys: readonly [KeyObject, ...KeyObject[]]) {
    this.name = cookieNameOnWire(options.cookieName, { debug, domain: options.domain });
    this.secure = !debug;
    this.#options = options;
    this.#keys = keys;
    const domain = options.domain === undefined ? "" : `; Domain=${options.domain}`;
    const sameSite = `${options.sameSite[0]?.toUpperCase()}${options.sameSite.slice(1)}`;
    this.#attributes = `; Path=/${domain}; HttpOnly${debug ? "" : "; Secure"}; SameSite=${sameSite}`;
  }

  /** Whose cookie it is, from a value of the spelling that `readSessionCookie` takes; `undefined` when none of the keys signed it. */
  read(value: string): SessionName | undefined {
    // Stores keep it, and the value is a part of the header.
    const sid = detachString(value.slice(ID_AT, ID_AT + ID_LENGTH));
    const cacheKey = this.#cacheKey.digest(value);
    let handle = this.#handles.get(cacheKey);
    if (handle === undefined) {
      if (!isSignedBy(sid, decodeURIComponent(value.slice(ID_AT + ID_LENGTH + 1)), this.#keys)) return undefined;
      handle = sessionHandle(sid);
      this.#handles.set(cacheKey, handle);
    }
    return { sid, handle };
  }

  /**
   * Gives the session's id to the browser. Secure is always written, also when a proxy hides https from Node:
   * express-session drops the cookie then without a word (expressjs/session#281, #628).
   *
   * @param lifeSeconds how long the browser keeps it
   */
  set(headers: HeaderBuffer, sid: string, lifeSeconds: number): void {
    headers.setCookie(
      this.name,
      `${this.name}=${encodeURIComponent(`s:${sid}.${signatureOf(sid, this.#keys[0])}`)}; Max-Age=${lifeSeconds}${this.#attributes}`,
      true,
    );
  }

  /** Takes the cookie back (expressjs/session#241: nobody else does). */
  clear(headers: HeaderBuffer): void {
    headers.setCookie(
      this.name,
      `${this.name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${this.#attributes}`,
      false,
    );
  }

  /** Takes a cookie of another name back, from where it was set. What cannot stand in a header is left out. */
  takeOther(headers: HeaderBuffer, name: string, path: string, domain: string | undefined): void {
    const at = /^\/[\x21-\x3a\x3c-\x7e]*$/.test(path) ? path : "/";
    const shared = domain !== undefined && /^[A-Za-z0-9.-]{1,255}$/.test(domain) ? `; Domain=${domain}` : "";
    headers.setCookie(
      name,
      `${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=${at}${shared}; HttpOnly${this.secure ? "; Secure" : ""}`,
      false,
    );
  }

  /** The cookie as stores read it, which take a session's end from it. */
  forStore(expiresAt: number): session.Cookie {
    const cookie = new session.Cookie();
    cookie.secure = this.secure;
    cookie.httpOnly = true;
    cookie.path = "/";
    cookie.sameSite = this.#options.sameSite;
    if (this.#options.domain !== undefined) cookie.domain = this.#options.domain;
    cookie.expires = new Date(expiresAt);
    cookie.originalMaxAge = this.#options.maxAge * 1000;
    return cookie;
  }
}

/** As cookie-signature signs for express-session. With `session.secret` as the key, each reads the cookies of the other. */
function signatureOf(sid: string, key: KeyObject): string {
  return createHmac("sha256", key).update(sid).digest("base64").replace(/=+$/, "");
}

/** Whether one of the keys made that signature. */
export function isSignedBy(sid: string, signature: string, keys: readonly KeyObject[]): boolean {
  const given = Buffer.from(signature);
  return keys.some((key) => {
    const own = Buffer.from(signatureOf(sid, key));
    return own.length === given.length && timingSafeEqual(own, given);
  });
}

/** Names a session without giving its id away: 132 bits of SHA-256 of an id that itself holds 192 random bits. */
export function sessionHandle(sid: string): string {
  return createHash("sha256").update("portcullis/session\0").update(sid).digest("base64url").slice(0, 22);
}
