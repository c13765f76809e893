import { StoreError } from "../../core/portcullis-error.js";
import { setImmediate as yieldToOthers } from "node:timers/promises";
import { systemClock, type Clock } from "../../core/clock.js";
import { StoreFullError } from "../health/store-full.js";
import type { AccessTokenFacts, StoredRefreshToken, StoredTokenFamily, TokenStore } from "../contracts.js";
import { Denylist } from "../revocations/denylist.js";
import { copyRefreshToken, integer, nameText, pageSize, text } from "../records.js";
import { sealsEndBefore, tokenHasEnded } from "../token-lifetime.js";
import { shareOf } from "./share.js";
import { TokenFamilies, type Family } from "./token-families.js";

const MAX_TOKENS = 200_000;
/** Tokens checked for expiry on each insertion: more than one, so that they are removed faster than new ones arrive. */
const SWEPT_PER_INSERT = 4;
/** Tokens checked in one turn of a clean-up: about a millisecond of work. */
const CLEANED_PER_TURN = 2000;

export interface MemoryTokenStoreSettings {
  readonly clock?: Clock | undefined;
  /**
   * Most refresh tokens stored, used ones included (default 200 000). One subject has a hundredth of them at most, but
   * may always have ten. When there is no room, expired tokens and those of revoked families are removed. Used ones are
   * not, because presenting one again reveals a theft. A subject without room ends its family that was idle for
   * longest, and a family that alone uses the whole share ends itself.
   */
  readonly maxTokens?: number | undefined;
}

/**
 * Refresh tokens and revocations in this process's memory: gone after a restart, unknown to other processes. Every
 * method but `deleteExpired` does its work before it returns its promise, so each one is atomic, and costs O(1).
 */
export class MemoryTokenStore implements TokenStore {
  readonly #tokens = new Map<string, StoredRefreshToken>();
  readonly #families = new TokenFamilies();
  readonly #denials = new Denylist();
  readonly #clock: Clock;
  readonly #maxTokens: number;
  readonly #share: number;
  #sweep: MapIterator<StoredRefreshToken> | undefined;

  constructor(options: MemoryTokenStoreSettings = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxTokens = options.maxTokens ?? MAX_TOKENS;
    this.#share = shareOf(this.#maxTokens);
  }

  /** Refresh tokens stored, including used and ended ones that are not removed yet. */
  get size(): number {
    return this.#tokens.size;
  }

  async init(): Promise<void> {}

