import type { ApiKeyService } from "../api-key/service.js";
import type { JwtManager } from "../jwt/manager.js";
import { TokenError } from "../jwt/errors.js";
import { SetupError } from "../core/setup-error.js";

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
  /** The URL of the resource's metadata document, for `requireBearerAuth({ resourceMetadataUrl })`. */
  readonly resourceMetadataUrl: string;
}

export interface McpVerifierOptions {
  /** Verifies access tokens; `resource` must be among the audiences they are made for. */
  readonly jwt?: JwtManager;
  /** Verifies API keys sent as Bearer. They are made for this service, so the resource is always the one given. */
  readonly apiKeys?: ApiKeyService;
  /** The canonical URL of the MCP server. */
  readonly resource: string | URL;
  /**
   * Where the app serves the resource, as the app sees it: needed when a proxy in front changes the path. The path of `resource`
   * by default.
   */
  readonly path?: string;
  /**
   * The URL of the resource's metadata document (RFC 9728), which every refusal names. By default the well-known URL of `resource`:
   * `https://mcp.example.com/.well-known/oauth-protected-resource/mcp` for `https://mcp.example.com/mcp`.
   */
  readonly resourceMetadataUrl?: string | URL;
  /**
   * Makes the error the SDK answers 401 to. Version 1: `(m) => new InvalidTokenError(m)`; version 2:
   * `(m) => new OAuthError(OAuthErrorCode.InvalidToken, m)`. Any other error would become a 500, at which a client never
   * asks for a new token.
   */
  readonly invalidToken: (message: string) => Error;
}

/** How long the SDK may take an API key that does not expire for good, in seconds: it asks again with every request. */
const KEY_GOOD_FOR_SECONDS = 60;
/** Failures after which the same key may be good: the SDK answers 500, and the client keeps its key. The layers answer 429 and 503. */
const NOT_THE_KEYS_FAULT: ReadonlySet<string> = new Set([
  "store-unavailable",
  "busy",
  "rate-limited",
  "too-many-failures",
]);
const REFUSAL = "The token is not valid.";

/**
 * An OAuth token verifier for an MCP server: API keys and our access tokens as Bearer credentials, with the audience always
 * checked (MCP authorization, "Token Handling": a server must accept only tokens made for it). A credential that a layer has
 * verified on the same request is neither verified nor counted again, and the layers' refusals under the path of the resource
 * name its metadata document.
 *
 * @throws SetupError when neither `jwt` nor `apiKeys` is given, an option is not of its form, or the tokens are not made for
 * `resource`
 */
export function mcpVerifier({
  jwt,
  apiKeys,
  resource,
  path,
  resourceMetadataUrl,
  invalidToken,
}: McpVerifierOptions): McpVerifier {
  if (jwt === undefined && apiKeys === undefined) throw new SetupError("mcpVerifier needs jwt, apiKeys, or both.");
  const url = urlOf("resource", resource);
  if (path?.startsWith("/") === false)
    throw new SetupError('mcpVerifier takes a path that begins with a slash: path: "/mcp".');
  const metadata =
    resourceMetadataUrl === undefined ? wellKnownUrl(url) : urlOf("resourceMetadataUrl", resourceMetadataUrl).href;
  if (jwt !== undefined && ![jwt.options.audience].flat().some((audience) => sameResource(audience, url))) {
    throw new SetupError("The access tokens are not made for this resource: add its URL to jwt.audience.");
  }
  for (const service of [apiKeys, jwt]) service?.runtime.resources.add(path ?? url.pathname, metadata);

  async function byKey(service: ApiKeyService, key: string): Promise<McpAuthInfo> {
    const kept = service.runtime.resources.verdictOf(service, key);
    const result = kept ?? (await service.verify(key));
    // A layer that only reports has let a key over its limit pass.
    const principal = result.ok ? result.principal : kept?.principal;
    if (principal === undefined)
      throw !result.ok && NOT_THE_KEYS_FAULT.has(result.reason)
        ? new Error("The key could not be verified now.")
        : invalidToken(REFUSAL);
    const { id, scopes, roles, credentialId } = principal;
    const soon = service.runtime.clock.now() / 1000 + KEY_GOOD_FOR_SECONDS;
    const ends = result.ok ? result.record.expiresAt : null;
    return {
      token: key,
      clientId: credentialId,
      scopes: [...scopes],
      expiresAt: Math.floor(ends === null ? soon : Math.min(soon, ends / 1000)),
      resource: url,
      extra: { kind: "api-key", subject: id, credentialId, roles: [...roles] },
    };
  }

  async function byToken(manager: JwtManager, token: string): Promise<McpAuthInfo> {
    const verdict = manager.runtime.resources.verdictOf(manager, token) ?? (await manager.check(token));
    // A store that is down is no reason to tell the client that its token is bad.
    if (!verdict.ok) throw verdict.code === "store-unavailable" ? new TokenError(verdict.code) : invalidToken(REFUSAL);
    const { claims } = verdict;
    if (![claims.aud].flat().some((audience) => sameResource(audience, url))) throw invalidToken(REFUSAL);
    return {
      token,
      clientId: typeof claims.client_id === "string" ? claims.client_id : claims.sub,
      scopes: claims.scope === undefined || claims.scope === "" ? [] : claims.scope.split(" "),
      expiresAt: claims.exp,
      resource: url,
      extra: { kind: "jwt", subject: claims.sub, credentialId: claims.jti, roles: [...(claims.roles ?? [])] },
    };
  }

  return {
    resourceMetadataUrl: metadata,
    async verifyAccessToken(token: string): Promise<McpAuthInfo> {
      if (apiKeys !== undefined && token.startsWith(apiKeys.options.prefix)) return byKey(apiKeys, token);
      if (jwt !== undefined) return byToken(jwt, token);
      throw invalidToken(REFUSAL);
    },
  };
}

/** @throws SetupError when the text is no absolute URL of the web */
function urlOf(option: string, text: string | URL): URL {
  if (!/^https?:/i.test(String(text)) || !URL.canParse(String(text)))
    throw new SetupError(`mcpVerifier takes an absolute URL as ${option}: ${option}: "https://mcp.example.com/…".`);
  return new URL(text);
}

/** RFC 9728 section 3.1: the well-known path comes between the host and the path of the resource. */
function wellKnownUrl({ pathname, search, origin }: URL): string {
  return `${origin}/.well-known/oauth-protected-resource${pathname === "/" ? "" : pathname}${search}`;
}

/** The SDK's own comparison: the same URL, a fragment and one trailing slash aside. */
function sameResource(audience: string, resource: URL): boolean {
  const bare = (text: string): string => text.replace(/#.*$/s, "").replace(/\/$/, "");
  return bare(audience) === bare(resource.href);
}
