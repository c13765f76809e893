import { type Authentication, type AuthenticationMethod, NO_METHODS } from "./authentication.js";
import { deepFreeze } from "./deep-freeze.js";

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
  /**
   * The claims of an access token, or the metadata of an API key; otherwise empty. Frozen at every depth. The metadata
   * of a key made with `apiKeyRoutes` is what its owner sent: decide no permission by it.
   */
  readonly claims: Readonly<Record<string, unknown>>;
  /**
   * When the caller last proved its identity, in milliseconds since the epoch: at the log-in of a session, at the
   * `auth_time` of a token (a refresh does not change it), at the creation of a key. 0 when that is not known.
   */
  readonly authenticatedAt: number;
  /** How the caller proved its identity; empty for a session whose log-in did not name its `methods`. */
  readonly methods: readonly AuthenticationMethod[];
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

/** A principal to be made. Without `claims` and `methods` it has none; without `authenticatedAt` it is never fresh. */
export type NewPrincipal = Omit<Principal, "claims" | keyof Authentication> &
  Partial<Pick<Principal, "claims" | keyof Authentication>>;

const NO_CLAIMS: Principal["claims"] = Object.freeze({});

/**
 * Copies and freezes, so that neither the app nor a store can change an identity in flight.
 *
 * @param from its `claims` and `methods` are copied only when they are not frozen yet
 */
export function createPrincipal(from: NewPrincipal): Principal {
  const principal: { -readonly [Key in keyof Principal]: Principal[Key] } = {
    id: from.id,
    kind: from.kind,
    scopes: Object.freeze([...from.scopes]),
    roles: Object.freeze([...from.roles]),
    credentialId: from.credentialId,
    claims: frozen(from.claims ?? NO_CLAIMS),
    authenticatedAt: from.authenticatedAt ?? 0,
    methods: frozen(from.methods ?? NO_METHODS),
  };
  if (from.issuer !== undefined) principal.issuer = from.issuer;
  if (from.actor !== undefined) principal.actor = Object.freeze({ id: from.actor.id });
  return Object.freeze(principal);
}

function frozen<T extends object>(value: T): T {
  return Object.isFrozen(value) ? value : deepFreeze(structuredClone(value));
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
