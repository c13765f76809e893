import express from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { corsPolicy } from "../../src/cors/middleware.js";
import { settingsFromEnv } from "../../src/app-settings/environment.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parseSettings } from "../../src/app-settings/parse.js";
import { serve } from "../support/serve.js";

const ROOT = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const OTHER = "Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE";

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
  it.each([
    "SECRET_KEY",
    "PORTCULLIS_DEBUG",
    "DEBUG",
    "TRUST_PROXY",
    "ALLOWED_HOSTS",
    "RATE_LIMIT_PER_MINUTE",
    "BACKEND_CORS_ORIGINS",
    "CORS_ALLOW_CREDENTIALS",
    "SESSION_MAX_AGE",
    "API_KEY_LENGTH",
    "ALGORITHM",
    "REDIS_URL",
  ])("%s counts as unset when it is empty or blank", (name) => {
    expect(settingsFromEnv({ [name]: "" })).toEqual(settingsFromEnv({}));
    expect(settingsFromEnv({ [name]: " \t" })).toEqual(settingsFromEnv({}));
  });

  it.each<[string, string, object]>([
    ["SECRET_KEY", `${ROOT},b`, { secretKey: `${ROOT},b`, session: {}, apiKeys: {}, jwt: {} }],
    ["SECRET_KEY", JSON.stringify([ROOT, OTHER]), { secretKey: [ROOT, OTHER], session: {}, apiKeys: {}, jwt: {} }],
    ["SESSIONS", "on", { session: {} }],
    ["SESSIONS", "off", { session: false }],
    ["API_KEYS", "true", { apiKeys: {} }],
    ["API_KEYS", "false", { apiKeys: false }],
    ["JWT", "1", { jwt: {} }],
    ["JWT", "no", { jwt: false }],
    ...(["true", "TRUE", "1", "yes", "on"].map((text) => ["PORTCULLIS_DEBUG", text, { debug: true }]) as [
      string,
      string,
      object,
    ][]),
    ...(["false", "False", "0", "no", "off"].map((text) => ["PORTCULLIS_DEBUG", text, { debug: false }]) as [
      string,
      string,
      object,
    ][]),
    ["DEBUG", "true", { debug: true }],
    ["DEBUG", "false", { debug: false }],
    ...([
      "1",
      "0",
      "TRUE",
      "True",
      " true",
      "yes",
      "on",
      "off",
      "*",
      "express:*",
      "truest",
      "untrue",
      "true,false",
      "-not_this",
    ].map((text) => ["DEBUG", text, {}]) as [string, string, object][]),
    ["TRUST_PROXY", "0", { trustProxy: 0 }],
    ["TRUST_PROXY", "FALSE", { trustProxy: false }],
    ["TRUST_PROXY", " 10.0.0.1 ,, 10.0.0.2 ", { trustProxy: ["10.0.0.1", "10.0.0.2"] }],
    ["REDIS_URL", "redis://host", { redis: "redis://host" }],
    ["DATABASE_URL", "sqlite:x.db", { database: "sqlite:x.db" }],
    ["ALLOWED_HOSTS", ' ["a.example", "b.example"] ', { trustedHosts: ["a.example", "b.example"] }],
    ["ALLOWED_HOSTS", "a.example,", { trustedHosts: ["a.example"] }],
    ["RATE_LIMIT_PER_MINUTE", "5", { rateLimit: { limit: 5, windowSeconds: 60 } }],
    ["RATE_LIMIT_PER_MINUTE", "000000000000005", { rateLimit: { limit: 5, windowSeconds: 60 } }],
    [
      "BACKEND_CORS_ORIGINS",
      "*",
      { cors: { origins: "*", credentials: false, methods: "*", allowedHeaders: ["*", "Authorization"] } },
    ],
    [
      "BACKEND_CORS_ORIGINS",
      "https://a.example",
      { cors: { origins: ["https://a.example"], credentials: true, methods: "*", allowedHeaders: "*" } },
    ],
    ["CORS_ALLOW_CREDENTIALS", "on", {}],
    ["CORS_ALLOW_CREDENTIALS", "off", {}],
    ["CSRF_TRUSTED_ORIGINS", "https://a.example", { csrf: { trustedOrigins: ["https://a.example"] } }],
    ["SESSION_SECRET_KEY", OTHER, { session: { secret: OTHER } }],
    ["SESSION_MAX_AGE", "60", { session: { maxAge: 60 } }],
    ["SESSION_COOKIE", "sid", { session: { cookieName: "sid" } }],
    ["API_KEY_PREFIX", "acme_", { apiKeys: { prefix: "acme_" } }],
    ["API_KEY_LENGTH", "40", { apiKeys: { length: 40 } }],
    ["ALGORITHM", "ES256", { jwt: { algorithm: "ES256" } }],
    ["ACCESS_TOKEN_EXPIRE_MINUTES", "5", { jwt: { accessTokenMinutes: 5 } }],
    ["REFRESH_TOKEN_EXPIRE_DAYS", "3", { jwt: { refreshTokenDays: 3 } }],
  ])("%s=%s sets its own setting and no other", (name, text, settings) => {
    expect(settingsFromEnv({ [name]: text })).toEqual(settings);
  });

  it.each<[string, string, RegExp, RegExp]>([
    ["SESSIONS", "none", /This must be true or false\./, /true or false/],
    ["API_KEYS", "*", /This must be true or false\./, /true or false/],
    ["JWT", "HS256", /This must be true or false\./, /true or false/],
    ["CORS_ALLOW_CREDENTIALS", "never", /This must be true or false\./, /true or false/],
    ["PORTCULLIS_DEBUG", "truest", /This must be true or false\./, /true or false/],
    ["PORTCULLIS_DEBUG", "untrue", /This must be true or false\./, /true or false/],
    ["PORTCULLIS_DEBUG", "falsey", /This must be true or false\./, /true or false/],
    ["PORTCULLIS_DEBUG", "gono", /This must be true or false\./, /true or false/],
    ["SESSION_MAX_AGE", "1h", /whole number/, /digits/],
    ["SESSION_MAX_AGE", "-1", /whole number/, /digits/],
    ["API_KEY_LENGTH", "1".repeat(16), /whole number/, /digits/],
    ["ALLOWED_HOSTS", "[a.example]", /JSON array/, /one,two/],
    ["ALLOWED_HOSTS", '["a.example", 7]', /JSON array/, /one,two/],
    ["SECRET_KEY", '["a"', /JSON array/, /one,two/],
  ])("%s=%s is refused with a remedy", (name, text, message, remedy) => {
    expect(issuesOf({ [name]: text })).toEqual([
      {
        code: "wrong-type",
        path: name,
        message: expect.stringMatching(message) as string,
        remedy: expect.stringMatching(remedy) as string,
      },
    ]);
  });
});

