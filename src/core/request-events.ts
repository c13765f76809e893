import type { Request } from "express";
import type { CredentialKind, Principal } from "./principal.js";
import { requestFacts } from "./response/refuse.js";
import type { RequestState } from "./request-state.js";
import type { Runtime } from "./runtime.js";

/** Makes `principal` who is calling, and announces it (ASVS 16.3.1) to listeners of that event alone: it comes with every request. */
export function acceptPrincipal(
  req: Request,
  state: RequestState,
  runtime: Runtime,
  source: CredentialKind,
  principal: Principal,
): void {
  req.principal = principal;
  state.isPrivate = true;
  runtime.events.emit("portcullis_credential_accepted", () => ({ source, ...requestFacts(req) }));
}
