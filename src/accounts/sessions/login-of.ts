import type { Principal } from "../../core/principal.js";

/** The family of the token that proved a principal, if it has one. */
export function familyOf({ kind, issuer, claims }: Principal): string | undefined {
  return kind === "jwt" && issuer === undefined && typeof claims.fam === "string" ? claims.fam : undefined;
}

/** What names a log-in for as long as it lasts: the handle of a session, the id of a token family. */
export function loginOf(principal: Principal): string {
  return familyOf(principal) ?? principal.credentialId;
}