describe("a value that is not allowed", () => {
  it.each<[string, string, string]>([
    ["SECRET_KEY", "short", "weak-secret SECRET_KEY"],
    ["SECRET_KEY", JSON.stringify([ROOT, "short"]), "weak-secret SECRET_KEY[1]"],
    ["TRUST_PROXY", "TRUE", "unsafe-setting TRUST_PROXY"],
    ["TRUST_PROXY", "999", "wrong-value TRUST_PROXY"],
    ["TRUST_PROXY", "10.0.0.1,0.0.0.0/0", "contradiction TRUST_PROXY"],
    ...["1000", "1x", "x1", "falsey", "not false", "trueish", "not true"].map((text): [string, string, string] => [
      "TRUST_PROXY",
      text,
      "wrong-value TRUST_PROXY[0]",
    ]),
    ["REDIS_URL", "http://host", "wrong-value REDIS_URL"],
    ["DATABASE_URL", "oracle://host", "wrong-value DATABASE_URL"],
    ["ALLOWED_HOSTS", "[]", "missing-setting ALLOWED_HOSTS"],
    ["ALLOWED_HOSTS", "a.example,*", "unsafe-setting ALLOWED_HOSTS[1]"],
    ["RATE_LIMIT_PER_MINUTE", "0", "wrong-value RATE_LIMIT_PER_MINUTE"],
    ["BACKEND_CORS_ORIGINS", "https://a.example/path", "wrong-value BACKEND_CORS_ORIGINS[0]"],
    ["BACKEND_CORS_ORIGINS", "https://a.example,http://b.example", "unsafe-setting BACKEND_CORS_ORIGINS[1]"],
    ["CSRF_TRUSTED_ORIGINS", "a.example", "wrong-value CSRF_TRUSTED_ORIGINS[0]"],
    ["SESSION_SECRET_KEY", "short", "weak-secret SESSION_SECRET_KEY"],
    ["SESSION_MAX_AGE", "0", "wrong-value SESSION_MAX_AGE"],
    ["SESSION_COOKIE", "a b", "wrong-value SESSION_COOKIE"],
    ["API_KEY_PREFIX", "acme", "wrong-value API_KEY_PREFIX"],
    ["API_KEY_LENGTH", "3", "wrong-value API_KEY_LENGTH"],
    ["ALGORITHM", "none", "wrong-value ALGORITHM"],
    ["ACCESS_TOKEN_EXPIRE_MINUTES", "0", "wrong-value ACCESS_TOKEN_EXPIRE_MINUTES"],
    ["REFRESH_TOKEN_EXPIRE_DAYS", "0", "wrong-value REFRESH_TOKEN_EXPIRE_DAYS"],
  ])("%s=%s is refused under the name of the variable", (name, text, issue) => {
    expect(issuesOf({ [name]: text }).map(({ code, path }) => `${code} ${path}`)).toEqual([issue]);
  });

  it("is reported together with all others, but settings that are still to be merged are not judged", () => {
    expect(
      issuesOf({ SESSION_MAX_AGE: "1h", API_KEY_LENGTH: "3", ALGORITHM: "RS256" }).map(({ path }) => path),
    ).toEqual(["SESSION_MAX_AGE", "API_KEY_LENGTH"]);
    expect(settingsFromEnv({ ALGORITHM: "RS256" })).toEqual({ jwt: { algorithm: "RS256" } });
  });
});

