import type { AccountsContext, AccountsPart } from "../context.js";
import type { MailLimits } from "../mail-limits.js";
import type { PasswordsPart } from "../passwords/passwords.js";
import { forgotRoute } from "./forgot.js";
import { redeemRoute } from "./redeem.js";

/** A new password by a link. Without passwords, or without `notify` to send the link, there is none. */
export function createReset(
  context: AccountsContext,
  { maker, devices }: Pick<PasswordsPart, "maker" | "devices">,
  limits: MailLimits,
): AccountsPart {
  if (maker === undefined || devices === undefined || !context.notices.canSend) return { routes: [] };
  return { routes: [forgotRoute(context, limits), redeemRoute(context, { maker, devices }, limits)] };
}
