import type { ChangeFeed } from "./change-feed.js";
import type { StoredRefreshToken, TokenStore, WriteCall } from "../contracts.js";
import type { Denial } from "./changes.js";
import type { AccessTokenFacts } from "./denylist.js";
import { integer, text } from "../records.js";

/**
 * A token store whose revocations of access tokens reach every process: refresh tokens are in `families`, which is also
 * written first (where it is a database, a denial outlives the loss of the feed's record), then the feed tells all.
 */
export class SharedTokenStore implements TokenStore {
  readonly #families: TokenStore;
  readonly #feed: ChangeFeed;

  constructor(families: TokenStore, feed: ChangeFeed) {
    this.#families = families;
    this.#feed = feed;
  }

  async init(): Promise<void> {
    await this.#families.init();
    await this.#feed.start();
  }

  insert(token: StoredRefreshToken, call?: WriteCall): Promise<void> {
    return this.#families.insert(token, call);
  }

  get(id: string): Promise<StoredRefreshToken | undefined> {
    return this.#families.get(id);
  }

  rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealedSuccessor: string,
    call?: WriteCall,
  ): Promise<boolean> {
    return this.#families.rotate(id, usedAt, successor, sealedSuccessor, call);
  }

  async markUndelivered(id: string, successorId: string, at: number): Promise<void> {
    await this.#families.markUndelivered?.(id, successorId, at);
  }

  revokeFamily(familyId: string, at: number): Promise<boolean> {
    return this.#families.revokeFamily(familyId, at);
  }

  async revokeSubject(subject: string, at: number, forgetAfter: number, isRepeated?: boolean): Promise<void> {
    await this.#deny({ kind: "subject", name: subject, cutOff: integer(at), endsAt: forgetAfter }, () =>
      this.#families.revokeSubject(subject, at, forgetAfter, isRepeated),
    );
  }

  async revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    await this.#deny({ kind: "token", name: jti, endsAt: expiresAt }, () =>
      this.#families.revokeAccessToken(jti, expiresAt),
    );
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    await this.#deny({ kind: "family", name: familyId, endsAt: until }, () =>
      this.#families.denyFamily(familyId, until),
    );
  }

  get isCurrent(): boolean {
    return this.#feed.isCurrent;
  }

  isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#feed.isKnownRevoked(token) || this.#families.isKnownRevoked?.(token) === true;
  }

  /** Without a promise while the feed is in touch. */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    const own = this.#families.isRevoked(token);
    if (own === true) return true;
    if (own === false) return this.#feed.isRevoked(token);
    return own.then((revoked) => revoked || this.#feed.isRevoked(token));
  }

  async deleteExpired(now: number): Promise<number> {
    this.#feed.deleteExpired(now);
    return this.#families.deleteExpired(now);
  }

  /** The feed is closed by whoever made it. */
  async close(): Promise<void> {
    await this.#families.close();
  }

  /** Here at once, then in the store, then everywhere: also when the store failed, for whoever revokes wants it to hold. */
  async #deny(denial: Denial, write: () => Promise<void>): Promise<void> {
    text(denial.name);
    integer(denial.endsAt);
    this.#feed.note(denial);
    try {
      await write();
    } catch (error) {
      await this.#feed.publish(denial).catch(() => undefined);
      throw error;
    }
    await this.#feed.publish(denial);
  }
}
