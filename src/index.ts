export { applySecurity, type SecurityDependencies } from "./apply-security.js";
export type { LayerDescription, Security, SecurityBase } from "./security.js";
export type { FastServerSettings } from "./server/create-server.js";
export type { ServerClasses } from "./server/classes.js";
export { requireApiKey, requireAuth, requireJwt, requireSession, type GuardSettings } from "./guards.js";

export { parseSettings } from "./app-settings/parse.js";
export type { ResolvedSecuritySettings, SecuritySettings } from "./app-settings/schema.js";
export { settingsFromEnv } from "./app-settings/environment.js";
export { SettingsError, type SettingsCode, type SettingsIssue } from "./settings/errors.js";
export { SetupError } from "./core/setup-error.js";
export type { Middleware } from "./core/middleware.js";

export { securityHeaders } from "./headers/middleware.js";
export type {
  ContentSecurityPolicyPatch,
  ContentSecurityPolicySettings,
  HeadersPatch,
  HeadersSettings,
  ResolvedContentSecurityPolicyPatch,
  ResolvedContentSecurityPolicySettings,
  ResolvedHeadersSettings,
} from "./headers/settings.js";
export type {
  DirectiveSettings,
  ResolvedStrictTransportSecuritySettings,
  StrictTransportSecuritySettings,
} from "./headers/fields.js";
export type { PermissionsAllowlist } from "./headers/permissions.js";
export type { TrustFunction } from "./core/trust-check.js";
export { trustedHost } from "./trusted-host/middleware.js";
export type {
  ResolvedTrustedHostSettings,
  TrustedHostObjectSettings,
  TrustedHostSettings,
} from "./trusted-host/settings.js";
export { corsPolicy } from "./cors/middleware.js";
export type { CorsSettings, ResolvedCorsSettings } from "./cors/settings.js";
export { rateLimiter } from "./rate-limit/middleware.js";
export type { Limits, LimitUse, PeekSettings } from "./rate-limit/directory.js";
export type {
  RateLimitCostFunction,
  RateLimitFunction,
  RateLimitKeyFunction,
  RateLimitSkipFunction,
  RateLimitWindowSettings,
} from "./rate-limit/limit-settings.js";
export type { LoginFailure } from "./rate-limit/login-failed.js";
export type {
  LoginAccountFunction,
  LoginGuardSettings,
  LoginLimitSettings,
  ResolvedLoginLimitSettings,
} from "./rate-limit/login-settings.js";
export type { RateLimitFailureFunction } from "./rate-limit/outcome-of-request.js";
export type { RequestRateLimit } from "./rate-limit/request-limit.js";
export type { HeaderForm } from "./rate-limit/header-forms.js";
export type { RouteLimitSettings } from "./rate-limit/route-settings.js";
export type { RateLimitSettings, ResolvedRateLimitSettings } from "./rate-limit/settings.js";
export { csrfProtection } from "./csrf/middleware.js";
export type { CsrfSettings, ResolvedCsrfSettings } from "./csrf/settings.js";
export { sessions } from "./session/middleware.js";
export type { ExpressSessionStore, Session, SessionCookieData, SessionData } from "./stores/express-session.js";
export { AmbiguousCredentialsError, type ExternalCaller, type UsePrincipal } from "./use-principal.js";
export { logIn, logOut, type LogInAs, type LogInSettings, type LogOutSettings } from "./session/log-in.js";
export type { SiteData } from "./session/log-in-options.js";
export type { SessionDirectory, SessionInfo } from "./session/principal-sessions.js";
export { SessionEndedError } from "./session/errors.js";
export type { ResolvedSessionSettings, SessionSettings } from "./session/settings.js";
export { apiKeyAuth } from "./api-key/middleware.js";
export type { ApiKeyMaker, ApiKeyStateProblem } from "./api-key/decide.js";
export { ApiKeyError, type ApiKeyErrorCode, type ApiKeyIssue } from "./api-key/errors.js";
export { HashUnavailableError } from "./api-key/keys/hash-queue.js";
export type { ApiKeyReport, OverWideReason } from "./api-key/management/report.js";
export type {
  ApiKeyReportInput,
  CreateApiKeyInput,
  ListAllApiKeysInput,
  ListApiKeysInput,
  RevokeAllApiKeysInput,
  RevokeApiKeyInput,
  RotateApiKeyInput,
  UpdateApiKeyInput,
} from "./api-key/keys/input.js";
export type { ApiKeyRecord } from "./api-key/keys/records.js";
export type {
  AcceptedApiKey,
  ApiKeyFailureReason,
  ApiKeyVerification,
  RejectedApiKey,
} from "./api-key/verification/result.js";
export { apiKeyRoutes } from "./api-key/routes.js";
export type { ApiKeyRoutesSettings } from "./api-key/routes-settings.js";
export { ApiKeyService } from "./api-key/service.js";
export type { ApiKeyServiceDependencies, AuditContext, CreatedApiKey } from "./api-key/types.js";
export type { ApiKeyAuthSettings, ApiKeySettings, ResolvedApiKeySettings } from "./api-key/settings.js";
export { jwtAuth } from "./jwt/middleware.js";
export { tokenRoutes, type TokenRoutesSettings } from "./jwt/routes.js";
export type { PublicJwk } from "./jwt/keys/key-ids.js";
export { JwtManager } from "./jwt/manager.js";
export type { IssuedTokens, JwtManagerDependencies } from "./jwt/types.js";
export type { IssueInput } from "./jwt/grant.js";
export type { EndFamilyInput, FamiliesInput, TokenFamily } from "./jwt/families.js";
export type { OnRefresh, RefreshGrant, RenewedGrant } from "./jwt/refresh/renewal.js";
export type { AccessTokenClaims } from "./jwt/decide.js";
export { TokenError, type TokenErrorCode } from "./jwt/errors.js";
export type { Jwk, JwkSet } from "./jwt/keys/jwks.js";
export type { JwtAcceptSettings, ResolvedJwtAcceptSettings } from "./jwt/issuers/accept-settings.js";
export type { ForeignClaims } from "./jwt/issuers/mapping-settings.js";
export type { JwtIssuerSettings, ResolvedJwtIssuerSettings } from "./jwt/issuers/settings.js";
export type { JwtKeyInput, JwtKeySettings, ResolvedJwtKeySettings } from "./jwt/keys/settings.js";
export type { JwtAuthSettings, JwtSettings, ResolvedJwtSettings } from "./jwt/settings.js";

