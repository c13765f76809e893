import type { ApiKeyStore, KeyDigest, StoredApiKey, StoredRefreshToken, TokenStore, UsageBatch } from "./contracts.js";
import type { OpenedStores } from "./database.js";
import type { AccessTokenFacts } from "./denials.js";

/** The API-key store of a database that may still be opening: each call waits for it, and rejects when it failed. */
export class ApiKeysOfDatabase implements ApiKeyStore {
  readonly #store: Promise<ApiKeyStore>;

  constructor(opening: Promise<OpenedStores>) {
    this.#store = opening.then((opened) => opened.apiKeys);
    this.#store.catch(() => undefined);
  }

  async init(): Promise<void> {
    await (await this.#store).init();
  }

  async insert(key: StoredApiKey): Promise<void> {
    await (await this.#store).insert(key);
  }

  async get(id: string): Promise<StoredApiKey | undefined> {
    return (await this.#store).get(id);
  }

  async list(ownerId: string, page: { readonly limit: number; readonly after?: string | undefined }): Promise<StoredApiKey[]> {
    return (await this.#store).list(ownerId, page);
  }

  async revoke(id: string, at: number, reason: string): Promise<boolean> {
    return (await this.#store).revoke(id, at, reason);
  }

  async rotate(id: string, successor: StoredApiKey, graceUntil: number): Promise<boolean> {
    return (await this.#store).rotate(id, successor, graceUntil);
  }

  async replaceHash(id: string, from: KeyDigest, to: KeyDigest): Promise<boolean> {
    return (await this.#store).replaceHash(id, from, to);
  }

  async addUsage(batch: readonly UsageBatch[]): Promise<void> {
    await (await this.#store).addUsage(batch);
  }

  /** The database is closed by whoever opened it. */
  async close(): Promise<void> {}
}

/** The token store of a database that may still be opening. */
export class TokensOfDatabase implements TokenStore {
  readonly #store: Promise<TokenStore>;
  #opened: TokenStore | undefined;

  constructor(opening: Promise<OpenedStores>) {
    this.#store = opening.then((opened) => (this.#opened = opened.tokens));
    this.#store.catch(() => undefined);
  }

  async init(): Promise<void> {
    await (await this.#store).init();
  }

  async insert(token: StoredRefreshToken): Promise<void> {
    await (await this.#store).insert(token);
  }

  async get(id: string): Promise<StoredRefreshToken | undefined> {
    return (await this.#store).get(id);
  }

  async rotate(id: string, usedAt: number, successor: StoredRefreshToken, sealedSuccessor: string): Promise<boolean> {
    return (await this.#store).rotate(id, usedAt, successor, sealedSuccessor);
  }

  async revokeFamily(familyId: string, at: number): Promise<number> {
    return (await this.#store).revokeFamily(familyId, at);
  }

  async revokeSubject(subject: string, at: number, forgetAfter: number): Promise<void> {
    await (await this.#store).revokeSubject(subject, at, forgetAfter);
  }

  async revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    await (await this.#store).revokeAccessToken(jti, expiresAt);
  }

  async denyFamily(familyId: string, until: number): Promise<void> {
    await (await this.#store).denyFamily(familyId, until);
  }

  /** Without a promise once the database is open. */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    return this.#opened?.isRevoked(token) ?? this.#store.then((store) => store.isRevoked(token));
  }

  async deleteExpired(now: number): Promise<number> {
    return (await this.#store).deleteExpired(now);
  }

  async close(): Promise<void> {}
}
