import type { AccountsContext, AccountsPart } from "../context.js";
import type { MailLimits } from "../mail-limits.js";
import type { PasswordMaker } from "../passwords/new-password.js";
import { Completion } from "./complete.js";
import { guessing } from "./guess.js";
import { Registrations } from "./pending.js";
import { registerAtOnce, registerByMail } from "./register.js";
import { verifyRoute } from "./verify.js";

/**
 * Registration: confirmed by mail where the app can send some, otherwise at once by user name. Without passwords or
 * `users.create` there is none.
 */
export function createRegistration(
  context: AccountsContext,
  maker: PasswordMaker | undefined,
  limits: MailLimits,
): AccountsPart {
  const { settings, notices, host } = context;
  if (maker === undefined || settings.users.create === undefined) return { routes: [] };
  const registrations = new Registrations(context);
  const completion = new Completion(context, registrations);
  const guess = guessing(host, maker);
  const parts = { maker, limits, registrations };
  if (!notices.canSend) return { routes: [registerAtOnce(context, parts, completion, guess)] };
  return { routes: [registerByMail(context, parts), verifyRoute(context, registrations, completion, guess)] };
}
