import {
  type AccessTokenFacts,
  API_KEY_STORE_METHODS,
  type ApiKeyStore,
  CREDENTIAL_STORE_METHODS,
  type CredentialStore,
  SINGLE_USE_STORE_METHODS,
  type SingleUseStore,
  TOKEN_STORE_METHODS,
  type TokenStore,
} from "../contracts.js";
import { forwarding } from "../forwarding.js";
import { CHANGE_RECORD_METHODS, type ChangeRecord, type ChangeSource } from "../revocations/changes.js";
import type { SqlEngine } from "../sql/index.js";
import type { LazyResource } from "./lazy-resource.js";

/** An open database and its stores. */
export interface OpenedStores {
  readonly engine: SqlEngine;
  readonly apiKeys: ApiKeyStore;
  readonly tokens: TokenStore;
  readonly changes: ChangeSource;
  readonly credentials: CredentialStore;
  readonly singleUse: SingleUseStore;
  readonly driver: string;
  close(): Promise<void>;
}

// The stores of a database that may still be opening. Each call waits for the database, and rejects when it cannot be
// opened.

export class DeferredApiKeyStore extends forwarding<ApiKeyStore>(API_KEY_STORE_METHODS) {
  constructor(opening: LazyResource<OpenedStores>) {
    super(async (call) => call((await opening.get()).apiKeys));
  }

  /** The code that opened the database closes it. */
  override async close(): Promise<void> {}
}

export class DeferredTokenStore extends forwarding<TokenStore>(TOKEN_STORE_METHODS) {
  readonly #opening: LazyResource<OpenedStores>;

  constructor(opening: LazyResource<OpenedStores>) {
    super(async (call) => call((await opening.get()).tokens));
    this.#opening = opening;
  }

  /** Returns no promise once the database is open. */
  override isRevoked(token: AccessTokenFacts): boolean | Promise<boolean> {
    return (
      this.#opening.opened?.tokens.isRevoked(token) ?? this.#opening.get().then(({ tokens }) => tokens.isRevoked(token))
    );
  }

  override isKnownRevoked(token: AccessTokenFacts): boolean {
    return this.#opening.opened?.tokens.isKnownRevoked?.(token) ?? false;
  }

  override async close(): Promise<void> {}
}

export class DeferredCredentialStore extends forwarding<CredentialStore>(CREDENTIAL_STORE_METHODS) {
  constructor(opening: LazyResource<OpenedStores>) {
    super(async (call) => call((await opening.get()).credentials));
  }

  override async close(): Promise<void> {}
}

export class DeferredSingleUseStore extends forwarding<SingleUseStore>(SINGLE_USE_STORE_METHODS) {
  constructor(opening: LazyResource<OpenedStores>) {
    super(async (call) => call((await opening.get()).singleUse));
  }

  override async close(): Promise<void> {}
}

export class DeferredChangeSource extends forwarding<ChangeRecord>(CHANGE_RECORD_METHODS) implements ChangeSource {
  readonly name = "sql";

  constructor(opening: LazyResource<OpenedStores>) {
    super(async (call) => call((await opening.get()).changes));
  }
}
