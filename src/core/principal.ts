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
  /** The issuer of a token that another service issued (`jwt.issuers`); absent otherwise. */
  readonly issuer?: string;
  /** Who acts as this person: a session that was begun for someone else (`logIn` with `actor`). */
  readonly actor?: Actor;
}

/** The person behind a session of another one: a member of the support, for example. */
export interface Actor {
  /** Id of that person. */
  readonly id: string;
}

/** Copies and freezes, so that neither the app nor a store can change an identity in flight. */
export function createPrincipal(from: Principal): Principal {
  const principal: { -readonly [Key in keyof Principal]: Principal[Key] } = {
    id: from.id,
    kind: from.kind,
    scopes: Object.freeze([...from.scopes]),
    roles: Object.freeze([...from.roles]),
    credentialId: from.credentialId,
  };
  if (from.issuer !== undefined) principal.issuer = from.issuer;
  if (from.actor !== undefined) principal.actor = Object.freeze({ id: from.actor.id });
  return Object.freeze(principal);
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
