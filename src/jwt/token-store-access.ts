import type { Runtime } from "../core/runtime.js";
import { StoreGuard, StoreUnavailableError } from "../core/store-guard.js";
import type { StoredRefreshToken, TokenStore } from "../stores/contracts.js";
import { TokenStoreFullError } from "../stores/memory/token-store.js";
import { TokenError } from "./errors.js";

type AccessTokenFacts = Parameters<TokenStore["isRevoked"]>[0];

/**
 * A token store bounded in time. Revocations and refresh tokens have a guard each: a store too full to take another
 * refresh token must not stop requests whose tokens it can still judge.
 */
export class GuardedTokenStore implements TokenStore {
  readonly #store: TokenStore;
  readonly #tokens: StoreGuard;
  readonly #revocations: StoreGuard;

  constructor(store: TokenStore, runtime: Runtime, timeoutMs: number) {
    this.#store = store;
    this.#tokens = new StoreGuard("refresh-token", runtime, timeoutMs);
    this.#revocations = new StoreGuard("revocation", runtime, timeoutMs);
  }

  // Opening and closing may take longer than a request waits.
  init(): Promise<void> {
    return this.#store.init();
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  // What is thrown becomes a rejection: a clean-up that fails must not fail the request it came with.
  async deleteExpired(now: number): Promise<number> {
    return this.#store.deleteExpired(now);
  }

  insert(token: StoredRefreshToken): Promise<void> {
    return this.#call(() => this.#store.insert(token));
  }

  get(id: string): Promise<StoredRefreshToken | undefined> {
    return this.#call(() => this.#store.get(id));
  }

  rotate(id: string, usedAt: number, successor: StoredRefreshToken, sealedSuccessor: string): Promise<boolean> {
    return this.#call(() => this.#store.rotate(id, usedAt, successor, sealedSuccessor));
  }

  revokeFamily(familyId: string, at: number): Promise<number> {
    return this.#call(() => this.#store.revokeFamily(familyId, at));
  }

  revokeSubject(subject: string, at: number, forgetAfter: number): Promise<void> {
    return this.#call(() => this.#store.revokeSubject(subject, at, forgetAfter));
  }

  revokeAccessToken(jti: string, expiresAt: number): Promise<void> {
    return this.#call(() => this.#store.revokeAccessToken(jti, expiresAt));
  }

  denyFamily(familyId: string, until: number): Promise<void> {
    return this.#call(() => this.#store.denyFamily(familyId, until));
  }

  /** At once when the store answers at once. @throws StoreUnavailableError (or rejects with it) */
  isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    return this.#revocations.run(() => this.#store.isRevoked(token));
  }

  async #call<T>(operation: () => Promise<T>): Promise<T> {
    // A full store works. Taking it for an outage would stop revocations as well.
    const attempt = async (): Promise<T | TokenStoreFullError> => {
      try {
        return await operation();
      } catch (error) {
        if (error instanceof TokenStoreFullError) return error;
        throw error;
      }
    };
    try {
      const answer = await this.#tokens.run(attempt);
      if (answer instanceof TokenStoreFullError) throw new TokenError("store-unavailable", { cause: answer });
      return answer;
    } catch (error) {
      throw error instanceof StoreUnavailableError ? new TokenError("store-unavailable", { cause: error }) : error;
    }
  }
}
