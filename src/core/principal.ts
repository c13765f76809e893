/** The kind of credential that authenticated a caller; `external` when the app did it, with `usePrincipal`. */
export type CredentialKind = "api-key" | "jwt" | "session" | "external";

/** The identity of a caller, in the same form for every kind of credential. Frozen. */
export interface Principal {
  /** The owner of the credential: a user id, a service name. */
  readonly id: string;
  /** The kind of credential that authenticated the caller. */
  readonly kind: CredentialKind;
  /** Scopes that the credential grants. */
  readonly scopes: readonly string[];
  /** Roles that the credential grants. */
  readonly roles: readonly string[];
  /**
   * Identifies the credential without revealing it: the key's id, the token's `jti`, a hash of the session id,
   * or `external`.
   */
  readonly credentialId: string;
}

/** Copies and freezes, so that neither the app nor a store can change an identity in flight. */
export function createPrincipal(from: Principal): Principal {
  return Object.freeze({
    id: from.id,
    kind: from.kind,
    scopes: Object.freeze([...from.scopes]),
    roles: Object.freeze([...from.roles]),
    credentialId: from.credentialId,
  });
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- Express's types are extended by merging into this namespace; there is no other way.
  namespace Express {
    interface Request {
      /** The authenticated caller; `undefined` for an anonymous one. */
      principal?: Principal | undefined;
    }
  }
}
