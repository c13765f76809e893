import type { AccountsContext, AccountsPart } from "../context.js";
import { totpEnrolment } from "./enrolment.js";
import type { SecondFactor } from "./factor.js";
import { factorLogIn } from "./log-in.js";
import { type AccountFactors, factorManagement } from "./manage.js";
import { createRecoveryCodes } from "./recovery-codes.js";
import { createTotp } from "./totp.js";

/** The second factors that are on. A passkey is one more entry. */
export function secondFactors(context: AccountsContext): readonly SecondFactor[] {
  const { totp, recoveryCodes } = context.settings.factors;
  return [
    ...(totp === false ? [] : [createTotp(context)]),
    ...(recoveryCodes && totp !== false ? [createRecoveryCodes(context)] : []),
  ];
}

/** Second factors: log-in, enrolment, and what people and the app do with them. */
export function createFactors(context: AccountsContext): AccountsPart & { readonly api: AccountFactors } {
  const { api, routes } = factorManagement(context);
  const totp = totpEnrolment(context);
  const whole = Object.freeze({ ...api, enrolment: totp.enrolment });
  if (context.settings.factors.totp === false) return { api: whole, routes: [] };
  return { api: whole, routes: [factorLogIn(context), ...totp.routes, ...routes] };
}
