import { systemClock, type Clock } from "../../core/clock.js";
import type { StoredRefreshToken, TokenStore } from "../contracts.js";
import { Denials, type AccessTokenFacts } from "../denials.js";
import { copyRefreshToken, integer, text } from "../records.js";
import { sealsEndBefore, tokenHasEnded } from "../token-lifetime.js";

const MAX_TOKENS = 200_000;

/** The store has no room for another refresh token; all it holds still works, and can be revoked. */
export class TokenStoreFullError extends Error {
  readonly code = "PORTCULLIS_TOKEN_STORE_FULL";

  constructor(maxTokens: number) {
    super(`The memory store holds its ${maxTokens} refresh tokens. Give \`database\` a URL to keep more.`);
    this.name = "TokenStoreFullError";
  }
}

export interface MemoryTokenStoreOptions {
  readonly clock?: Clock | undefined;
  /** Most refresh tokens held, used ones included (default 200 000). Beyond it `insert` and `rotate` reject. */
  readonly maxTokens?: number | undefined;
}

interface Family {
  readonly members: Set<string>;
  revokedAt: number | null;
}

/**
 * Refresh tokens and revocations in this process's memory: gone after a restart, unknown to other processes. Every
 * method does its work before it returns its promise, so each one is atomic.
 */
export class MemoryTokenStore implements TokenStore {
  readonly #tokens = new Map<string, StoredRefreshToken>();
  readonly #families = new Map<string, Family>();
  readonly #subjects = new Map<string, Set<string>>();
  readonly #denials = new Denials();
  readonly #clock: Clock;
  readonly #maxTokens: number;
  #sweep: MapIterator<StoredRefreshToken> | undefined;

  constructor(options: MemoryTokenStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxTokens = options.maxTokens ?? MAX_TOKENS;
  }

  async init(): Promise<void> {}

  async insert(token: StoredRefreshToken): Promise<void> {
    this.#makeRoom();
    this.#add(copyRefreshToken(token));
  }

  async get(id: string): Promise<StoredRefreshToken | undefined> {
    return this.#tokens.get(id);
  }

  async rotate(id: string, usedAt: number, successor: StoredRefreshToken, sealedSuccessor: string): Promise<boolean> {
    this.#makeRoom();
    const token = this.#tokens.get(id);
    if (token === undefined || token.usedAt !== null || token.revokedAt !== null) return false;
    const used = { usedAt: integer(usedAt), successorId: successor.id, sealedSuccessor: text(sealedSuccessor) };
    this.#add(copyRefreshToken(successor));
    this.#tokens.set(id, Object.freeze({ ...token, ...used }));
    return true;
  }

  async markUndelivered(id: string, at: number): Promise<void> {
    const token = this.#tokens.get(id);
    if (token !== undefined && token.usedAt !== null) this.#tokens.set(id, Object.freeze({ ...token, undeliveredAt: integer(at) }));
  }

  async revokeFamily(familyId: string, at: number): Promise<number> {
    return this.#revokeFamily(familyId, integer(at));
  }

  async revokeSubject(subject: string, at: number, forgetAfter: number): Promise<void> {
    this.#denials.cutOff(text(subject), integer(at), integer(forgetAfter), this.#clock.now());
    for (const familyId of this.#subjects.get(subject) ?? []) this.#revokeFamily(familyId, at);
  }

  async revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    this.#denials.denyToken(text(jti), integer(expiresAt), this.#clock.now());
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    this.#denials.denyFamily(text(familyId), integer(until), this.#clock.now());
  }

  isRevoked(token: AccessTokenFacts): boolean {
    return this.#denials.isRevoked(token);
  }

  async deleteExpired(now: number): Promise<number> {
    let deleted = this.#denials.deleteExpired(now);
    const sealsEnd = sealsEndBefore(now);
    for (const token of this.#tokens.values()) {
      if (tokenHasEnded(token, now)) {
        this.#drop(token);
        deleted += 1;
      } else if (token.sealedSuccessor !== null && token.usedAt !== null && token.usedAt < sealsEnd) {
        this.#tokens.set(token.id, Object.freeze({ ...token, sealedSuccessor: null }));
      }
    }
    return deleted;
  }

  async close(): Promise<void> {}

  #revokeFamily(familyId: string, at: number): number {
    const family = this.#families.get(familyId);
    if (family === undefined) return 0;
    family.revokedAt ??= at;
    let changed = 0;
    for (const id of family.members) {
      const token = this.#tokens.get(id);
      if (token === undefined || token.revokedAt !== null) continue;
      this.#tokens.set(id, Object.freeze({ ...token, revokedAt: at }));
      changed += 1;
    }
    return changed;
  }

  #add(token: StoredRefreshToken): void {
    if (this.#tokens.has(token.id)) throw new Error("A refresh token with this id exists already.");
    let family = this.#families.get(token.familyId);
    if (family === undefined) {
      family = { members: new Set(), revokedAt: null };
      this.#families.set(token.familyId, family);
      const owned = this.#subjects.get(token.subject);
      if (owned === undefined) this.#subjects.set(token.subject, new Set([token.familyId]));
      else owned.add(token.familyId);
    }
    family.members.add(token.id);
    // A family once revoked stays revoked, for late comers too.
    const born = family.revokedAt === null || token.revokedAt !== null ? token : Object.freeze({ ...token, revokedAt: family.revokedAt });
    this.#tokens.set(token.id, born);
  }

  /** Looks at a few tokens on each insertion, so that ended ones leave without anyone calling `deleteExpired`. */
  #makeRoom(): void {
    const now = this.#clock.now();
    for (let step = 0; step < 4; step += 1) {
      this.#sweep ??= this.#tokens.values();
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = undefined;
        break;
      }
      if (tokenHasEnded(next.value, now)) this.#drop(next.value);
    }
    if (this.#tokens.size < this.#maxTokens) return;
    throw new TokenStoreFullError(this.#maxTokens);
  }

  #drop(token: StoredRefreshToken): void {
    this.#tokens.delete(token.id);
    const family = this.#families.get(token.familyId);
    if (family === undefined) return;
    family.members.delete(token.id);
    if (family.members.size > 0) return;
    this.#families.delete(token.familyId);
    const owned = this.#subjects.get(token.subject);
    owned?.delete(token.familyId);
    if (owned?.size === 0) this.#subjects.delete(token.subject);
  }
}
