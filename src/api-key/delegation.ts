import type { Request } from "express";
import { AddressList } from "../core/http/address-list.js";
import { challenge } from "../core/http/authorization.js";
import type { Refusal } from "../core/response/problem.js";
import { MANAGE_SCOPE, missingScopes } from "../core/scopes.js";
import { tokenEndOf } from "../core/token-expiry.js";
import {
  type ExceededGrant,
  exceededGrant,
  type ApiKeyMaker,
  makerOf,
  MAX_MAKERS,
  type Grants,
  stateProblem,
} from "./decide.js";
import type { ApiKeyRecord } from "./keys/records.js";
import type { ApiKeyService } from "./service.js";

/** The caller that manages keys, with the grants it can delegate. */
export interface Caller {
  readonly ownerId: string;
  /** The API key that authenticated the caller, if any. */
  readonly key: ApiKeyRecord | undefined;
  readonly grants: Grants;
  readonly allow: AddressList | undefined;
  /** The maker recorded in the keys that the caller creates. */
  readonly maker: ApiKeyMaker;
  /** Whether nothing says when keys that the caller creates must end: it then creates none. */
  readonly lacksLifetime: boolean;
}

/** The refusals that depend on the caller, built once. */
export interface CallerRefusals {
  readonly missing: Refusal;
  readonly invalid: Refusal;
  readonly mayNotManage: Refusal;
  readonly noLifetime: Refusal;
  /** The app names no owner whose keys the caller may manage, or failed to. */
  readonly noOwner: Refusal;
  readonly ownerFailed: Refusal;
  readonly tooDeep: Refusal;
  readonly exceeding: Readonly<Record<ExceededGrant, Refusal>>;
}

const OTHERS_KEYS = "This caller manages no API keys here.";

export function callerRefusals(realm: string): CallerRefusals {
  // RFC 6750 section 3.1: no error code when the request has no credential.
  const both = { "WWW-Authenticate": `${challenge("Bearer", { realm })}, ${challenge("ApiKey", { realm })}` };
  const scope = {
    "WWW-Authenticate": challenge("Bearer", { realm, error: "insufficient_scope", scopes: [MANAGE_SCOPE] }),
  };
  const refusal = (reason: string, detail: string): Refusal => ({ code: "insufficient-scope", reason, detail });
  return {
    missing: { code: "missing-credentials", reason: "no-principal", headers: both },
    invalid: { code: "invalid-credentials", reason: "key-no-longer-valid", headers: both },
    mayNotManage: { code: "insufficient-scope", reason: "manage-scope-missing", headers: scope },
    noOwner: refusal("no-owner", OTHERS_KEYS),
    ownerFailed: refusal("owner-failed", OTHERS_KEYS),
    noLifetime: refusal(
      "lifetime-not-set",
      "This service sets no lifetime for the keys of callers that another system has authenticated.",
    ),
    tooDeep: refusal(
      "too-many-makers",
      `A chain of keys, each created with the one before it, can have at most ${MAX_MAKERS + 1} keys.`,
    ),
    exceeding: {
      scope: refusal("scope-beyond-own", "A key cannot have scopes that its creator does not have."),
      role: refusal("role-beyond-own", "A key cannot have roles that its creator does not have."),
      expiry: refusal(
        "expiry-beyond-own",
        "A key cannot expire later than the key that created it, or, if created with a token, later than the token allows.",
      ),
      address: refusal(
        "address-beyond-own",
        "A key created with a key cannot allow addresses that its creator does not allow.",
      ),
      limit: refusal(
        "limit-beyond-own",
        "A key created with a key must have the same rate-limit window and at most the same limit.",
      ),
    },
  };
}

/**
 * Returns the caller, from `req.principal`. Every caller needs the managing scope, except the user of a session. Keys
 * created with a token expire with the token, or after `maxLifetimeMs`; those of an external caller only after
 * `maxLifetimeMs`, because the credential's end is not known here. The key of a caller with an API key is read
 * from the store: a cached record may be `cacheSeconds` old, which is too old for creating keys.
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
      grants: { scopes, roles, expiresAt, allow: [], rateLimit: null },
      allow: undefined,
      maker,
      lacksLifetime: principal.kind === "external" && maxLifetimeMs === undefined,
    };
  }
  const key = await service.get(principal.credentialId);
  if (key === undefined || key.ownerId !== principal.id || stateProblem(key, service.runtime.clock.now()) !== undefined)
    return refusals.invalid;
  if (missingScopes(key.scopes, [MANAGE_SCOPE]).length > 0) return refusals.mayNotManage;
  return {
    ownerId: principal.id,
    key,
    grants: key,
    allow: key.allow.length === 0 ? undefined : new AddressList(key.allow),
    maker: makerOf(key),
    lacksLifetime: false,
  };
}

/** Returns the refusal of a key with the grants `wanted`, or `undefined` when the caller may create or rotate it. */
export function exceedsGrants(caller: Caller, wanted: Grants, refusals: CallerRefusals): Refusal | undefined {
  if (caller.lacksLifetime) return refusals.noLifetime;
  const found = exceededGrant(caller.grants, wanted, caller.allow);
  return found === undefined ? undefined : refusals.exceeding[found];
}
