import { createHash, createHmac, type KeyObject } from "node:crypto";
import type { ServerResponse } from "node:http";
import session from "express-session";
import { cookieNameOnWire } from "./decide.js";
import type { SessionOptions } from "./settings.js";

/** Directives that keep an answer out of shared caches; `private="name"` speaks of single headers only. */
const IS_PRIVATE = /(?:^|[\s,])(?:no-store|private)(?:$|[\s,])/i;

/** Everything about the cookie that does not change from one response to the next. */
export class SessionCookie {
  /** The name as browsers send it. */
  readonly name: string;
  readonly secure: boolean;
  readonly #options: SessionOptions;
  readonly #key: KeyObject;
  readonly #attributes: string;

  /** @param key signs; the first of the ring */
  constructor(options: SessionOptions, debug: boolean, key: KeyObject) {
    this.name = cookieNameOnWire(options.cookieName, { debug, domain: options.domain });
    this.secure = !debug;
    this.#options = options;
    this.#key = key;
    const domain = options.domain === undefined ? "" : `; Domain=${options.domain}`;
    const sameSite = `${options.sameSite[0]?.toUpperCase()}${options.sameSite.slice(1)}`;
    this.#attributes = `; Path=/${domain}; HttpOnly${debug ? "" : "; Secure"}; SameSite=${sameSite}`;
  }

  /**
   * Gives the session's id to the browser. Secure is always written, also when a proxy hides https from Node:
   * express-session drops the cookie then without a word (expressjs/session#281, #628).
   *
   * @param lifeSeconds how long the browser keeps it
   */
  give(res: ServerResponse, sid: string, lifeSeconds: number): void {
    // The format is express-session's, which reads it back (cookie-signature's HMAC over the id).
    const signature = createHmac("sha256", this.#key).update(sid).digest("base64").replace(/=+$/, "");
    this.#write(res, `${this.name}=${encodeURIComponent(`s:${sid}.${signature}`)}; Max-Age=${lifeSeconds}${this.#attributes}`);
    // The id is a credential. RFC 9111 section 7.3: a cache that keeps the answer hands it to others with its cookie.
    if (!IS_PRIVATE.test(String(res.getHeader("Cache-Control")))) res.setHeader("Cache-Control", "no-store");
  }

  /** Takes the cookie back (expressjs/session#241: nobody else does). */
  take(res: ServerResponse): void {
    this.#write(res, `${this.name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT${this.#attributes}`);
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

  /** One response carries our cookie once; the last word counts. */
  #write(res: ServerResponse, line: string): void {
    const before = res.getHeader("Set-Cookie");
    if (before === undefined) {
      res.setHeader("Set-Cookie", line);
      return;
    }
    const others = (Array.isArray(before) ? before : [String(before)]).filter((other) => !other.startsWith(`${this.name}=`));
    res.setHeader("Set-Cookie", [...others, line]);
  }
}

/** Names a session without giving its id away: 132 bits of SHA-256 of an id that itself holds 192 random bits. */
export function sessionHandle(sid: string): string {
  return createHash("sha256").update("portcullis/session\0").update(sid).digest("base64url").slice(0, 22);
}
