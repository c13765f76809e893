import type {
  ApiKeyStore,
  KeyDigest,
  StoredApiKey,
  StoredRefreshToken,
  TokenStore,
  UsageBatch,
  WriteCall,
} from "../contracts.js";
import type { Change, ChangeBatch, ChangeSource, Denial } from "../revocations/changes.js";
import type { SqlEngine } from "../sql/index.js";
import type { AccessTokenFacts } from "../revocations/denylist.js";
import type { Opening } from "./lazy-resource.js";

/** An open database and its stores. */
export interface OpenedStores {
  readonly engine: SqlEngine;
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  readonly changes: ChangeSource;
  readonly driver: string;
  close(): Promise<void>;
}

/** The API-key store of a database that may still be opening: each call waits for it, and rejects when it failed. */
export class ApiKeysOfDatabase implements ApiKeyStore {
  readonly #opening: Opening<OpenedStores>;

  constructor(opening: Opening<OpenedStores>) {
    this.#opening = opening;
  }

  async init(): Promise<void> {
    await (await this.#opening.get()).apiKeys.init();
  }

  async insert(key: StoredApiKey, call?: WriteCall): Promise<void> {
    await (await this.#opening.get()).apiKeys.insert(key, call);
  }

  async get(id: string): Promise<StoredApiKey | undefined> {
    return (await this.#opening.get()).apiKeys.get(id);
  }

  async list(
    ownerId: string,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): Promise<StoredApiKey[]> {
    return (await this.#opening.get()).apiKeys.list(ownerId, page);
  }

  async revoke(id: string, at: number, reason: string, descendants?: boolean): Promise<boolean> {
    return (await this.#opening.get()).apiKeys.revoke(id, at, reason, descendants);
  }

  async rotate(id: string, successor: StoredApiKey, graceUntil: number, call?: WriteCall): Promise<boolean> {
    return (await this.#opening.get()).apiKeys.rotate(id, successor, graceUntil, call);
  }

  async replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean> {
    return (await this.#opening.get()).apiKeys.replaceHash(id, from, to);
  }

  async addUsage(batch: readonly UsageBatch[], call?: WriteCall): Promise<void> {
    await (await this.#opening.get()).apiKeys.addUsage(batch, call);
  }

  /** The database is closed by whoever opened it. */
  async close(): Promise<void> {}
}

/** The token store of a database that may still be opening. */
export class TokensOfDatabase implements TokenStore {
  readonly #opening: Opening<OpenedStores>;

  constructor(opening: Opening<OpenedStores>) {
    this.#opening = opening;
  }

  async init(): Promise<void> {
    await (await this.#opening.get()).tokens.init();
  }

  async insert(token: StoredRefreshToken, call?: WriteCall): Promise<void> {
    await (await this.#opening.get()).tokens.insert(token, call);
  }

  async get(id: string): Promise<StoredRefreshToken | undefined> {
    return (await this.#opening.get()).tokens.get(id);
  }

  async rotate(
    id: string,
    usedAt: number,
    successor: StoredRefreshToken,
    sealedSuccessor: string,
    call?: WriteCall,
  ): Promise<boolean> {
    return (await this.#opening.get()).tokens.rotate(id, usedAt, successor, sealedSuccessor, call);
  }

  async markUndelivered(id: string, successorId: string, at: number): Promise<void> {
    await (await this.#opening.get()).tokens.markUndelivered?.(id, successorId, at);
  }

  async revokeFamily(familyId: string, at: number): Promise<boolean> {
    return (await this.#opening.get()).tokens.revokeFamily(familyId, at);
  }

  async revokeSubject(subject: string, at: number, forgetAfter: number, isRepeated?: boolean): Promise<void> {
    await (await this.#opening.get()).tokens.revokeSubject(subject, at, forgetAfter, isRepeated);
  }

  async revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    await (await this.#opening.get()).tokens.revokeAccessToken(jti, expiresAt);
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    await (await this.#opening.get()).tokens.denyFamily(familyId, until);
  }

  /** Without a promise once the database is open. */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    return (
      this.#opening.opened?.tokens.isRevoked(token) ?? this.#opening.get().then(({ tokens }) => tokens.isRevoked(token))
    );
  }

  isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#opening.opened?.tokens.isKnownRevoked?.(token) ?? false;
  }

  async deleteExpired(now: number): Promise<number> {
    return (await this.#opening.get()).tokens.deleteExpired(now);
  }

  async close(): Promise<void> {}
}

/** The record of changes in a database that may still be opening. */
export class ChangesOfDatabase implements ChangeSource {
  readonly name = "sql";
  readonly #opening: Opening<OpenedStores>;

  constructor(opening: Opening<OpenedStores>) {
    this.#opening = opening;
  }

  async load(): Promise<ChangeBatch> {
    return (await this.#opening.get()).changes.load();
  }

  async since(position: string): Promise<ChangeBatch> {
    return (await this.#opening.get()).changes.since(position);
  }

  async record(changes: readonly Change[]): Promise<void> {
    await (await this.#opening.get()).changes.record(changes);
  }

  async restore(denials: readonly Denial[]): Promise<void> {
    await (await this.#opening.get()).changes.restore(denials);
  }
}
