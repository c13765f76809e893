import { beforeEach, expect, it, vi } from "vitest";

beforeEach(() => {
  vi.resetModules();
});

/** Schemas are made while their module is loaded, and a mistake in one shows there. Each is loaded first once, so that no circle of imports hides it. */
it.each<[string, () => Promise<object>, string]>([
  ["settings/common", () => import("../../src/settings/common.js"), "modeSchema"],
  ["app-settings/contradictions", () => import("../../src/app-settings/contradictions.js"), "contradictions"],
  ["app-settings/environment", () => import("../../src/app-settings/environment.js"), "settingsFromEnv"],
  ["settings/errors", () => import("../../src/settings/errors.js"), "SettingsError"],
  ["settings/object", () => import("../../src/settings/object.js"), "parse"],
  ["app-settings/parse", () => import("../../src/app-settings/parse.js"), "parseSettings"],
  ["app-settings/schema", () => import("../../src/app-settings/schema.js"), "settingsSchema"],
  ["settings/origin-pattern", () => import("../../src/settings/origin-pattern.js"), "originPatternSchema"],
  ["settings/secrets", () => import("../../src/settings/secrets.js"), "secretSchema"],
  ["api-key/settings", () => import("../../src/api-key/settings.js"), "apiKeySchema"],
  ["cors/settings", () => import("../../src/cors/settings.js"), "corsSchema"],
  ["csrf/settings", () => import("../../src/csrf/settings.js"), "csrfSchema"],
  ["headers/schema", () => import("../../src/headers/schema.js"), "headersSchema"],
  ["headers/settings", () => import("../../src/headers/settings.js"), "headersPatchSchema"],
  ["jwt/settings", () => import("../../src/jwt/settings.js"), "jwtSchema"],
  ["rate-limit/settings", () => import("../../src/rate-limit/settings.js"), "rateLimitSchema"],
  ["session/settings", () => import("../../src/session/settings.js"), "sessionSchema"],
  ["trusted-host/settings", () => import("../../src/trusted-host/settings.js"), "trustedHostSchema"],
])("%s loads by itself", async (_name, load, schema) => {
  expect(await load()).toHaveProperty(schema);
});
