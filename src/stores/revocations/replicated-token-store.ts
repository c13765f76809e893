import type { ChangeFeed } from "./change-feed.js";
import { type AccessTokenFacts, TOKEN_STORE_METHODS, type TokenStore } from "../contracts.js";
import { forwarding } from "../forwarding.js";
import type { Denial } from "./changes.js";
import { integer, nameText } from "../records.js";

/**
 * A token store whose revocations of access tokens reach every process. Refresh tokens are in `families`. A denial is
 * written there first (if it is a database, the denial survives the loss of the feed's change log); then the feed
 * publishes it. Closing this store does not close the feed: its creator does.
 */
export class ReplicatedTokenStore extends forwarding<TokenStore>(TOKEN_STORE_METHODS) {
  readonly #families: TokenStore;
  readonly #feed: ChangeFeed;
  readonly #familiesAreShared: boolean;

  /** @param familiesAreShared whether all processes have these families: a database, not the memory of each */
  constructor(families: TokenStore, feed: ChangeFeed, familiesAreShared: boolean) {
    super((call) => call(families));
    this.#families = families;
    this.#feed = feed;
    this.#familiesAreShared = familiesAreShared;
  }

  override async init(): Promise<void> {
    await this.#families.init();
    await this.#feed.start();
  }

  override async revokeSubject(
    subject: string,
    at: number,
    forgetAfter: number,
    unlessEndedSince?: number,
    keep?: string,
  ): Promise<void> {
    const kept = keep === undefined ? {} : { keep: nameText(keep) };
    await this.#deny({ kind: "subject", name: subject, cutOff: integer(at), endsAt: forgetAfter, ...kept }, () =>
      this.#families.revokeSubject(subject, at, forgetAfter, unlessEndedSince, keep),
    );
  }

  override async denyAccessToken(jti: string, expiresAt: number): Promise<void> {
    await this.#deny({ kind: "token", name: jti, endsAt: expiresAt }, () =>
      this.#families.denyAccessToken(jti, expiresAt),
    );
  }

  override async denyFamily(familyId: string, until: number): Promise<void> {
    await this.#deny({ kind: "family", name: familyId, endsAt: until }, () =>
      this.#families.denyFamily(familyId, until),
    );
  }

  override get isCurrent(): boolean {
    return this.#feed.isCurrent;
  }

  override isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#feed.isKnownRevoked(token) || this.#families.isKnownRevoked?.(token) === true;
  }

  /** Returns no promise while the feed is current. */
  override isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    const own = this.#families.isRevoked(token);
    if (own === true) return true;
    if (own === false) return this.#feed.isRevoked(token);
    return own.then((revoked) => revoked || this.#feed.isRevoked(token));
  }

  /** A database has the cut-off of each successful revocation, by the subject; the change log is read as a whole. */
  override async cutOffOf(subject: string): Promise<number | undefined> {
    return this.#familiesAreShared
      ? latest(await this.#families.cutOffOf?.(subject), this.#feed.knownCutOffOf(subject))
      : this.#feed.cutOffOf(subject);
  }

  override knownCutOffOf(subject: string): number | undefined {
    return latest(this.#families.knownCutOffOf?.(subject), this.#feed.knownCutOffOf(subject));
  }

  override async deleteExpired(now: number): Promise<number> {
    this.#feed.deleteExpired(now);
    return this.#families.deleteExpired(now);
  }

  /**
   * Denies in this process at once, then in the store, then in every process. It also publishes when the store failed,
   * because the caller wants the revocation to take effect.
   */
  async #deny(denial: Denial, write: () => Promise<void>): Promise<void> {
    nameText(denial.name);
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

function latest(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.max(one, other);
}
