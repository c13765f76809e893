/** How a caller proved who they are. */
export type CredentialKind = "api-key" | "jwt" | "session";

/** The one shape of identity, whichever credential proved it. Frozen. */
export interface Principal {
  /** The owner of the credential: a user id, a service name. */
  readonly id: string;
  /** The kind of credential that proved it. */
  readonly kind: CredentialKind;
  /** Scopes that the credential grants. */
  readonly scopes: readonly string[];
  /** Roles that the credential grants. */
  readonly roles: readonly string[];
  /** Names the credential without revealing it: the key's id, the token's `jti`, a hash of the session id. */
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
      /** Who is calling, when a protection has proved it; `undefined` for an anonymous caller. */
      principal?: Principal | undefined;
    }
  }
}
