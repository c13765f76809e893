import type { StoredCredential } from "../../stores/contracts.js";
import type { JsonValue } from "../../stores/json.js";

/** The kind of the credential that is a person's password; a person has at most one. */
export const PASSWORD_KIND = "password";
/** The kind of the devices that the person has logged in with. */
export const DEVICE_KIND = "device";
/** The kind of the links with which a password is reset. */
export const RESET_KIND = "password-reset";

/**
 * The kind of an authenticator app that is being set up: one for a person, so its name is their id. It proves nothing, and
 * whoever began it knows its secret.
 */
export const ENROLMENT_KIND = "totp-enrolment";

/** What ends with a password: what it opened, and what would replace it. */
export const ENDS_WITH_PASSWORD: readonly string[] = [PASSWORD_KIND, DEVICE_KIND, RESET_KIND, ENROLMENT_KIND];

/** What is stored of a password. */
export interface StoredPassword {
  /** PHC text of argon2, or the text of an imported bcrypt hash. */
  readonly hash: string;
  /** The id of the pepper that was hashed with it. */
  readonly pepper?: string | undefined;
  /** Whether it has `minLength` characters, and so may be the only factor. Unknown of an imported one: then false. */
  readonly isLong: boolean;
  /** Another system made the hash, from the text as it was typed. */
  readonly isImported?: boolean | undefined;
  /** What is known of leaks beyond "not found": the service did not answer, or found it later. */
  readonly breach?: "not-checked" | "found" | undefined;
}

/** What is stored of a password; `undefined` for a damaged record. */
export function storedPasswordOf({ data }: StoredCredential): StoredPassword | undefined {
  return storedPasswordIn(data);
}

/** What the data of a record say; `undefined` when they are damaged. */
export function storedPasswordIn(data: Readonly<Record<string, JsonValue>>): StoredPassword | undefined {
  const { hash, pepper, isLong, isImported, breach } = data;
  if (typeof hash !== "string" || (pepper !== undefined && typeof pepper !== "string")) return undefined;
  return {
    hash,
    pepper,
    isLong: isLong === true,
    isImported: isImported === true,
    breach: breach === "not-checked" || breach === "found" ? breach : undefined,
  };
}

/** The members of a record, without those that say nothing. */
export function passwordData({ hash, pepper, isLong, isImported, breach }: StoredPassword): Record<string, JsonValue> {
  return {
    hash,
    isLong,
    ...(pepper === undefined ? {} : { pepper }),
    ...(isImported === true ? { isImported } : {}),
    ...(breach === undefined ? {} : { breach }),
  };
}

/**
 * Whether a person may be without a second factor, as far as their password goes: it has `minLength` characters, or they
 * have none.
 */
export function passwordStandsAlone(credentials: readonly StoredCredential[]): boolean {
  return credentials.every((one) => one.kind !== PASSWORD_KIND || storedPasswordOf(one)?.isLong === true);
}

/** A record of the library's own among the credentials. */
export function ownRecord(names: Pick<StoredCredential, "id" | "ownerId" | "kind" | "name">): StoredCredential {
  return {
    ...names,
    data: {},
    createdAt: 0,
    confirmedAt: null,
    usedAt: null,
    expiresAt: null,
    counter: -1,
    failures: 0,
    version: 0,
  };
}
