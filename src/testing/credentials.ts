import type { ApiKeyService } from "../api-key/service.js";
import { SetupError } from "../core/setup-error.js";
import type { JwtManager } from "../jwt/manager.js";

/** The user whom a credential is for. */
export interface TestUser {
  /** The user's id. */
  readonly id: string;
  /** Scopes. Default: none. */
  readonly scopes?: readonly string[];
  /** Roles. Default: none. */
  readonly roles?: readonly string[];
}

/**
 * An API key for a test user, for the header X-API-Key.
 *
 * @param security what `applySecurity` returned, or an object with an `ApiKeyService`
 * @throws InvalidInputError (rejects) when the id, a scope or a role is malformed
 * @throws SetupError (rejects) when `apiKeys` is off
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { apiKeyFor } from "portcullis/testing";
 *
 * const security = applySecurity(express(), { debug: true, apiKeys: {} });
 * const key = await apiKeyFor(security, { id: "ada", scopes: ["orders:read"] });
 * ```
 */
export async function apiKeyFor(security: { readonly apiKeys?: ApiKeyService }, user: TestUser): Promise<string> {
  const { id, scopes = [], roles = [] } = user;
  if (security.apiKeys === undefined) throw isOff("apiKeyFor", "apiKeys");
  const { key } = await security.apiKeys.create({ ownerId: id, name: "test", scopes: [...scopes], roles: [...roles] });
  return key;
}

/**
 * An access token for a test user, for the header Authorization: Bearer.
 *
 * @param security what `applySecurity` returned, or an object with a `JwtManager`
 * @throws InvalidInputError (rejects) when the id, a scope or a role is malformed
 * @throws SetupError (rejects) when `jwt` is off
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { accessTokenFor, testSecret } from "portcullis/testing";
 *
 * const security = applySecurity(express(), { debug: true, secretKey: testSecret(), jwt: {} });
 * const token = await accessTokenFor(security, { id: "ada", scopes: ["orders:read"] });
 * ```
 */
export async function accessTokenFor(security: { readonly jwt?: JwtManager }, user: TestUser): Promise<string> {
  const { id, scopes = [], roles = [] } = user;
  if (security.jwt === undefined) throw isOff("accessTokenFor", "jwt");
  return security.jwt.signAccessToken(id, { scopes: [...scopes], roles: [...roles] });
}

/** The environment may have switched off what the app turns on. */
function isOff(helper: string, setting: string): SetupError {
  return new SetupError(`${helper}() needs the setting ${setting}, which is off.`);
}