export { RedisSlidingWindowStore } from "./stores/redis/sliding-window/store.js";
export type { RedisSlidingWindowStoreSettings } from "./stores/redis/sliding-window/settings.js";
export { SlidingWindowStore } from "./stores/memory/sliding-window/store.js";
export type { SlidingWindowStoreSettings } from "./stores/memory/sliding-window/settings.js";
export type { ExpressRateLimitSettings } from "./stores/express-rate-limit.js";
export type { AnswerMode, ExpressRateLimitStore, StoreAnswer } from "./stores/express-rate-limit-store.js";
export { SessionStoreFullError } from "./stores/health/store-full.js";
export { MemorySessionStore, type MemorySessionStoreSettings } from "./stores/memory/session-store.js";
export type {
  AccessTokenFacts,
  ApiKeyStore,
  CredentialChange,
  CredentialStore,
  CredentialUpdate,
  SingleUseRecord,
  SingleUseStore,
  StoredCredential,
  JsonValue,
  KeyDigest,
  PrincipalIndex,
  PrincipalSession,
  RateLimitStore,
  SessionStore,
  AllKeysPage,
  KeyChange,
  KeyPosition,
  StoredApiKey,
  StoredRefreshToken,
  StoredTokenFamily,
  TokenStore,
  UsageBatch,
  WindowOutcome,
  WindowPolicy,
  WindowRequest,
  WriteCall,
} from "./stores/contracts.js";

export type { RevokeAll, RevokeAllInput, RevokedCredentials } from "./revoke-all.js";
export type { Clock } from "./core/clock.js";
export {
  SecurityEvents,
  type SecurityEvent,
  type SecurityEventDetails,
  type SecurityEventListener,
  type SecurityEventName,
} from "./core/events.js";
export type { LayerId } from "./core/layer-id.js";
export type { Mode } from "./core/layer.js";
export type { PartDependencies } from "./core/runtime.js";
export { FactorRequiredError } from "./core/credential-gate.js";
export { InvalidInputError, PortcullisError, StoreError } from "./core/portcullis-error.js";
export type { AuthenticationMethod, AuthenticationMethodName, ProvedMethod } from "./core/authentication.js";
export type { Actor, CredentialKind, Principal } from "./core/principal.js";
export type { OnRefusal, Problem, RefusalCode, RefusalRedirect, ReplacedBody } from "./core/response/problem.js";
export { clientAddress } from "./core/request-state.js";
export { Secret } from "./core/secret.js";
export { type ReadableParts, UnreadableRecordError } from "./stores/health/store-fault.js";
export { StoreFullError } from "./stores/health/store-full.js";
export { StoreUnavailableError } from "./stores/health/store-unavailable.js";
export { DeadlinePassedError } from "./stores/health/write-call.js";
