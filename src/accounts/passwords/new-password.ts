import type { StoredCredential } from "../../stores/contracts.js";
import type { JsonValue } from "../../stores/json.js";
import { newId } from "../secrets.js";
import type { ResolvedPasswordSettings } from "../settings.js";
import type { Person } from "../types.js";
import type { PasswordHasher } from "./hasher.js";
import { PASSWORD_KIND, passwordData } from "./record.js";

/** Whose password it is to be. Someone who registers is no `Person` yet. */
export type PasswordOwner = Pick<Person, "login" | "email">;

/** What a credential of the kind `password` keeps. */
export type PasswordData = Readonly<Record<string, JsonValue>>;

/** A new password, ready to be stored; or why it cannot be used, as words for `password-refused`. */
export type NewPassword =
  { readonly ok: true; readonly data: PasswordData } | { readonly ok: false; readonly reasons: readonly string[] };

/** What reset and registration need of passwords. Its work calls no store: put it into `time.besides`. */
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
export function passwordMaker(settings: ResolvedPasswordSettings, hasher: PasswordHasher): PasswordMaker {
  return {
    async newPasswordData(_owner, plain, credentials, callers) {
      const text = plain.normalize("NFKC");
      const hasSecond = credentials.some(({ kind, confirmedAt }) => kind === "totp" && confirmedAt !== null);
      const least = hasSecond ? settings.minLengthWithSecondFactor : settings.minLength;
      const reasons = [
        ...([...text].length < least ? ["too-short"] : []),
        ...(Buffer.byteLength(text) > settings.maxLength ? ["too-long"] : []),
      ];
      if (reasons.length > 0) return { ok: false, reasons };
      const isLong = [...text].length >= settings.minLength;
      return { ok: true, data: passwordData({ hash: await hasher.hash(plain, callers), isLong }) };
    },
    matches(data, plain, callers) {
      const { hash } = data ?? {};
      return hasher.verify(typeof hash === "string" ? hash : undefined, plain, callers);
    },
  };
}

/** The credential of a person's password. There is one: its name is the person's id. */
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
