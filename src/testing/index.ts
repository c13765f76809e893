/** `portcullis/testing`: for tests of an app, and of a store of your own. Needs no test runner. */
export { apiKeyStoreConformance } from "./api-key-suite.js";
export { tokenStoreConformance } from "./token-suite.js";
export { rateLimitStoreConformance, type RateLimitConformanceSettings } from "./rate-limit-suite.js";
export { sessionStoreConformance, type SessionConformanceSettings } from "./session-suite.js";
export { credentialStoreConformance } from "./credential-suite.js";
export { singleUseStoreConformance } from "./single-use-suite.js";
export type { ConformanceCase } from "./conformance.js";
export { collectEvents, type CollectedEvents } from "./collect-events.js";
export { ManualClock } from "./manual-clock.js";
export { actingAs, type TestPrincipal } from "./acting-as.js";
export { accessTokenFor, apiKeyFor, type TestUser } from "./credentials.js";
export { expectSecureHeaders, type TestResponse } from "./expect-secure-headers.js";
export { resetLimits } from "./reset-limits.js";
export { testSecret } from "./test-secret.js";
