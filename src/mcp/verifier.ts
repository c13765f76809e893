import { parseUrl } from "../settings/parse-url.js";
import { PortcullisError } from "../core/portcullis-error.js";
import type { ApiKeyService } from "../api-key/service.js";
import type { JwtManager } from "../jwt/manager.js";
import { scopesOf } from "../jwt/decide.js";
import type { Principal } from "../core/principal.js";
import { authenticationOf } from "../jwt/authentication.js";
import { isUnavailable, TokenError } from "../jwt/errors.js";
import { SetupError } from "../core/setup-error.js";

/**
 * What both generations of the MCP SDK call `AuthInfo`. `token` is the credential itself, because the SDK requires it
 * there: do not log this object.
 */
export interface McpAuthInfo {
  /** The credential itself. */
  token: string;
  /** The client: `client_id` of a token, its subject, or the id of a key. */
  clientId: string;
  /** Scopes that the credential grants. */
  scopes: string[];
  /** Seconds since the epoch. The SDK refuses a token without it. */
  expiresAt: number;
  /** The resource the token was made for (RFC 8707), which the SDK compares with `expectedResource` if that is set. */
  resource: URL;
  /** Data for which the SDK has no field. */
  extra: McpCaller;
}

/**
 * What `AuthInfo` says of the caller besides. `claims`, `authenticatedAt`, `methods` and `issuer` are those of
 * `req.principal`.
 */
export type McpCaller = Pick<Principal, "claims" | "authenticatedAt" | "methods" | "issuer"> & {
  kind: "api-key" | "jwt";
  subject: string;
  credentialId: string;
  roles: string[];
};

/** The verifier that the SDK's `requireBearerAuth({ verifier })` expects. */
export interface McpVerifier {
  /** Verifies a Bearer credential; throws the error that `invalidToken` creates when it is not valid. */
  verifyAccessToken(token: string): Promise<McpAuthInfo>;
  /** The URL of the resource's metadata document, for `requireBearerAuth({ resourceMetadataUrl })`. */
  readonly resourceMetadataUrl: string;
}

/** Settings of `mcpVerifier`. */
export interface McpVerifierSettings {
  /** Verifies access tokens; `resource` must be among the audiences they are made for. */
  readonly jwt?: JwtManager;
  /** Verifies API keys sent as Bearer. They are made for this service, so the resource is always the one given. */
  readonly apiKeys?: ApiKeyService;
  /** The canonical URL of the MCP server. */
  readonly resource: string | URL;
  /**
   * Where the app serves the resource, as the app sees it: needed when a proxy in front changes the path. The path of
   * `resource` by default.
   */
  readonly path?: string;
  /**
   * The URL of the resource's metadata document (RFC 9728), which every refusal names. By default the well-known URL
   * of `resource`:
   * `https://mcp.example.com/.well-known/oauth-protected-resource/mcp` for `https://mcp.example.com/mcp`.
   */
  readonly resourceMetadataUrl?: string | URL;
  /**
   * Creates the error to which the SDK answers 401. Version 1: `(m) => new InvalidTokenError(m)`; version 2:
   * `(m) => new OAuthError(OAuthErrorCode.InvalidToken, m)`. Any other error would become a 500, after which a client
   * never asks for a new token.
   */
  readonly invalidToken: (message: string) => Error;
}

/**
 * An API key could not be verified now: its store does not answer, too many hashes are waiting, or a limit is used
 * up. The SDK answers 500, and the client keeps its key.
 */
export class VerificationUnavailableError extends PortcullisError {
  readonly code = "verification-unavailable";

  constructor() {
    super("The API key could not be verified at the moment.");
    this.name = "VerificationUnavailableError";
  }
}

/** How long the SDK may accept an API key that does not expire, in seconds: it asks again with every request. */
const KEY_GOOD_FOR_SECONDS = 60;
/**
 * Failures after which the same key may still be valid: the SDK answers 500, and the client keeps its key. The layers
 * answer 429 and 503.
 */
const NOT_THE_KEYS_FAULT: ReadonlySet<string> = new Set([
  "store-unavailable",
  "busy",
  "rate-limited",
  "too-many-failures",
]);
const REFUSAL = "The token is invalid.";

/**
 * An OAuth token verifier for an MCP server. It accepts API keys and our access tokens as Bearer credentials, and
 * always checks the audience (MCP authorization, "Token Handling": a server must accept only tokens made for it). A
 * credential that a layer has verified on the same request is neither verified nor counted again, and the layers'
 * refusals under the path of the resource name its metadata document.
 *
 * @throws SetupError when neither `jwt` nor `apiKeys` is given, an option is malformed, or the tokens are not made
 * for `resource`
 *
 * @example
 * ```ts
 * import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
 * import { JwtManager } from "portcullis";
 * import { mcpVerifier } from "portcullis/mcp";
 *
 * const verifier = mcpVerifier({
 *   jwt: new JwtManager({ secret: process.env.JWT_SECRET, audience: "https://mcp.example.com/mcp" }),
 *   resource: "https://mcp.example.com/mcp",
 *   invalidToken: (message) => new InvalidTokenError(message),
 * });
 * ```
 */
