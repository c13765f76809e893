import { createHash, createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import { expressSession, type SessionCookieData } from "../stores/express-session.js";
import { BoundedCache } from "../core/bounded-cache.js";
import { CacheKey } from "../core/cache-key.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import { detachString } from "../core/detach-string.js";
import { type CookiePlace, cookieNameOnWire } from "./decide.js";
import { placesOfCookie } from "./cookie-places.js";
import type { ResolvedSessionSettings } from "./settings.js";

/** Offset of the id in a signed value, after `s%3A`. */
const ID_AT = 4;
const ID_LENGTH = 32;
/** Number of cookies whose verified signature is cached; about 200 bytes each. */
const REMEMBERED = 10_000;

/** The id of a session, which is secret, and its public handle. */
export interface SessionName {
  readonly sid: string;
  readonly handle: string;
}

/** The characters of all lines that clear cookies: with them, a head still fits into the 4 KB that nginx accepts. */
const MAX_CLEARING = 2500;

const EXPIRED = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

/** The attributes that say where the cookie is sent. */
function placeOf({ secure, domain, path }: CookiePlace): string {
  return `; Path=${path}${domain === undefined ? "" : `; Domain=${domain}`}; HttpOnly${secure ? "; Secure" : ""}`;
}

/** The parts of the cookie that are the same in every response. */
export class SessionCookie {
  /** The name that browsers send. */
  readonly name: string;
  readonly secure: boolean;
  readonly #options: ResolvedSessionSettings;
  readonly #keys: readonly [KeyObject, ...KeyObject[]];
  readonly #attributes: string;
  /** Recently verified cookies, by their cache key, with the handles of their sessions. */
  readonly #handles = new BoundedCache<string>({ max: REMEMBERED });
  readonly #cacheKey = new CacheKey();

  /** @param keys all verify, the first one signs */
  constructor(options: ResolvedSessionSettings, secure: boolean, keys: readonly [KeyObject, ...KeyObject[]]) {
    const { cookieName, domain, path } = options;
    this.name = cookieNameOnWire(cookieName, { secure, domain, path });
    this.secure = secure;
    this.#options = options;
    this.#keys = keys;
    const sameSite = `${options.sameSite[0]?.toUpperCase()}${options.sameSite.slice(1)}`;
    // Browsers reject Partitioned without Secure.
    const partitioned = options.partitioned && secure ? "; Partitioned" : "";
    this.#attributes = `${placeOf({ secure, domain, path })}; SameSite=${sameSite}${partitioned}`;
  }

  /**
   * Verifies a cookie value in the encoding that `readSessionCookie` accepts. Returns `undefined` when none of the keys
   * signed it.
   */
  read(value: string): SessionName | undefined {
    // Stores retain the id, and a slice of the value would keep the whole header in memory.
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
   * Sets the cookie with the session's id. Secure is always set, even when a proxy hides https from Node:
   * express-session silently drops the cookie then (expressjs/session#281, #628).
   *
   * @param lifeSeconds how long the browser keeps it; `undefined` until the browser ends
   */
  set(headers: HeaderBuffer, sid: string, lifeSeconds: number | undefined): void {
    const maxAge = lifeSeconds === undefined ? "" : `; Max-Age=${lifeSeconds}`;
    headers.setCookie(
      this.name,
      `${this.name}=${encodeURIComponent(`s:${sid}.${signatureOf(sid, this.#keys[0])}`)}${maxAge}${this.#attributes}`,
      true,
    );
  }

  /** Clears the cookie. express-session does not (expressjs/session#241). */
  clear(headers: HeaderBuffer): void {
    headers.setCookie(this.name, `${this.name}=${EXPIRED}${this.#attributes}`, false);
  }

  /**
   * Lines that clear the cookies of this name that a browser may have sent to `path` of `host`: the likeliest first, as
   * many as proxies forward.
   */
  clearEverywhere(host: string | undefined, path: string): string[] {
    const lineAt = (place: CookiePlace): string => `${this.name}=${EXPIRED}${placeOf(place)}`;
    const { secure } = this;
    const { domain, path: ownPath } = this.#options;
    // A partitioned cookie and another one with the same name, path and domain are two cookies.
    const partitioned = secure ? [`${lineAt({ secure, domain, path: ownPath })}; Partitioned`] : [];
    let size = partitioned.join("").length;
    const lines = placesOfCookie(this.name, host, path)
      .map((place) => lineAt({ secure, ...place }))
      .filter((line) => (size += line.length) <= MAX_CLEARING);
    return [...lines, ...partitioned];
  }

  /**
   * Clears a cookie with another name at its own path and domain. Attributes that are invalid in a header are omitted.
   */
  takeOther(headers: HeaderBuffer, name: string, path: string, domain: string | undefined): void {
    const at = /^\/[\x21-\x3a\x3c-\x7e]*$/.test(path) ? path : "/";
    const shared = domain !== undefined && /^[A-Za-z0-9.-]{1,255}$/.test(domain) ? domain : undefined;
    headers.setCookie(name, `${name}=${EXPIRED}${placeOf({ secure: this.secure, domain: shared, path: at })}`, false);
  }

  /** The cookie in the form that stores read; they take a session's expiry from it. */
  forStore(expiresAt: number, maxAgeMs = this.#options.maxAge * 1000): SessionCookieData {
    const cookie = new (expressSession().Cookie)();
    cookie.secure = this.secure;
    cookie.httpOnly = true;
    cookie.path = this.#options.path;
    cookie.sameSite = this.#options.sameSite;
    if (this.#options.domain !== undefined) cookie.domain = this.#options.domain;
    cookie.expires = new Date(expiresAt);
    cookie.originalMaxAge = maxAgeMs;
    return cookie;
  }
}

/**
 * Signs as cookie-signature does for express-session. With `session.secret` as the key, both can read each other's
 * cookies.
 */
function signatureOf(sid: string, key: KeyObject): string {
  return createHmac("sha256", key).update(sid).digest("base64").replace(/=+$/, "");
}

/** Whether one of the keys created that signature. */
export function isSignedBy(sid: string, signature: string, keys: readonly KeyObject[]): boolean {
  const given = Buffer.from(signature);
  return keys.some((key) => {
    const own = Buffer.from(signatureOf(sid, key));
    return own.length === given.length && timingSafeEqual(own, given);
  });
}

/** Returns a handle that does not reveal the session's id: 132 bits of SHA-256 of an id with 192 random bits. */
export function sessionHandle(sid: string): string {
  return createHash("sha256").update("portcullis/session\0").update(sid).digest("base64url").slice(0, 22);
}