describe("SECRET_KEY alone", () => {
  it("turns on sessions, API keys and JWT, and their switches turn each off", () => {
    const on = { secretKey: ROOT, session: {}, apiKeys: {}, jwt: {} };
    expect(settingsFromEnv({ SECRET_KEY: ROOT })).toEqual(on);
    expect(settingsFromEnv({ SECRET_KEY: ROOT, SESSIONS: "off" })).toEqual({ ...on, session: false });
    expect(settingsFromEnv({ SECRET_KEY: ROOT, API_KEYS: "off" })).toEqual({ ...on, apiKeys: false });
    expect(settingsFromEnv({ SECRET_KEY: ROOT, JWT: "off" })).toEqual({ ...on, jwt: false });
  });

  it("a switch wins over the other variables of its protection", () => {
    expect(settingsFromEnv({ SESSIONS: "off", SESSION_MAX_AGE: "60", SESSION_COOKIE: "sid" })).toEqual({
      session: false,
    });
    expect(settingsFromEnv({ SESSIONS: "on", SESSION_MAX_AGE: "60" })).toEqual({ session: { maxAge: 60 } });
    expect(settingsFromEnv({ JWT: "off", ALGORITHM: "RS256" })).toEqual({ jwt: false });
  });
});

describe("CORS from the environment", () => {
  const origins = "https://a.example,https://b.example";

  it.each(["off", "false", "0", "no"])(
    "allows no credentials with CORS_ALLOW_CREDENTIALS=%s, and then accepts plain http origins",
    (text) => {
      expect(
        settingsFromEnv({ BACKEND_CORS_ORIGINS: `${origins},http://c.example`, CORS_ALLOW_CREDENTIALS: text }),
      ).toEqual({
        cors: {
          origins: ["https://a.example", "https://b.example", "http://c.example"],
          credentials: false,
          methods: "*",
          allowedHeaders: ["*", "Authorization"],
        },
      });
    },
  );

  it("allows credentials with CORS_ALLOW_CREDENTIALS=on or unset, except when every origin is allowed", () => {
    expect(settingsFromEnv({ BACKEND_CORS_ORIGINS: origins, CORS_ALLOW_CREDENTIALS: "on" })).toEqual(
      settingsFromEnv({ BACKEND_CORS_ORIGINS: origins }),
    );
    expect(
      issuesOf({ BACKEND_CORS_ORIGINS: "*", CORS_ALLOW_CREDENTIALS: "on" }).map(({ code, path }) => `${code} ${path}`),
    ).toEqual(["contradiction BACKEND_CORS_ORIGINS"]);
    expect(issuesOf({ BACKEND_CORS_ORIGINS: "*", CORS_ALLOW_CREDENTIALS: "on" })[0]?.remedy).toMatch(
      /^List the origins, or remove CORS_ALLOW_CREDENTIALS\. /,
    );
    expect(issuesOf({ BACKEND_CORS_ORIGINS: "*", CORS_ALLOW_CREDENTIALS: "off" })).toEqual([]);
  });

  it.each([
    [{ BACKEND_CORS_ORIGINS: origins }, "true", "REPORT", "authorization,mcp-session-id"],
    [{ BACKEND_CORS_ORIGINS: origins, CORS_ALLOW_CREDENTIALS: "off" }, undefined, "*", "*,Authorization"],
  ])(
    "with %j answers a preflight for any method and any header, and none to another origin",
    async (env, credentials, methods, headers) => {
      const { cors } = settingsFromEnv(env);
      if (cors === undefined || cors === false) throw new Error("CORS is off.");
      const app = express();
      app.use(corsPolicy(cors));
      const server = await serve(app);
      const ask = (origin: string) =>
        server.send("/", {
          method: "OPTIONS",
          headers: {
            origin,
            "access-control-request-method": "REPORT",
            "access-control-request-headers": "authorization,mcp-session-id",
          },
        });
      const answer = await ask("https://b.example");
      expect([
        answer.status,
        answer.headers["access-control-allow-origin"],
        answer.headers["access-control-allow-credentials"],
      ]).toEqual([204, "https://b.example", credentials]);
      expect([answer.headers["access-control-allow-methods"], answer.headers["access-control-allow-headers"]]).toEqual([
        methods,
        headers,
      ]);
      expect(
        Object.keys((await ask("https://c.example")).headers).filter((name) => name.startsWith("access-control-")),
      ).toEqual([]);
      await server.close();
    },
  );
});

