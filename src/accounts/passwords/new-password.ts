import type { CredentialUpdate, StoredCredential } from "../../stores/contracts.js";
import type { JsonValue } from "../../stores/json.js";
import type { Holdings } from "../gate/holdings.js";
import { newId } from "../secrets.js";
import type { PasswordHasher } from "./hasher.js";
import { readPassword } from "./plain-text.js";
import type { PasswordReason } from "./policy.js";
import { PASSWORD_KIND, passwordData, storedPasswordIn } from "./record.js";
import type { PasswordOwner, PasswordRules } from "./rules.js";

/** What a credential of the kind `password` keeps. */
export type PasswordData = Readonly<Record<string, JsonValue>>;

/** A new password, ready to be stored; or why it cannot be used, as words for `password-refused`. */
export type NewPassword =
  | {
      readonly ok: true;
      readonly data: PasswordData;
      /** For the change that stores it: a short one is stored only while the second factor that allows it is there. */
      readonly update: readonly CredentialUpdate[];
    }
  | { readonly ok: false; readonly reasons: readonly PasswordReason[] };

/** Makes and compares passwords. Its work calls no store: put it into `time.besides`. */
export interface PasswordMaker {
  /**
   * Checks a new password against the rules and hashes it.
   *
   * @param credentials of the person: beside a second factor a shorter password will do
   * @param callers to whom the work is charged, such as the client's address
   * @throws HashUnavailableError (rejects)
   */
  newPasswordData(
    owner: PasswordOwner,
    plain: string,
    credentials: readonly StoredCredential[],
    callers: readonly string[],
  ): Promise<NewPassword>;
  /**
   * Whether a password is the one that was made into `data`; the work is the same for `undefined`.
   *
   * @throws HashUnavailableError (rejects)
   */
  matches(data: PasswordData | undefined, plain: string, callers: readonly string[]): Promise<boolean>;
}

/** Makes passwords by the rules of the settings. */
export function passwordMaker(rules: PasswordRules, hasher: PasswordHasher, holdings: Holdings): PasswordMaker {
  return {
    async newPasswordData(owner, typed, credentials, callers) {
      const factor = secondFactorOf(holdings, credentials);
      const { ok, reasons, plain, breach } = await rules.check(typed, owner, factor !== undefined);
      if (!ok || plain === undefined) return { ok: false, reasons };
      const made = await hasher.hash(plain, { callers });
      const isLong = rules.isLong(plain.text);
      return {
        ok: true,
        data: passwordData({ ...made, isLong, breach: breach === "clean" ? undefined : breach }),
        update: isLong || factor === undefined ? [] : [{ id: factor.id, version: factor.version }],
      };
    },
    async matches(data, typed, callers) {
      const plain = readPassword(typed);
      if (typeof plain === "string") return false;
      const stored = data === undefined ? undefined : storedPasswordIn(data);
      return (await hasher.compare(stored, plain, { callers })) === "match";
    },
  };
}

/** A second factor among these credentials that can be proved; recovery codes alone are none. */
function secondFactorOf({ factors }: Holdings, credentials: readonly StoredCredential[]): StoredCredential | undefined {
  return factors.flatMap(({ isFactor, usable }) => (isFactor ? usable(credentials) : []))[0];
}

/**
 * The credential of a person's password. There is one: its name is the person's id. Its own id names the password for
 * devices: a new password has a new one, and a new hash of the same password keeps it.
 */
export function passwordCredential(personId: string, data: PasswordData, now: number): StoredCredential {
  return {
    id: newId(),
    ownerId: personId,
    kind: PASSWORD_KIND,
    name: personId,
    data,
    createdAt: now,
    confirmedAt: now,
    usedAt: null,
    expiresAt: null,
    counter: -1,
    failures: 0,
    version: 0,
  };
}
