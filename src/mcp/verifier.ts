import type { ApiKeyService } from "../api-key/service.js";
import type { JwtManager } from "../jwt/manager.js";
import { TokenError } from "../jwt/errors.js";
import { SetupError } from "../settings/errors.js";

/**
 * What both generations of the MCP SDK call `AuthInfo`. `token` is the credential itself, because the SDK wants it there:
 * do not log this object.
 */
export interface McpAuthInfo {
  token: string;
  clientId: string;
  scopes: string[];
  /** Seconds since the epoch. The SDK refuses a token without it. */
  expiresAt: number;
  /** The resource the token was made for (RFC 8707), which the SDK compares when told `expectedResource`. */
  resource: URL;
  extra: { kind: "api-key" | "jwt"; subject: string; credentialId: string; roles: string[] };
}

/** What the SDK's `requireBearerAuth({ verifier })` takes. */
export interface McpVerifier {
  verifyAccessToken(token: string): Promise<McpAuthInfo>;
}

export interface McpVerifierOptions {
  /** Verifies access tokens; `resource` must be among the audiences they are made for. */
  readonly jwt?: JwtManager;
  /** Verifies API keys sent as Bearer. They are made for this service, so the resource is always the one given. */
  readonly apiKeys?: ApiKeyService;
  /** The canonical URL of the MCP server. */
  readonly resource: string | URL;
  /**
   * Makes the error the SDK answers 401 to. Version 1: `(m) => new InvalidTokenError(m)`; version 2:
   * `(m) => new OAuthError(OAuthErrorCode.InvalidToken, m)`. Any other error would become a 500, at which a client never
   * asks for a new token.
   */
  readonly invalidToken: (message: string) => Error;
}

/** How long the SDK may take an API key that does not expire for good, in seconds: it asks again with every request. */
const KEY_GOOD_FOR_SECONDS = 60;
/** Failures after which the same key may be good: the SDK answers 500, and the client keeps its key. */
const NOT_THE_KEYS_FAULT: ReadonlySet<string> = new Set(["store-unavailable", "busy", "rate-limited", "too-many-failures"]);
const REFUSAL = "The token is not valid.";

/**
 * An OAuth token verifier for an MCP server: API keys and our access tokens as Bearer credentials, with the audience always
 * checked (MCP authorization, "Token Handling": a server must accept only tokens made for it).
 *
 * @throws SetupError when neither `jwt` nor `apiKeys` is given, or the tokens are not made for `resource`
 */
export function mcpVerifier({ jwt, apiKeys, resource, invalidToken }: McpVerifierOptions): McpVerifier {
  if (jwt === undefined && apiKeys === undefined) throw new SetupError("mcpVerifier needs jwt, apiKeys, or both.");
  const url = new URL(resource);
  if (jwt !== undefined && ![jwt.options.audience].flat().some((audience) => sameResource(audience, url))) {
    throw new SetupError("The access tokens are not made for this resource: add its URL to jwt.audience.");
  }

  async function byKey(service: ApiKeyService, key: string): Promise<McpAuthInfo> {
    const result = await service.verify(key);
    if (!result.ok) throw NOT_THE_KEYS_FAULT.has(result.reason) ? new Error("The key could not be verified now.") : invalidToken(REFUSAL);
    const { id, ownerId, scopes, roles, expiresAt } = result.record;
    const soon = service.runtime.clock.now() / 1000 + KEY_GOOD_FOR_SECONDS;
    return {
      token: key,
      clientId: id,
      scopes: [...scopes],
      expiresAt: Math.floor(expiresAt === null ? soon : Math.min(soon, expiresAt / 1000)),
      resource: url,
      extra: { kind: "api-key", subject: ownerId, credentialId: id, roles: [...roles] },
    };
  }

  async function byToken(manager: JwtManager, token: string): Promise<McpAuthInfo> {
    try {
      const claims = await manager.verifyAccessToken(token);
      if (![claims.aud].flat().some((audience) => sameResource(audience, url))) throw invalidToken(REFUSAL);
      return {
        token,
        clientId: typeof claims.client_id === "string" ? claims.client_id : claims.sub,
        scopes: claims.scope === undefined || claims.scope === "" ? [] : claims.scope.split(" "),
        expiresAt: claims.exp,
        resource: url,
        extra: { kind: "jwt", subject: claims.sub, credentialId: claims.jti, roles: [...(claims.roles ?? [])] },
      };
    } catch (error) {
      // A store that is down is no reason to tell the client that its token is bad.
      if (error instanceof TokenError && error.code !== "store-unavailable") throw invalidToken(REFUSAL);
      throw error;
    }
  }

  return {
    async verifyAccessToken(token: string): Promise<McpAuthInfo> {
      if (apiKeys !== undefined && token.startsWith(apiKeys.options.prefix)) return byKey(apiKeys, token);
      if (jwt !== undefined) return byToken(jwt, token);
      throw invalidToken(REFUSAL);
    },
  };
}

/** The SDK's own comparison: the same URL, a fragment and one trailing slash aside. */
function sameResource(audience: string, resource: URL): boolean {
  const bare = (text: string): string => text.replace(/#.*$/s, "").replace(/\/$/, "");
  return bare(audience) === bare(resource.href);
}
