import { createHash } from "node:crypto";
import { foreignId, foreignTokenName } from "../../core/foreign-ids.js";
import { idText, isPrincipalId, isRole, isScope } from "../../core/identity.js";
import { MANAGE_SCOPE } from "../../core/scopes.js";
import type { ForeignIdentity } from "../decide.js";
import { isTokenId } from "../grant.js";
import { own } from "./claims.js";
import type { ForeignClaims } from "./mapping-settings.js";

/** The settings that say what a token stands for. */
export interface Mapping {
  readonly id?: ((claims: ForeignClaims) => string | number) | undefined;
  readonly scopes?: ListSource | undefined;
  readonly roles?: ListSource | undefined;
}

type ListSource = string | ((claims: ForeignClaims) => readonly string[]);

/** A principal; or which setting did not make one. `subject`: there is no usable `sub`. */
export type IdentityVerdict =
  | { readonly ok: true; readonly identity: ForeignIdentity }
  | { readonly ok: false; readonly problem: "id" | "scopes" | "roles" | "subject" };

const SCOPE_CLAIMS = ["scope", "scp", "permissions"];

/**
 * Determines the principal of a token from its verified claims. The functions of the settings may throw or return
 * anything.
 *
 * @param issuer `undefined`: the ids are this app's own
 * @param credentialId see `credentialIdOf`
 */
export function identityOf(
  claims: ForeignClaims,
  issuer: string | undefined,
  mapping: Mapping,
  credentialId: string,
): IdentityVerdict {
  const id = mapping.id === undefined ? subjectId(claims, issuer) : idText(called(mapping.id, claims));
  if (!isPrincipalId(id)) return { ok: false, problem: mapping.id === undefined ? "subject" : "id" };
  const scopes = listOf(claims, mapping.scopes, SCOPE_CLAIMS, isScope, isTakenScope);
  if (scopes === undefined) return { ok: false, problem: "scopes" };
  const roles = listOf(claims, mapping.roles, [], isRole, isRole);
  if (roles === undefined) return { ok: false, problem: "roles" };
  const { iat } = claims;
  const issuedAt = typeof iat === "number" ? Math.floor(iat * 1000) : 0;
  const tokenName = issuer === undefined ? undefined : foreignTokenName(issuer, credentialId);
  return { ok: true, identity: Object.freeze({ issuer, id, scopes, roles, credentialId, tokenName, issuedAt }) };
}

/**
 * The `jti`, by which `revokeToken` ends the token. Without one, a hash of what is signed: not of the signature, of
 * which ECDSA allows a second form.
 */
export function credentialIdOf(token: string, jti: unknown): string {
  return typeof jti === "string" && isTokenId(jti)
    ? jti
    : createHash("sha256")
        .update(token.slice(0, token.lastIndexOf(".")))
        .digest("base64url");
}

/** Two issuers with the same subject are two principals. A former app's subjects may be numbers. */
function subjectId(claims: ForeignClaims, issuer: string | undefined): unknown {
  const sub = own(claims, "sub");
  if (issuer === undefined) return idText(sub);
  return typeof sub === "string" && sub !== "" ? foreignId(issuer, sub) : undefined;
}

/**
 * A list of scopes or roles; `undefined` when a function failed.
 *
 * @param isValid what a function may return
 * @param isTaken what is taken from a claim; all else in it is left out
 */
function listOf(
  claims: ForeignClaims,
  source: ListSource | undefined,
  defaults: readonly string[],
  isValid: (entry: unknown) => entry is string,
  isTaken: (entry: unknown) => entry is string,
): readonly string[] | undefined {
  if (typeof source === "function") {
    const list = called(source, claims);
    if (!Array.isArray(list) || !list.every(isValid)) return undefined;
    return Object.freeze([...new Set(list)]);
  }
  const values = source === undefined ? defaults.map((name) => own(claims, name)) : [claimAt(claims, source)];
  return Object.freeze([...new Set(values.flatMap(words).filter(isTaken))]);
}

/** The words of a claim: text with spaces (RFC 8693 section 4.2), or a list. */
function words(value: unknown): readonly unknown[] {
  if (typeof value === "string") return value.split(" ");
  return Array.isArray(value) ? value : [];
}

/** A claim of this name, or the member that its parts lead to. */
function claimAt(claims: ForeignClaims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name
    .split(".")
    .reduce<unknown>(
      (value, part) =>
        typeof value === "object" && value !== null && Object.hasOwn(value, part)
          ? (value as Record<string, unknown>)[part]
          : undefined,
      claims,
    );
}

/** Another issuer does not know our wildcards, nor the scope by which keys are made. */
function isTakenScope(entry: unknown): entry is string {
  return isScope(entry) && !entry.includes("*") && entry !== MANAGE_SCOPE;
}

/** What a function of the app returns; `undefined` when it throws. */
function called(ask: (claims: ForeignClaims) => unknown, claims: ForeignClaims): unknown {
  try {
    const answer = ask(claims);
    // A promise is no answer; its rejection must not end the process.
    if (answer instanceof Promise) answer.catch(() => undefined);
    return answer;
  } catch {
    return undefined;
  }
}
