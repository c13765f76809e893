export {
  applySecurity,
  type LayerDescription,
  type Security,
  type SecurityDependencies,
  type SessionDirectory,
} from "./apply-security.js";
export { requireApiKey, requireAuth, requireJwt, requireSession, type GuardOptions } from "./guards.js";

export { parseSettings } from "./app-settings/parse.js";
export type { ParsedSettings, SecuritySettings } from "./app-settings/schema.js";
export { settingsFromEnv } from "./app-settings/environment.js";
export { SettingsError, type SettingsCode, type SettingsIssue } from "./settings/errors.js";
export { SetupError } from "./core/setup-error.js";

export { securityHeaders } from "./headers/middleware.js";
export type { HeadersPatch, HeadersSettings } from "./headers/settings.js";
export { trustedHost } from "./trusted-host/middleware.js";
export type { TrustedHostSettings } from "./trusted-host/settings.js";
export { corsPolicy } from "./cors/middleware.js";
export type { CorsSettings } from "./cors/settings.js";
export { rateLimiter } from "./rate-limit/middleware.js";
export type { RateLimitSettings, RouteLimit } from "./rate-limit/settings.js";
export { csrfProtection } from "./csrf/middleware.js";
export type { CsrfSettings } from "./csrf/settings.js";
export { logIn, logOut, sessions, type LogInAs, type LogInOptions, type SessionInfo } from "./session/middleware.js";
export { SessionEndedError } from "./session/errors.js";
export type { SessionSettings } from "./session/settings.js";
export { apiKeyAuth } from "./api-key/middleware.js";
export { ApiKeyError } from "./api-key/errors.js";
export type { CreateInput } from "./api-key/keys/input.js";
export type { ApiKeyRecord } from "./api-key/keys/records.js";
export type { VerifyFailureReason, VerifyResult } from "./api-key/verification/result.js";
export { apiKeyRoutes, type ApiKeyRoutesOptions } from "./api-key/routes.js";
export { ApiKeyService, type CreatedApiKey } from "./api-key/service.js";
export type { ApiKeyAuthSettings, ApiKeySettings } from "./api-key/settings.js";
export { jwtAuth } from "./jwt/middleware.js";
export { tokenRoutes, type TokenRoutesOptions } from "./jwt/routes.js";
export { JwtManager, type IssuedTokens } from "./jwt/manager.js";
export type { IssueOptions } from "./jwt/grant.js";
export type { AccessTokenClaims } from "./jwt/decide.js";
export { TokenError, type TokenErrorCode } from "./jwt/errors.js";
export type { JwtAuthSettings, JwtSettings } from "./jwt/settings.js";

export { RedisSlidingWindowStore } from "./stores/redis/sliding-window/store.js";
export { SlidingWindowStore } from "./stores/memory/sliding-window/store.js";
export { MemorySessionStore } from "./stores/memory/session-store.js";
export type {
  ApiKeyStore,
  PrincipalSession,
  RateLimitStore,
  SessionStore,
  StoredApiKey,
  StoredRefreshToken,
  TokenStore,
  WindowOutcome,
  WindowPolicy,
} from "./stores/contracts.js";

export type { Clock } from "./core/clock.js";
export { SecurityEvents, type SecurityEvent, type SecurityEventName } from "./core/events.js";
export type { Mode } from "./core/layer.js";
export type { PartDependencies } from "./core/runtime.js";
export type { CredentialKind, Principal } from "./core/principal.js";
export type { OnRefusal, Problem, RefusalCode, ReplacedBody } from "./core/response/problem.js";
export { clientAddress } from "./core/request-state.js";
export { Secret } from "./core/secret.js";
export { StoreUnavailableError } from "./stores/health/store-guard.js";
