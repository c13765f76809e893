/** `portcullis/testing`: for those who write a store of their own or test an app. Needs no test runner. */
export { apiKeyStoreConformance } from "./api-key-suite.js";
export { tokenStoreConformance } from "./token-suite.js";
export { rateLimitStoreConformance, type RateLimitConformanceSettings } from "./rate-limit-suite.js";
export { sessionStoreConformance, type SessionConformanceSettings } from "./session-suite.js";
export type { ConformanceCase } from "./conformance.js";
export { collectEvents, type CollectedEvents } from "./collect-events.js";
export { ManualClock } from "./manual-clock.js";