  async insert(token: StoredRefreshToken): Promise<void> {
    const copy = copyRefreshToken(token);
    if (this.#tokens.has(copy.id)) throw taken();
    this.#sweepSome();
    const label = token.label === undefined ? null : nameText(token.label);
    this.#makeRoom(copy, this.#families.find(copy.familyId));
    this.#add(copy, copy.issuedAt, label);
  }

  async get(id: string): Promise<StoredRefreshToken | undefined> {
    const token = this.#tokens.get(id);
    const revokedAt = token?.revokedAt ?? this.#families.find(token?.familyId ?? "")?.group.revokedAt ?? null;
    return token === undefined || token.revokedAt === revokedAt ? token : Object.freeze({ ...token, revokedAt });
  }

  async rotate(id: string, usedAt: number, successor: StoredRefreshToken, sealedSuccessor: string): Promise<boolean> {
    const used = { usedAt: integer(usedAt), successorId: successor.id, sealedSuccessor: text(sealedSuccessor) };
    const next = copyRefreshToken(successor);
    this.#sweepSome();
    const token = this.#tokens.get(id);
    if (token === undefined || token.usedAt !== null || token.revokedAt !== null) return false;
    const family = this.#families.find(token.familyId);
    if (family === undefined || isRevoked(family)) return false;
    if (this.#tokens.has(next.id)) throw taken();
    this.#makeRoom(next, family);
    // The family used the whole share and has ended to make room.
    if (isRevoked(family)) return false;
    this.#add(next, used.usedAt);
    this.#tokens.set(id, Object.freeze({ ...token, ...used }));
    return true;
  }

  async markUndelivered(id: string, successorId: string, at: number): Promise<void> {
    const token = this.#tokens.get(id);
    if (token?.successorId === successorId)
      this.#tokens.set(id, Object.freeze({ ...token, undeliveredAt: integer(at) }));
  }

  async revokeFamily(familyId: string, at: number): Promise<boolean> {
    return this.#families.revokeFamily(familyId, integer(at));
  }

  async revokeSubject(
    subject: string,
    at: number,
    forgetAfter: number,
    unlessEndedSince = Infinity,
    keep?: string,
  ): Promise<void> {
    const isDone = (this.#denials.cutOffOf(subject) ?? -Infinity) >= unlessEndedSince;
    this.#denials.cutOff(nameText(subject), integer(at), integer(forgetAfter), this.#clock.now(), keep);
    if (!isDone) this.#families.revokeSubject(subject, at, keep);
  }

  async familiesOf(
    subject: string,
    now: number,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<readonly StoredTokenFamily[]> {
    const { after } = page;
    const cursor = after === undefined ? undefined : this.#families.find(after);
    if (after !== undefined && cursor?.group.subject.name !== subject) return [];
    // At most the share of a subject.
    return [...(this.#families.subject(subject)?.live.families ?? [])]
      .filter((family) => family.expiresAt > now && family.endsAt > now)
      .filter((family) => cursor === undefined || newestFirst(cursor, family) < 0)
      .sort(newestFirst)
      .slice(0, pageSize(page.limit))
      .map(listed);
  }

  async findFamily(familyId: string): Promise<StoredTokenFamily | null> {
    const family = this.#families.find(familyId);
    return family === undefined ? null : listed(family);
  }

  async denyAccessToken(jti: string, expiresAt: number): Promise<void> {
    this.#denials.denyToken(nameText(jti), integer(expiresAt), this.#clock.now());
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    this.#denials.denyFamily(nameText(familyId), integer(until), this.#clock.now());
  }

  isRevoked(token: AccessTokenFacts): boolean {
    return this.#denials.isRevoked(token);
  }

  cutOffOf(subject: string): number | undefined {
    return this.#denials.cutOffOf(subject);
  }

  knownCutOffOf(subject: string): number | undefined {
    return this.#denials.cutOffOf(subject);
  }

  async deleteExpired(now: number): Promise<number> {
    let deleted = this.#denials.deleteExpired(now);
    const sealsEnd = sealsEndBefore(now);
    let seen = 0;
    for (const token of this.#tokens.values()) {
      if (tokenHasEnded(token, now)) {
        this.#drop(token);
        deleted += 1;
      } else if (token.sealedSuccessor !== null && token.usedAt !== null && token.usedAt < sealsEnd) {
        this.#tokens.set(token.id, Object.freeze({ ...token, sealedSuccessor: null }));
      }
      seen += 1;
      if (seen % CLEANED_PER_TURN === 0) await yieldToOthers();
    }
    return deleted;
  }

  async close(): Promise<void> {}

  #add(token: StoredRefreshToken, at: number, label?: string | null): void {
    this.#families.add(token, at, label);
    this.#tokens.set(token.id, token);
  }

  #sweepSome(): void {
    const now = this.#clock.now();
    for (let step = 0; step < SWEPT_PER_INSERT; step += 1) {
      this.#sweep ??= this.#tokens.values();
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = undefined;
        return;
      }
      if (tokenHasEnded(next.value, now)) this.#drop(next.value);
    }
  }

  /** @throws StoreFullError when all stored tokens are in force, or may still reveal a theft */
  #makeRoom(token: StoredRefreshToken, family: Family | undefined): void {
    const subject = family?.group.subject ?? this.#families.subject(token.subject);
    if (
      subject !== undefined &&
      subject.tokens >= this.#share &&
      !this.#dropById(this.#families.firstRevoked(subject))
    ) {
      const [idlest, next] = subject.live.families;
      const ending = idlest === family ? (next ?? idlest) : idlest;
      if (ending !== undefined) this.#families.revokeFamily(ending.id, this.#clock.now());
      this.#dropById(this.#families.firstRevoked(subject));
    }
    if (this.#tokens.size < this.#maxTokens || this.#dropById(this.#families.firstRevoked())) return;
    throw new StoreFullError(
      "store",
      `The memory store is full: it has ${this.#maxTokens} refresh tokens. To store more, set database.`,
    );
  }

  #dropById(id: string | undefined): boolean {
    const token = id === undefined ? undefined : this.#tokens.get(id);
    if (token === undefined) return false;
    this.#drop(token);
    return true;
  }

  #drop(token: StoredRefreshToken): void {
    this.#tokens.delete(token.id);
    this.#families.remove(token.id, token.familyId);
  }
}

function newestFirst(one: Family, other: Family): number {
  return other.createdAt - one.createdAt || (one.id < other.id ? 1 : one.id > other.id ? -1 : 0);
}

function listed({ id, group, label, createdAt, lastUsedAt, expiresAt, endsAt }: Family): StoredTokenFamily {
  return Object.freeze({ id, subject: group.subject.name, label, createdAt, lastUsedAt, expiresAt, endsAt });
}

function isRevoked(family: Family): boolean {
  return family.group.revokedAt !== null;
}

function taken(): Error {
  return new StoreError("A refresh token with this id already exists.");
}
