import type { Request } from "express";
import { AddressList } from "../core/http/address-list.js";
import { challenge } from "../core/http/authorization.js";
import type { Refusal } from "../core/response/problem.js";
import { missingScopes } from "../core/scopes.js";
import { tokenEndOf } from "../core/token-expiry.js";
import {
  type ExceededGrant,
  exceededGrant,
  type ApiKeyMaker,
  makerOf,
  MANAGE_SCOPE,
  MAX_MAKERS,
  type Grants,
  stateProblem,
} from "./decide.js";
import type { ApiKeyRecord } from "./keys/records.js";
import type { ApiKeyService } from "./service.js";

/** Who manages keys here, and what they have to give. */
export interface Caller {
  readonly ownerId: string;
  /** The key they call with, when it is one. */
  readonly key: ApiKeyRecord | undefined;
  readonly powers: Grants;
  readonly allow: AddressList | undefined;
  /** What is written into the keys they make. */
  readonly maker: ApiKeyMaker;
}

/** The refusals that depend on who calls, built once. */
export interface CallerRefusals {
  readonly missing: Refusal;
  readonly invalid: Refusal;
  readonly mayNotManage: Refusal;
  readonly tooDeep: Refusal;
  readonly beyondOwn: Readonly<Record<ExceededGrant, Refusal>>;
}

export function callerRefusals(realm: string): CallerRefusals {
  // RFC 6750 section 3.1: no error code when no credential came.
  const both = { "WWW-Authenticate": `${challenge("Bearer", { realm })}, ${challenge("ApiKey", { realm })}` };
  const scope = {
    "WWW-Authenticate": challenge("Bearer", { realm, error: "insufficient_scope", scopes: [MANAGE_SCOPE] }),
  };
  const beyond = (reason: string, detail: string): Refusal => ({ code: "insufficient-scope", reason, detail });
  return {
    missing: { code: "missing-credentials", reason: "no-principal", headers: both },
    invalid: { code: "invalid-credentials", reason: "key-no-longer-valid", headers: both },
    mayNotManage: { code: "insufficient-scope", reason: "manage-scope-missing", headers: scope },
    tooDeep: beyond("too-many-makers", `A key has at most ${MAX_MAKERS} makers, one after the other.`),
    beyondOwn: {
      scope: beyond("scope-beyond-own", "A key cannot be given scopes its maker does not hold."),
      role: beyond("role-beyond-own", "A key cannot be given roles its maker does not hold."),
      expiry: beyond(
        "expiry-beyond-own",
        "A key cannot outlive the key that made it, nor the lifetime a token may give.",
      ),
      address: beyond("address-beyond-own", "A key made with a key cannot work from more addresses than it."),
      limit: beyond("limit-beyond-own", "A key made with a key has its window, and at most its limit."),
    },
  };
}

/**
 * The caller by `req.principal`. Everybody but the person of a session needs the managing scope. What a token makes ends
 * with the token, or after `maxLifetimeMs`. A caller with an API key needs the managing scope, and is looked up afresh: a
 * remembered key may be `cacheSeconds` old, which is too old to mint keys with.
 */
export async function callerOf(
  req: Request,
  service: ApiKeyService,
  refusals: CallerRefusals,
  maxLifetimeMs: number | undefined,
): Promise<Caller | Refusal> {
  const { principal } = req;
  if (principal === undefined) return refusals.missing;
  if (principal.kind !== "api-key") {
    const { id, scopes, roles, credentialId } = principal;
    const isPerson = principal.kind === "session";
    if (!isPerson && missingScopes(scopes, [MANAGE_SCOPE]).length > 0) return refusals.mayNotManage;
    const now = service.runtime.clock.now();
    const expiresAt = isPerson
      ? null
      : maxLifetimeMs === undefined
        ? (tokenEndOf(principal) ?? now)
        : now + maxLifetimeMs;
    const maker = { madeBy: credentialId, lineage: null, path: [] };
    return {
      ownerId: id,
      key: undefined,
      powers: { scopes, roles, expiresAt, allow: [], rateLimit: null },
      allow: undefined,
      maker,
    };
  }
  const key = await service.get(principal.credentialId);
  if (key === undefined || key.ownerId !== principal.id || stateProblem(key, service.runtime.clock.now()) !== undefined)
    return refusals.invalid;
  if (missingScopes(key.scopes, [MANAGE_SCOPE]).length > 0) return refusals.mayNotManage;
  return {
    ownerId: principal.id,
    key,
    powers: key,
    allow: key.allow.length === 0 ? undefined : new AddressList(key.allow),
    maker: makerOf(key),
  };
}

/** The refusal of a key with `wanted` powers, or `undefined` when the caller may make or rotate it. */
export function exceedsGrants(caller: Caller, wanted: Grants, refusals: CallerRefusals): Refusal | undefined {
  const found = exceededGrant(caller.powers, wanted, caller.allow);
  return found === undefined ? undefined : refusals.beyondOwn[found];
}
