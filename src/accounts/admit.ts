import type { Clock } from "../core/clock.js";
import type { Admit } from "./http/router.js";
import { NOT_IN_PERSON, NOT_LOGGED_IN } from "./refusals.js";
import type { ResolvedAccountsSettings } from "./settings.js";
import { isFresh } from "./step-up/decide.js";
import { offeredMethods, staleRefusal } from "./step-up/stale.js";

/** Decides who may use a route: people with their own session or token, and for some of them only soon after a proof. */
export function admission(settings: ResolvedAccountsSettings, clock: Clock): Admit {
  const policy = { withinSeconds: settings.freshSeconds, anyOf: undefined };
  const offered = offeredMethods(settings);
  return (req, access) => {
    if (access === "anyone") return undefined;
    const { principal } = req;
    if (principal === undefined) return NOT_LOGGED_IN;
    const isOwn = principal.kind === "session" || (principal.kind === "jwt" && principal.issuer === undefined);
    if (!isOwn) return NOT_IN_PERSON;
    // Someone who acts for a person sees what the person sees, and changes nothing.
    if (principal.actor !== undefined && (access === "fresh" || req.method !== "GET")) return NOT_IN_PERSON;
    if (access === "person") return undefined;
    return isFresh(principal, policy, clock.now()) ? undefined : staleRefusal(principal, policy, offered);
  };
}
