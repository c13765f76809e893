import { createHmac, createSecretKey, type KeyObject } from "node:crypto";
import type { StoreCaller } from "../core/store-caller.js";
import { StoreUnavailableError } from "../stores/health/store-guard.js";
import { findCookie } from "./decide.js";
import type { HeaderBuffer } from "../core/response/header-buffer.js";
import { mapMaybe, type MaybePromise } from "../core/maybe-promise.js";
import { isSignedBy, type SessionCookie } from "./session-cookie.js";
import type { ResolvedMigrateFromSettings } from "./settings.js";
import { appData } from "./metadata.js";
import type { LoadedSession, SessionRepository } from "./session-repository.js";

/** How long after its adoption a session is found by its old cookie, for requests sent before the response arrived. */
const LATE_REQUESTS_MS = 60_000;

/** A session of express-session that this layer has adopted. */
export interface AdoptedSession extends LoadedSession {
  /** Whether this request adopted it. */
  readonly isNew: boolean;
  /** Path of the old cookie, from the stored record. */
  readonly path: string;
  readonly domain: string | undefined;
}

/**
 * Sessions that express-session wrote into the same store before this layer replaced it. Each of them is adopted once:
 * its data moves to a new id, and its absolute time-out starts. In debug mode, with the same cookie name, it keeps its
 * id.
 *
 * The new id is an HMAC of the old one, so that concurrent requests that adopt the same session, in any process, derive
 * the same id.
 */
export class FormerSessions {
  readonly #name: string;
  readonly #keys: readonly KeyObject[];
  readonly #until: number;
  readonly #cookie: SessionCookie;
  readonly #idKey: KeyObject;
  readonly #stored: SessionRepository;
  readonly #keepsId: boolean;
  readonly #underWay = new Map<string, Promise<AdoptedSession | undefined>>();

  /**
   * @param from undefined in debug mode without `migrateFrom`: then our own cookie name and keys apply
   * @param keys keys of the settings; the first one derives the new ids
   */
  constructor(
    from: ResolvedMigrateFromSettings | undefined,
    debug: boolean,
    cookie: SessionCookie,
    keys: readonly [KeyObject, ...KeyObject[]],
    stored: SessionRepository,
  ) {
    this.#name = from?.cookieName ?? cookie.name;
    this.#keys = from?.secret?.map((secret) => createSecretKey(Buffer.from(secret.reveal()))) ?? keys;
    this.#until = from?.until ?? Number.POSITIVE_INFINITY;
    this.#keepsId = debug && this.#name === cookie.name;
    this.#cookie = cookie;
    this.#idKey = keys[0];
    this.#stored = stored;
  }

  /**
   * Returns the id in the old cookie of this header, while old cookies are still read. Duplicate cookies are ignored.
   */
  find(header: string | undefined): string | undefined {
    if (header === undefined || this.#stored.now() >= this.#until) return undefined;
    const found = findCookie(header, this.#name);
    return found.kind === "one" ? this.#idIn(found.value) : undefined;
  }

  /** Adopts the session with that old id and returns it. */
  adopt(oldSid: string, caller?: StoreCaller): MaybePromise<AdoptedSession | undefined> {
    const known = this.#underWay.get(oldSid);
    if (known !== undefined) return known.then((adopted) => adopted && { ...adopted, isNew: false });
    const adopted = this.#adoptId(oldSid, caller);
    if (!(adopted instanceof Promise)) return adopted;
    const settled = adopted.finally(() => this.#underWay.delete(oldSid));
    this.#underWay.set(oldSid, settled);
    return settled;
  }

  /** Whether a log-in has just replaced the session that was adopted from that old id. */
  wasReplaced(oldSid: string): boolean {
    return this.#stored.wasReplaced(this.#keepsId ? oldSid : this.#newIdOf(oldSid));
  }

  /** Clears the old cookie in the browser. */
  clearCookie(headers: HeaderBuffer, { path, domain }: AdoptedSession): void {
    if (this.#name !== this.#cookie.name) this.#cookie.takeOther(headers, this.#name, path, domain);
  }

  #adoptId(oldSid: string, caller?: StoreCaller): MaybePromise<AdoptedSession | undefined> {
    const sid = this.#keepsId ? oldSid : this.#newIdOf(oldSid);
    return mapMaybe(this.#stored.formerRecord(oldSid, caller), (record) => {
      if (record === undefined) return this.#keepsId ? undefined : this.#lately(sid);
      const { path, domain } = record.cookie as { path?: unknown; domain?: unknown };
      const place = {
        path: typeof path === "string" ? path : "/",
        domain: typeof domain === "string" ? domain : undefined,
      };
      if (this.#keepsId) return this.#write(sid, appData(record), place, false);
      // Another process may have adopted it first.
      return mapMaybe(this.#stored.load(sid), (there) =>
        mapMaybe(
          there === undefined ? this.#write(sid, appData(record), place, true) : { ...there, ...place, isNew: false },
          (adopted) => mapMaybe(this.#stored.end(oldSid, "replaced"), () => adopted),
        ),
      );
    });
  }

  /** Returns a session that was adopted a moment ago and whose old record is deleted. */
  #lately(sid: string): MaybePromise<AdoptedSession | undefined> {
    return mapMaybe(this.#stored.load(sid), (there) => {
      if (there === undefined || this.#stored.now() - there.metadata.createdAt >= LATE_REQUESTS_MS) return undefined;
      return { ...there, path: "/", domain: undefined, isNew: false };
    });
  }

  #write(
    sid: string,
    data: Record<string, unknown>,
    place: Pick<AdoptedSession, "path" | "domain">,
    fresh: boolean,
  ): MaybePromise<AdoptedSession | undefined> {
    const now = this.#stored.now();
    const metadata = { createdAt: now, seenAt: now, principal: null };
    return mapMaybe(this.#stored.write(sid, data, metadata, fresh), (outcome) => {
      if (outcome === "written")
        return mapMaybe(this.#stored.load(sid), (loaded) => loaded && { ...loaded, ...place, isNew: true });
      // The session has ended, or another process adopted it a moment ago. A full store is reported as an outage to
      // this caller; the old session is kept.
      if (outcome === "full") throw new StoreUnavailableError("session");
      return mapMaybe(this.#stored.load(sid), (loaded) => loaded && { ...loaded, ...place, isNew: false });
    });
  }

  /**
   * Returns the id in a cookie that express-session signed: `s:`, the id, a dot and the signature, percent-encoded.
   * Apps may generate ids of any form.
   */
  #idIn(value: string): string | undefined {
    const signed = decoded(value);
    const dot = signed.lastIndexOf(".");
    if (!signed.startsWith("s:") || dot < 3 || encodeURIComponent(signed) !== value) return undefined;
    const sid = signed.slice(2, dot);
    return isSignedBy(sid, signed.slice(dot + 1), this.#keys) ? sid : undefined;
  }

  /** Derives the new id: 192 bits, like every id. */
  #newIdOf(oldSid: string): string {
    return createHmac("sha256", this.#idKey)
      .update("portcullis/adopted\0")
      .update(oldSid)
      .digest("base64url")
      .slice(0, 32);
  }
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return "";
  }
}
