import { type Authentication, NO_METHODS, storedMethods } from "../core/authentication.js";
import { createPrincipal, type Principal } from "../core/principal.js";
import { SESSION_METADATA, type SessionMetadata } from "../stores/contracts.js";

/** Returns the app's part of a session's data: the properties of `req.session` without its cookie. */
export function appData(source: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(source).filter(([key]) => key !== "cookie" && key !== SESSION_METADATA && key !== "__proto__"),
  );
}

/**
 * Reads the session metadata from a stored record. Returns `undefined` when the session layer did not write the record.
 */
export function readMetadata(record: object): SessionMetadata | undefined {
  const value = (record as Record<string, unknown>)[SESSION_METADATA];
  if (typeof value !== "object" || value === null) return undefined;
  const { createdAt, seenAt, principal, maxAgeMs, label, since, actorSince } = value as Record<string, unknown>;
  if (!isTime(createdAt) || !isTime(seenAt)) return undefined;
  if (principal === null) return { createdAt, seenAt, principal };
  if (typeof principal !== "object" || principal === undefined) return undefined;
  const { id, scopes, roles, actor, authenticatedAt, methods } = principal as Record<string, unknown>;
  if (typeof id !== "string" || id === "" || !isStrings(scopes) || !isStrings(roles)) return undefined;
  const isPlain = actor === undefined && authenticatedAt === undefined && methods === undefined;
  if (isPlain && maxAgeMs === undefined && label === undefined && since === undefined && actorSince === undefined)
    return { createdAt, seenAt, principal: { id, scopes, roles } };
  if (!isOptional(isTime, maxAgeMs) || !isOptional(isText, label) || !isOptional(isActor, actor)) return undefined;
  const proved = methods === undefined ? NO_METHODS : storedMethods(methods);
  if (!isOptional(isTime, since) || !isOptional(isTime, actorSince)) return undefined;
  if (!isOptional(isTime, authenticatedAt) || proved === undefined) return undefined;
  return {
    createdAt,
    seenAt,
    principal: {
      id,
      scopes,
      roles,
      ...(actor === undefined ? {} : { actor: { id: actor.id } }),
      ...(authenticatedAt === undefined ? {} : { authenticatedAt }),
      ...(proved.length === 0 ? {} : { methods: proved }),
    },
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
    ...(label === undefined ? {} : { label }),
    ...(since === undefined ? {} : { since }),
    ...(actorSince === undefined ? {} : { actorSince }),
  };
}

/** Returns the principal of a session. @param handle identifies the session without revealing its id */
export function principalOf(handle: string, metadata: SessionMetadata): Principal | undefined {
  const { principal, createdAt } = metadata;
  if (principal === null) return undefined;
  const authenticatedAt = principal.authenticatedAt ?? createdAt;
  return createPrincipal({ ...principal, authenticatedAt, kind: "session", credentialId: handle });
}

/** How and when the user of a session was authenticated. @param createdAt when the session began */
export function authenticationOf(
  { authenticatedAt, methods }: NonNullable<SessionMetadata["principal"]>,
  createdAt: number,
): Authentication {
  return { authenticatedAt: authenticatedAt ?? createdAt, methods: methods ?? NO_METHODS };
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function isOptional<T>(is: (value: unknown) => value is T, value: unknown): value is T | undefined {
  return value === undefined || is(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isActor(value: unknown): value is { readonly id: string } {
  return typeof value === "object" && value !== null && "id" in value && isText(value.id) && value.id !== "";
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}