export function mcpVerifier({
  jwt,
  apiKeys,
  resource,
  path,
  resourceMetadataUrl,
  invalidToken,
}: McpVerifierSettings): McpVerifier {
  if (jwt === undefined && apiKeys === undefined) throw new SetupError("mcpVerifier needs jwt, apiKeys, or both.");
  const url = urlOf("resource", resource);
  if (path?.startsWith("/") === false)
    throw new SetupError('mcpVerifier needs a path that begins with a slash: path: "/mcp".');
  const metadata =
    resourceMetadataUrl === undefined ? wellKnownUrl(url) : urlOf("resourceMetadataUrl", resourceMetadataUrl).href;
  if (jwt !== undefined && !audiencesOf(jwt).some((audience) => sameResource(audience, url))) {
    throw new SetupError("The access tokens are not issued for this resource. Add its URL to jwt.audience.");
  }
  for (const service of [apiKeys, jwt]) service?.runtime.resources.add(path ?? url.pathname, metadata);

  async function byKey(service: ApiKeyService, key: string): Promise<McpAuthInfo> {
    const kept = service.runtime.resources.verdictOf(service.verifier, key);
    const result = kept ?? (await service.verify(key));
    // A layer in report mode accepts a key that is over its limit.
    const principal = result.ok ? result.principal : kept?.principal;
    if (principal === undefined)
      throw !result.ok && NOT_THE_KEYS_FAULT.has(result.reason)
        ? new VerificationUnavailableError()
        : invalidToken(REFUSAL);
    const { id, scopes, roles, credentialId, claims, authenticatedAt, methods } = principal;
    const soon = service.runtime.clock.now() / 1000 + KEY_GOOD_FOR_SECONDS;
    const ends = result.ok ? result.record.expiresAt : null;
    return {
      token: key,
      clientId: credentialId,
      scopes: [...scopes],
      expiresAt: Math.floor(ends === null ? soon : Math.min(soon, ends / 1000)),
      resource: url,
      extra: { kind: "api-key", subject: id, credentialId, roles: [...roles], claims, authenticatedAt, methods },
    };
  }

  async function byToken(manager: JwtManager, token: string): Promise<McpAuthInfo> {
    const verdict =
      manager.runtime.resources.verdictOf(manager.verifier, token) ?? (await manager.verifier.check(token));
    // An unavailable store does not mean that the client's token is invalid.
    if (!verdict.ok) throw isUnavailable(verdict.code) ? new TokenError(verdict.code) : invalidToken(REFUSAL);
    const { claims, foreign } = verdict;
    // A token of another issuer may name its audience elsewhere, but that is then no resource.
    if (![claims.aud ?? []].flat().some((audience) => sameResource(audience, url))) throw invalidToken(REFUSAL);
    const {
      id: subject,
      scopes,
      roles,
      credentialId,
      issuer,
    } = foreign ?? {
      issuer: undefined,
      id: claims.sub,
      scopes: scopesOf(claims),
      roles: claims.roles ?? [],
      credentialId: claims.jti,
    };
    return {
      token,
      clientId: typeof claims.client_id === "string" ? claims.client_id : subject,
      scopes: [...scopes],
      expiresAt: claims.exp,
      resource: url,
      extra: {
        kind: "jwt",
        subject,
        credentialId,
        roles: [...roles],
        claims,
        ...authenticationOf(claims),
        ...(issuer === undefined ? {} : { issuer }),
      },
    };
  }

  return {
    resourceMetadataUrl: metadata,
    async verifyAccessToken(token: string): Promise<McpAuthInfo> {
      if (apiKeys !== undefined && apiKeys.prefixes.some((prefix) => token.startsWith(prefix)))
        return byKey(apiKeys, token);
      if (jwt !== undefined) return byToken(jwt, token);
      throw invalidToken(REFUSAL);
    },
  };
}

/** The audiences of the tokens that a manager accepts. */
function audiencesOf({ options: { audience, issuers = [] } }: JwtManager): readonly string[] {
  return [...audience, ...issuers.flatMap((issuer) => issuer.audience)];
}

/** @throws SetupError when the text is not an absolute http or https URL */
function urlOf(option: string, text: string | URL): URL {
  const url = parseUrl(String(text));
  if (!/^https?:/i.test(String(text)) || url === undefined)
    throw new SetupError(`mcpVerifier needs an absolute URL as ${option}: ${option}: "https://mcp.example.com/…".`);
  return url;
}

/** RFC 9728 section 3.1: the well-known path comes between the host and the path of the resource. */
function wellKnownUrl({ pathname, search, origin }: URL): string {
  return `${origin}/.well-known/oauth-protected-resource${pathname === "/" ? "" : pathname}${search}`;
}

/** Compares as the SDK does: the same URL, apart from a fragment and one trailing slash. */
function sameResource(audience: string, resource: URL): boolean {
  const bare = (text: string): string => text.replace(/#.*$/s, "").replace(/\/$/, "");
  return bare(audience) === bare(resource.href);
}
