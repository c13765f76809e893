import type { AccountNotice } from "portcullis/accounts";

const SUBJECTS: Readonly<Record<AccountNotice["kind"], string>> = {
  "verify-email": "Confirm your address",
  "password-reset": "Choose a new password",
  "account-exists": "Somebody tried to make an account with your address; you have one",
  "password-changed": "Your password was changed",
  "factor-added": "A second step was set up",
  "factor-removed": "The second step was removed",
  "recovery-codes-made": "New recovery codes were made",
  "recovery-code-used": "A recovery code was used",
  "factor-locked": "There were too many wrong codes, so the second step is locked for a while",
  "password-disabled": "There were too many wrong passwords, so yours is disabled until you choose a new one",
  "password-breached": "Your password is known from a leak; choose a new one",
};

/** A notice as a mail, which the example prints instead of sending it. */
export function mailOf({ kind, user, link, recoveryCodesLeft }: AccountNotice): string {
  return [
    `Mail to ${user.email ?? user.login}: ${SUBJECTS[kind]}`,
    ...(link === undefined ? [] : [`  ${link}`]),
    ...(recoveryCodesLeft === undefined ? [] : [`  ${recoveryCodesLeft} codes are left.`]),
  ].join("\n");
}
