import type { Request } from "express";
import { pathOf } from "./http/authority.js";
import { maskCredentials } from "./mask-credentials.js";
import type { CredentialKind, Principal } from "./principal.js";
import { type RequestState, stateOf } from "./request-state.js";
import type { Runtime } from "./runtime.js";

/**
 * Sets `req.principal`, and announces it (ASVS 16.3.1) only to listeners for that event name: it occurs with every
 * request.
 */
export function setPrincipal(
  req: Request,
  state: RequestState,
  runtime: Runtime,
  source: CredentialKind,
  principal: Principal,
): void {
  req.principal = principal;
  state.isPrivate = true;
  runtime.events.emit("portcullis_credential_accepted", () => ({ source, ...requestContext(req) }));
}

/**
 * Describes the request in an event: no query string, no credential in the path, nothing that could forge a log line.
 */
export function requestContext(req: Request): {
  sourceIp: string;
  method: string;
  path: string;
  subject?: string;
  credentialId?: string;
  actor?: string;
} {
  const state = stateOf(req);
  // Only the path: an absolute-form target would bring the attacker's host into the log.
  const path = maskCredentials(pathOf(req) ?? "").slice(0, 256);
  return {
    sourceIp: state.address(req),
    method: req.method,
    path: path.replace(/[^\x21-\x7e]/g, escapeByte),
    ...(req.principal === undefined ? {} : callerOf(req.principal)),
  };
}

function callerOf({ id, credentialId, actor }: Principal): { subject: string; credentialId: string; actor?: string } {
  return actor === undefined ? { subject: id, credentialId } : { subject: id, credentialId, actor: actor.id };
}

function escapeByte(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
}
