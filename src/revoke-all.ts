import type { ApiKeyService } from "./api-key/service.js";
import { foreignTokenName } from "./core/foreign-ids.js";
import { ID_FORM, idText, isPrincipalId } from "./core/identity.js";
import { InvalidInputError } from "./core/portcullis-error.js";
import type { Principal } from "./core/principal.js";
import type { Runtime } from "./core/runtime.js";
import type { JwtManager } from "./jwt/manager.js";
import type { SessionLayer } from "./session/middleware.js";
import { StoreUnavailableError } from "./stores/health/store-guard.js";

/** Options of `revokeAll`. */
export interface RevokeAllInput {
  /**
   * The one credential that stays in force: normally `req.principal`. For a session it is that session, for a token its
   * family (or the token itself, when it has none), for an API key that key. As text: the handle of a session, the id of
   * a family or of a key. Default: none.
   */
  readonly keep?: Principal | string | undefined;
  /** Why: the records of the keys say it. 1 to 200 characters without control characters. Default: `"revoked"`. */
  readonly reason?: string | undefined;
}

/** How many credentials `revokeAll` ended, of the kinds that are on. A number that is not known in time is absent. */
export interface RevokedCredentials {
  /** Sessions that the store had. */
  readonly sessions?: number;
  /** Families of refresh tokens that were in force, if there were fewer than 100. */
  readonly tokenFamilies?: number;
  /** API keys that had not been revoked before. */
  readonly apiKeys?: number;
}

/** See `SecurityBase.revokeAll`. */
export type RevokeAll = (id: string | number, options?: RevokeAllInput) => Promise<RevokedCredentials>;

/** The parts whose credentials it ends; those that are off are absent. */
interface Parts {
  readonly session: Pick<SessionLayer, "cutOff" | "endStored"> | undefined;
  readonly jwt: JwtManager | undefined;
  readonly apiKeys: ApiKeyService | undefined;
}

const NO_CONTROLS = /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\p{Surrogate}]{1,200}$/u;
/** Ids of API keys; handles of sessions and ids of families. The `jti` of an access token is longer. */
const CREDENTIAL_ID = /^(?:[0-9A-Za-z]{12}|[\w-]{22})$/;

/**
 * What `revokeAll` does, which a part of the library may have to do more than once for one cause.
 *
 * @param isAgain the first time has announced it
 */
export type CutOff = (id: string | number, options: RevokeAllInput, isAgain: boolean) => Promise<RevokedCredentials>;

export function createRevokeAll(parts: Parts, runtime: Runtime): RevokeAll {
  const cutOff = createCutOff(parts, runtime);
  return async function revokeAll(id, options = {}) {
    return cutOff(id, options, false);
  };
}

export function createCutOff({ session, jwt, apiKeys }: Parts, runtime: Runtime): CutOff {
  return async function cutOff(given, options, isAgain) {
    const id = idText(given);
    if (!isPrincipalId(id)) throw new InvalidInputError(`revokeAll: id must be ${ID_FORM}.`);
    const reason = reasonOf(options.reason);
    const keep = keptId(options.keep);

    /** Writes all marks, even when one of them fails. Returns the numbers of keys and families, where they are known. */
    async function mark(isSilent: boolean): Promise<Pick<RevokedCredentials, "apiKeys" | "tokenFamilies">> {
      const [keys, families, sessions] = await Promise.allSettled([
        apiKeys?.endAllOf({ ownerId: id as string, reason, keep, isAgain: isSilent }),
        jwt?.endAllOf(id as string, keep, isSilent),
        session?.cutOff(id as string, keep),
      ]);
      if (keys.status === "rejected") throw unavailable(keys.reason);
      if (families.status === "rejected") throw unavailable(families.reason);
      if (sessions.status === "rejected") throw unavailable(sessions.reason);
      return {
        ...(keys.value === undefined ? {} : { apiKeys: keys.value }),
        ...(families.value === undefined ? {} : { tokenFamilies: families.value }),
      };
    }

    const counted = await mark(isAgain);
    // Once more: a credential that was still in force may have made one of another kind meanwhile.
    await mark(true);
    const sessions = await session?.endStored(id, keep);
    if (!isAgain)
      runtime.events.emit("authn_token_revoked", () => ({ source: "security", reason: "revoke-all", subject: id }));
    return { ...(sessions === undefined ? {} : { sessions }), ...counted };
  };
}

function reasonOf(reason: unknown = "revoked"): string {
  if (typeof reason === "string" && NO_CONTROLS.test(reason)) return reason;
  throw new InvalidInputError("revokeAll: reason must be a string of 1 to 200 characters without control characters.");
}

/**
 * The id of the credential to keep: a session's handle, a family, a `jti` without a family, or a key.
 *
 * @throws InvalidInputError when it is none of them
 */
function keptId(keep: unknown): string | undefined {
  if (keep === undefined) return undefined;
  if (typeof keep === "string") {
    if (CREDENTIAL_ID.test(keep)) return keep;
    throw new InvalidInputError(
      "revokeAll: keep must be req.principal, the handle of a session, the id of a token family or the id of an API key. The jti of an access token is none of them.",
    );
  }
  const { kind, credentialId, claims, issuer } = (keep ?? {}) as Partial<Principal>;
  if (typeof kind !== "string" || typeof credentialId !== "string")
    throw new InvalidInputError("revokeAll: keep must be req.principal, or the id of a credential.");
  if (kind === "external") return undefined;
  if (kind !== "jwt") return credentialId;
  // A claim of another issuer that is called so names no family of ours.
  if (issuer !== undefined) return foreignTokenName(issuer, credentialId);
  return typeof claims?.fam === "string" ? claims.fam : credentialId;
}

function unavailable(error: unknown): unknown {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return code === "store-unavailable" ? new StoreUnavailableError("revocation", { cause: error }) : error;
}