describe("debug with NODE_ENV=production", () => {
  afterEach(() => vi.unstubAllEnvs());
  const settings = { trustedHosts: ["a.example"] };
  const refused = (path: string): unknown =>
    expect.objectContaining({
      issues: [
        {
          code: "unsafe-setting",
          path,
          message: expect.stringMatching(/NODE_ENV/) as string,
          remedy: expect.stringMatching(/PORTCULLIS_DEBUG/) as string,
        },
      ],
    });

  it("is refused, by the name of the setting or of the variable", () => {
    vi.stubEnv("NODE_ENV", "production");
    expect(() => parseSettings({ ...settings, debug: true })).toThrow(refused("debug"));
    for (const name of ["PORTCULLIS_DEBUG", "DEBUG"])
      expect(() => settingsFromEnv({ [name]: "true" })).toThrow(refused(name));
    expect(() => settingsFromEnv({ PORTCULLIS_DEBUG: "on", DEBUG: "false" })).toThrow(refused("PORTCULLIS_DEBUG"));
  });

  it("is accepted when debug is off or NODE_ENV has another value", () => {
    vi.stubEnv("NODE_ENV", "production");
    expect(parseSettings({ ...settings, debug: false }).debug).toBe(false);
    expect(parseSettings({ ...settings, ...settingsFromEnv({ DEBUG: "express:*" }) }).debug).toBe(false);
    expect(settingsFromEnv({ PORTCULLIS_DEBUG: "false", DEBUG: "true" })).toEqual({ debug: false });
    for (const other of ["development", "test", ""]) {
      vi.stubEnv("NODE_ENV", other);
      expect(parseSettings({ ...settings, ...settingsFromEnv({ PORTCULLIS_DEBUG: "true" }) }).debug).toBe(true);
    }
  });
});

it("settingsFromEnv() reads process.env unless it is given another object", () => {
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
