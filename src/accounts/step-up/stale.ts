import type { AuthenticationMethodName } from "../../core/authentication.js";
import { challenge } from "../../core/http/authorization.js";
import type { Principal } from "../../core/principal.js";
import type { Refusal } from "../../core/response/problem.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import { acceptedSets, type FreshPolicy } from "./decide.js";

/** What someone who is logged in can prove again here. */
export function offeredMethods({ passwords, factors }: ResolvedAccountsSettings): readonly AuthenticationMethodName[] {
  return [
    ...(passwords === false ? [] : (["pwd"] as const)),
    ...(factors.totp === false ? [] : (["totp"] as const)),
    ...(factors.totp === false || !factors.recoveryCodes ? [] : (["recovery"] as const)),
  ];
}

/** The refusal of a proof that is too old. A client with a token is told as RFC 9470 section 3 says. */
export function staleRefusal(
  principal: Principal,
  policy: FreshPolicy,
  offered: readonly AuthenticationMethodName[],
): Refusal {
  const header =
    principal.kind === "jwt"
      ? challenge("Bearer", { error: "insufficient_user_authentication", maxAge: policy.withinSeconds })
      : challenge("Session");
  return {
    code: "reauthentication-required",
    reason: "stale",
    members: { anyOf: acceptedSets(principal, policy, offered) },
    headers: { "WWW-Authenticate": header },
  };
}
