import { createHash } from "node:crypto";

/**
 * The ids of principals whose tokens another issuer signs: `<issuer>|<subject>`. The app's own users, tokens and keys
 * must have no such id, or they would be taken for a person of the issuer.
 */
export class ForeignIds {
  readonly #prefixes = new Set<string>();

  /** Reserves the ids of an issuer. */
  add(issuer: string): void {
    this.#prefixes.add(foreignId(issuer, ""));
  }

  /** Whether an id belongs to a subject of one of the issuers. */
  has(id: string): boolean {
    for (const prefix of this.#prefixes) if (id.startsWith(prefix)) return true;
    return false;
  }
}

/** The id of a subject of an issuer. An issuer contains no `|`, so two pairs never have one id. */
export function foreignId(issuer: string, subject: string): string {
  return `${issuer}|${subject}`;
}

/**
 * The name of a token of an issuer in revocations: two issuers may give their tokens one `jti`. It stands where the family
 * of our own tokens stands, which such a token does not have.
 *
 * @param credentialId the `jti`, or the hash of a token without one
 */
export function foreignTokenName(issuer: string, credentialId: string): string {
  return createHash("sha256").update(`${issuer}|${credentialId}`).digest("base64url");
}

/** For the message of an error. */
export const FOREIGN_ID = "The id begins with an issuer of jwt.issuers and |: it belongs to a subject of that issuer.";
