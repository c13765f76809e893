import express from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applySecurity, parseSettings, SettingsError, settingsFromEnv, type SettingsIssue } from "portcullis";
import { serve } from "../support/serve.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const OTHER = "Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE";

function issuesOf(settings: unknown): readonly SettingsIssue[] {
  try {
    parseSettings(settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}
const brief = (settings: unknown) => issuesOf(settings).map(({ code, path }) => `${code} ${path}`);

describe("parseSettings", () => {
  it("requires trustedHosts, and nothing else", () => {
    expect(issuesOf({})).toEqual([
      {
        code: "missing-setting",
        path: "trustedHosts",
        message: "This setting is required: the host names that this app answers for.",
        remedy:
          'Write trustedHosts: ["api.example.com"] (ALLOWED_HOSTS). With debug: true the default is the loopback names.',
      },
    ]);
    expect(brief({ debug: true })).toEqual([]);
    expect(brief({ trustedHosts: ["a.example"] })).toEqual([]);
  });

  it("refuses a promise or null in place of an instance", () => {
    expect(brief({ debug: true, database: Promise.resolve() })).toEqual(["wrong-value database"]);
    expect(brief({ debug: true, rateLimit: { store: null, perPrincipal: { limit: 1 } } })).toContain(
      "wrong-type rateLimit.store",
    );
  });

  it("reports the issues of all protections and between them at once", () => {
    const found = brief({
      secretKey: "short",
      trustProxy: true,
      headers: { frameOption: "DENY" },
      trustedHosts: [],
      cors: { origins: ["https://a.example/path"], credentials: true },
      rateLimit: { limit: 0 },
      session: { secret: OTHER, sameSite: "none" },
      jwt: { secret: OTHER },
      csrf: false,
      sesion: {},
    });
    expect(found).toHaveLength(9);
    expect(found).toEqual(
      expect.arrayContaining([
        "unknown-setting sesion",
        "weak-secret secretKey",
        "unsafe-setting trustProxy",
        "unknown-setting headers.frameOption",
        expect.stringMatching(/ trustedHosts/),
        expect.stringMatching(/ cors\.origins\[0\]$/),
        expect.stringMatching(/ rateLimit\.limit$/),
        "contradiction csrf",
        "contradiction jwt.secret",
      ]),
    );
  });

  const base = { trustedHosts: ["a.example"], secretKey: SECRET };
  // Each contradiction with its allowed twin, which differs in one field.
  it.each([
    ["a /0 proxy range", { trustProxy: ["0.0.0.0/0"] }, { trustProxy: ["10.0.0.0/8"] }, "contradiction trustProxy"],
    [
      "a /0 proxy range without a limiter",
      { trustProxy: ["::/0"], rateLimit: false },
      { trustProxy: ["::1"], rateLimit: false },
      "contradiction trustProxy",
    ],
    [
      "forwarded hosts from none of zero proxies",
      { trustProxy: 0, trustedHosts: { hosts: ["a.example"], forwardedHost: true } },
      { trustProxy: 1, trustedHosts: { hosts: ["a.example"], forwardedHost: true } },
      "contradiction trustedHosts.forwardedHost",
    ],
    [
      "forwarded hosts from no proxy",
      { trustedHosts: { hosts: ["a.example"], forwardedHost: true } },
      { trustedHosts: { hosts: ["a.example"], forwardedHost: true }, trustProxy: 1 },
      "contradiction trustedHosts.forwardedHost",
    ],
    [
      "SameSite=None without Secure",
      { debug: true, session: { sameSite: "none" } },
      { debug: true, session: { sameSite: "lax" } },
      "contradiction session.sameSite",
    ],
    [
      "SameSite=None without csrf",
      { csrf: false, session: { sameSite: "none" } },
      { csrf: false, session: { sameSite: "lax" } },
      "contradiction csrf",
    ],
    [
      "a limit by principal that nothing proves",
      { rateLimit: { key: "principal" } },
      { rateLimit: { key: "principal" }, apiKeys: {} },
      "contradiction rateLimit.key",
    ],
    [
      "a limit per principal that nothing proves",
      { rateLimit: { perPrincipal: { limit: 5, windowSeconds: 5 } } },
      { rateLimit: { perPrincipal: { limit: 5, windowSeconds: 5 } }, jwt: {} },
      "contradiction rateLimit.perPrincipal",
    ],
    [
      "one secret for two purposes",
      { session: { secret: SECRET } },
      { session: { secret: OTHER } },
      "contradiction session.secret",
    ],
    [
      "the tokens' secret is the root",
      { jwt: { secret: SECRET } },
      { jwt: { secret: OTHER } },
      "contradiction jwt.secret",
    ],
    [
      "sessions without any secret",
      { secretKey: undefined, session: {} },
      { secretKey: undefined, session: { secret: OTHER } },
      "missing-setting secretKey",
    ],
    [
      "tokens without any secret",
      { secretKey: undefined, jwt: {} },
      { secretKey: undefined, jwt: { secret: OTHER } },
      "missing-setting secretKey",
    ],
    [
      "HMAC-ed keys without any secret",
      { secretKey: undefined, apiKeys: { hash: "hmac-sha256" } },
      { secretKey: undefined, apiKeys: { hash: "argon2id" } },
      "missing-setting secretKey",
    ],
    [
      "Redis by another scheme",
      { redis: "http://localhost" },
      { redis: "rediss://user:password@localhost:6380/1" },
      "wrong-value redis",
    ],
    ["a prefix with a hash tag", { redisPrefix: "{app}:" }, { redisPrefix: "app:" }, "wrong-value redisPrefix"],
    ["a database of an unknown kind", { database: "oracle://x" }, { database: "sqlite:x.db" }, "wrong-value database"],
    [
      "credentials with any origin",
      { cors: { origins: "*", credentials: true } },
      { cors: { origins: "*" } },
      "contradiction cors",
    ],
    [
      "HSTS preload under a year",
      { headers: { strictTransportSecurity: { maxAge: 60, preload: true } } },
      { headers: { strictTransportSecurity: { maxAge: 31536000, includeSubDomains: true, preload: true } } },
      "contradiction headers.strictTransportSecurity",
    ],
    [
      "two opinions on framing",
      { headers: { frameOptions: "DENY", contentSecurityPolicy: { directives: { "frame-ancestors": ["'self'"] } } } },
      {
        headers: {
          frameOptions: "SAMEORIGIN",
          contentSecurityPolicy: { directives: { "frame-ancestors": ["'self'"] } },
        },
      },
      "contradiction headers",
    ],
  ])("%s", (_name, wrong, right, issue) => {
    const found = brief({ ...base, ...wrong });
    expect(
      found.some((text) => text.startsWith(issue)),
      found.join("; "),
    ).toBe(true);
    expect(brief({ ...base, ...right })).toEqual([]);
  });

  it.each([undefined, null, 7, "x", [], true])("refuses %j as settings", (value) => {
    expect(brief(value)).toEqual(["wrong-type "]);
  });

  it("parsing the result again changes nothing", () => {
    const once = parseSettings({
      ...base,
      cors: { origins: ["https://app.example.com"] },
      session: {},
      apiKeys: {},
      jwt: {},
      rateLimit: { allow: ["10.0.0.0/8"] },
    });
    expect(parseSettings(once)).toEqual(once);
    expect(Object.isFrozen(once)).toBe(true);
  });

  it("accepts null-prototype and frozen objects, and undefined as absent", () => {
    const settings = Object.freeze(
      Object.assign(Object.create(null) as object, {
        debug: true,
        cors: undefined,
        session: undefined,
        rateLimit: undefined,
      }),
    );
    expect(parseSettings(settings)).toEqual(parseSettings({ debug: true }));
  });

  it("refuses a misspelt key at every depth", () => {
    expect(brief({ ...base, headers: { contentSecurityPolicy: { directive: {} } } })).toEqual([
      "unknown-setting headers.contentSecurityPolicy.directive",
    ]);
    expect(brief({ ...base, rateLimit: { perPrincipal: { limit: 5, windowSeconds: 5, x: 1 } }, apiKeys: {} })).toEqual([
      "unknown-setting rateLimit.perPrincipal.x",
    ]);
    for (const key of ["headers", "cors", "rateLimit", "csrf", "session", "apiKeys", "jwt"]) {
      const required = key === "cors" ? { origins: ["https://app.example.com"] } : {};
      expect(brief({ ...base, [key]: { ...required, nosuch: 1 } })).toEqual([`unknown-setting ${key}.nosuch`]);
    }
    expect(brief({ ...base, trustedHosts: { hosts: ["a.example"], nosuch: 1 } })).toEqual([
      "unknown-setting trustedHosts.nosuch",
    ]);
  });
});

describe("settingsFromEnv", () => {
  it("reads every name of the contract", () => {
    const settings = settingsFromEnv({
      SECRET_KEY: SECRET,
      PORTCULLIS_DEBUG: "false",
      TRUST_PROXY: "1",
      RATE_LIMIT_PER_MINUTE: "50",
      BACKEND_CORS_ORIGINS: '["https://a.example","https://b.example"]',
      CORS_ALLOW_CREDENTIALS: "true",
      ALLOWED_HOSTS: "a.example, *.b.example",
      SESSION_SECRET_KEY: OTHER,
      SESSION_MAX_AGE: "60",
      SESSION_COOKIE: "sid",
      API_KEY_PREFIX: "acme_",
      API_KEY_LENGTH: "40",
      ALGORITHM: "HS384",
      ACCESS_TOKEN_EXPIRE_MINUTES: "5",
      REFRESH_TOKEN_EXPIRE_DAYS: "3",
      CSRF_TRUSTED_ORIGINS: "https://c.example",
      DATABASE_URL: "sqlite:x.db",
      UNRELATED: "x",
    });
    expect(settings).toEqual({
      secretKey: SECRET,
      debug: false,
      trustProxy: 1,
      rateLimit: { limit: 50, windowSeconds: 60 },
      cors: {
        origins: ["https://a.example", "https://b.example"],
        credentials: true,
        methods: "*",
        allowedHeaders: "*",
      },
      trustedHosts: ["a.example", "*.b.example"],
      session: { secret: OTHER, maxAge: 60, cookieName: "sid" },
      apiKeys: { prefix: "acme_", length: 40 },
      jwt: { algorithm: "HS384", accessTokenMinutes: 5, refreshTokenDays: 3 },
      csrf: { trustedOrigins: ["https://c.example"] },
      database: "sqlite:x.db",
    });
    expect(brief(settings)).toEqual([]);
  });

  it("has the defaults of the contract", () => {
    const settings = parseSettings({
      ...settingsFromEnv({ ALLOWED_HOSTS: "a.example", SECRET_KEY: SECRET }),
      session: {},
      apiKeys: {},
      jwt: {},
    });
    expect(settings).toMatchObject({
      debug: false,
      trustProxy: false,
      cors: false,
      rateLimit: { limit: 100, windowSeconds: 60 },
      session: { maxAge: 3600, cookieName: "mcp_session" },
      apiKeys: { prefix: "mcp_", length: 32, hash: "argon2id" },
      jwt: { algorithm: "HS256", accessTokenMinutes: 30, refreshTokenDays: 7 },
    });
    expect(parseSettings({ debug: true })).toMatchObject({
      trustedHosts: { hosts: ["localhost", "127.0.0.1", "[::1]"] },
    });
  });

  it("leaves off every protection that is not set, and treats an empty variable as unset", () => {
    expect(settingsFromEnv({})).toEqual({});
    expect(settingsFromEnv({ SECRET_KEY: "", ALLOWED_HOSTS: " ", SESSION_MAX_AGE: "" })).toEqual({});
  });

  it("names each variable whose text is invalid, without its value", () => {
    try {
      settingsFromEnv({
        PORTCULLIS_DEBUG: "express:*",
        SESSION_MAX_AGE: "1h",
        SECRET_KEY: '["half',
        RATE_LIMIT_PER_MINUTE: "-5",
      });
      expect.unreachable();
    } catch (error) {
      const { issues, message } = error as SettingsError;
      expect(issues.map(({ code, path }) => `${code} ${path}`).sort()).toEqual([
        "wrong-type PORTCULLIS_DEBUG",
        "wrong-type RATE_LIMIT_PER_MINUTE",
        "wrong-type SECRET_KEY",
        "wrong-type SESSION_MAX_AGE",
      ]);
      expect(message).not.toContain("half");
    }
  });

  it("trust proxy: hops, lists, false; true is refused under its name", () => {
    expect(settingsFromEnv({ TRUST_PROXY: "10.0.0.1, 10.0.0.2" }).trustProxy).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(settingsFromEnv({ TRUST_PROXY: "false" }).trustProxy).toBe(false);
    expect(() => settingsFromEnv({ TRUST_PROXY: "true" })).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ code: "unsafe-setting", path: "TRUST_PROXY" })] }),
    );
  });
});

