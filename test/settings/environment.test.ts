import { describe, expect, it } from "vitest";
import { settingsFromEnv } from "../../src/settings/environment.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";

function issuesOf(env: Record<string, string>): readonly SettingsIssue[] {
  try {
    settingsFromEnv(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

describe("one variable", () => {
  it.each(["SECRET_KEY", "DEBUG", "TRUST_PROXY", "ALLOWED_HOSTS", "RATE_LIMIT_PER_MINUTE", "BACKEND_CORS_ORIGINS", "SESSION_MAX_AGE", "API_KEY_LENGTH", "ALGORITHM", "REDIS_URL"])("%s that is empty or blank is not given", (name) => {
    expect(settingsFromEnv({ [name]: "" })).toEqual(settingsFromEnv({}));
    expect(settingsFromEnv({ [name]: " \t" })).toEqual(settingsFromEnv({}));
  });

  it.each<[string, string, object]>([
    ["SECRET_KEY", "a,b", { secretKey: "a,b" }],
    ["SECRET_KEY", '["a","b"]', { secretKey: ["a", "b"] }],
    ["DEBUG", "true", { debug: true }],
    ["DEBUG", "TRUE", { debug: true }],
    ["DEBUG", "1", { debug: true }],
    ["DEBUG", "yes", { debug: true }],
    ["DEBUG", "on", { debug: true }],
    ["DEBUG", "False", { debug: false }],
    ["DEBUG", "0", { debug: false }],
    ["DEBUG", "no", { debug: false }],
    ["DEBUG", "off", { debug: false }],
    ["TRUST_PROXY", "0", { trustProxy: 0 }],
    ["TRUST_PROXY", "999", { trustProxy: 999 }],
    ["TRUST_PROXY", "1000", { trustProxy: ["1000"] }],
    ["TRUST_PROXY", "1x", { trustProxy: ["1x"] }],
    ["TRUST_PROXY", "x1", { trustProxy: ["x1"] }],
    ["TRUST_PROXY", "FALSE", { trustProxy: false }],
    ["TRUST_PROXY", "falsey", { trustProxy: ["falsey"] }],
    ["TRUST_PROXY", "not false", { trustProxy: ["not false"] }],
    ["TRUST_PROXY", "TRUE", { trustProxy: true }],
    ["TRUST_PROXY", "trueish", { trustProxy: ["trueish"] }],
    ["TRUST_PROXY", "not true", { trustProxy: ["not true"] }],
    ["TRUST_PROXY", " 10.0.0.1 ,, 10.0.0.2 ", { trustProxy: ["10.0.0.1", "10.0.0.2"] }],
    ["REDIS_URL", "redis://host", { redis: "redis://host" }],
    ["DATABASE_URL", "sqlite:x.db", { database: "sqlite:x.db" }],
    ["ALLOWED_HOSTS", "[]", { trustedHosts: [] }],
    ["ALLOWED_HOSTS", ' ["a.example", "b.example"] ', { trustedHosts: ["a.example", "b.example"] }],
    ["ALLOWED_HOSTS", "a.example,", { trustedHosts: ["a.example"] }],
    ["RATE_LIMIT_PER_MINUTE", "5", { rateLimit: { limit: 5, windowSeconds: 60 } }],
    ["RATE_LIMIT_PER_MINUTE", "9".repeat(15), { rateLimit: { limit: 999_999_999_999_999, windowSeconds: 60 } }],
    ["BACKEND_CORS_ORIGINS", "*", { cors: { origins: "*" } }],
    ["BACKEND_CORS_ORIGINS", "https://a.example", { cors: { origins: ["https://a.example"] } }],
    ["CSRF_TRUSTED_ORIGINS", "https://a.example", { csrf: { trustedOrigins: ["https://a.example"] } }],
    ["SESSION_SECRET_KEY", "s", { session: { secret: "s" } }],
    ["SESSION_MAX_AGE", "60", { session: { maxAge: 60 } }],
    ["SESSION_COOKIE", "sid", { session: { cookieName: "sid" } }],
    ["API_KEY_PREFIX", "acme_", { apiKeys: { prefix: "acme_" } }],
    ["API_KEY_LENGTH", "40", { apiKeys: { length: 40 } }],
    ["ALGORITHM", "ES256", { jwt: { algorithm: "ES256" } }],
    ["ACCESS_TOKEN_EXPIRE_MINUTES", "5", { jwt: { accessTokenMinutes: 5 } }],
    ["REFRESH_TOKEN_EXPIRE_DAYS", "3", { jwt: { refreshTokenDays: 3 } }],
  ])("%s=%s gives its setting alone", (name, text, settings) => {
    expect(settingsFromEnv({ [name]: text })).toEqual(settings);
  });

  it.each<[string, string, RegExp, RegExp]>([
    ["DEBUG", "truest", /yes or no/, /true or false/],
    ["DEBUG", "untrue", /yes or no/, /true or false/],
    ["DEBUG", "falsey", /yes or no/, /true or false/],
    ["DEBUG", "gono", /yes or no/, /true or false/],
    ["SESSION_MAX_AGE", "1h", /whole number/, /digits/],
    ["SESSION_MAX_AGE", "-1", /whole number/, /digits/],
    ["API_KEY_LENGTH", "1".repeat(16), /whole number/, /digits/],
    ["ALLOWED_HOSTS", "[a.example]", /JSON array/, /one,two/],
    ["ALLOWED_HOSTS", '["a.example", 7]', /JSON array/, /one,two/],
    ["SECRET_KEY", '["a"', /JSON array/, /one,two/],
  ])("%s=%s is refused, with what to write", (name, text, message, remedy) => {
    expect(issuesOf({ [name]: text })).toEqual([{ code: "wrong-type", path: name, message: expect.stringMatching(message) as string, remedy: expect.stringMatching(remedy) as string }]);
  });
});

it("reads the environment of the process unless given another", () => {
  const before = process.env.SESSION_COOKIE;
  try {
    process.env.SESSION_COOKIE = "from-the-process";
    expect(settingsFromEnv()).toMatchObject({ session: { cookieName: "from-the-process" } });
    expect(settingsFromEnv({})).toEqual({});
  } finally {
    if (before === undefined) delete process.env.SESSION_COOKIE;
    else process.env.SESSION_COOKIE = before;
  }
});