describe("random settings", () => {
  const keys = [
    "secretKey",
    "debug",
    "trustProxy",
    "headers",
    "trustedHosts",
    "cors",
    "rateLimit",
    "csrf",
    "session",
    "apiKeys",
    "jwt",
    "mode",
    "limit",
    "origins",
    "hosts",
    "__proto__",
    "constructor",
    "x",
  ];
  const value = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom<unknown>(
        true,
        false,
        null,
        undefined,
        0,
        1,
        -1,
        1e400,
        NaN,
        "",
        "*",
        "'self'",
        SECRET,
        "https://a.example",
        "a.example",
        "10.0.0.0/8",
        "report",
        "HS256",
      ),
      fc.string({ maxLength: 12 }),
      fc.array(tie("node"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie("node"), { maxKeys: 4, noNullPrototype: false }),
    ),
  })).node;
  const settings = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 });

  it("make a SettingsError with a path for every issue, or a pipeline that answers", async () => {
    let worked = 0;
    await fc.assert(
      fc.asyncProperty(settings, async (given) => {
        const app = express();
        let security;
        try {
          security = applySecurity(app, { debug: true, ...given } as never);
        } catch (error) {
          expect(error).toBeInstanceOf(SettingsError);
          for (const issue of (error as SettingsError).issues) expect(issue.path).not.toBe("");
          return;
        }
        worked += 1;
        app.get("/", (_req, res) => void res.send("ok"));
        const server = await serve(app);
        try {
          expect([200, 400, 403, 429]).toContain((await server.send("/")).status);
        } finally {
          await server.close();
          await security.close();
        }
      }),
      { numRuns: 400 },
    );
    expect(worked).toBeGreaterThan(10);
  }, 60_000);
});
