import express from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applySecurity,
  MemorySessionStore,
  parseSettings,
  Secret,
  settingsFromEnv,
  SettingsError,
  type SecuritySettings,
} from "portcullis";
import { mergeSettings } from "../../src/app-settings/merge.js";

const ROOT = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

function issuesOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof SettingsError) return error.issues.map(({ code, path }) => `${code} ${path}`);
    throw error;
  }
  return [];
}

describe("merging settings", () => {
  it.each<[string, object, object, object]>([
    ["a later value wins", { debug: true, trustProxy: 1 }, { trustProxy: 2 }, { debug: true, trustProxy: 2 }],
    [
      "objects are merged",
      { session: { maxAge: 60 } },
      { session: { sameSite: "strict" } },
      { session: { maxAge: 60, sameSite: "strict" } },
    ],
    [
      "at any depth",
      { headers: { strictTransportSecurity: { maxAge: 1 } } },
      { headers: { strictTransportSecurity: { preload: true } } },
      { headers: { strictTransportSecurity: { maxAge: 1, preload: true } } },
    ],
    ["lists are replaced", { trustedHosts: ["a", "b"] }, { trustedHosts: ["c"] }, { trustedHosts: ["c"] }],
    [
      "undefined is ignored",
      { jwt: { issuer: "a" } },
      { jwt: { issuer: undefined }, session: undefined },
      { jwt: { issuer: "a" }, session: undefined },
    ],
    ["false wins over an earlier object", { jwt: { issuer: "a" } }, { jwt: false }, { jwt: false }],
    ["false wins over a later object", { jwt: false }, { jwt: { issuer: "a" } }, { jwt: false }],
    [
      "false wins inside an object",
      { headers: { contentSecurityPolicy: false } },
      { headers: { contentSecurityPolicy: {} } },
      { headers: { contentSecurityPolicy: false } },
    ],
    [
      "false is a value like others elsewhere",
      { debug: false, trustProxy: false },
      { debug: true, trustProxy: 1 },
      { debug: true, trustProxy: 1 },
    ],
    ["a list replaces an object", { trustedHosts: { hosts: ["a"] } }, { trustedHosts: ["b"] }, { trustedHosts: ["b"] }],
    ["null is a value, to be refused", { session: {} }, { session: null }, { session: null }],
  ])("%s", (_name, first, second, merged) => {
    const [before, after] = [structuredClone(first), structuredClone(second)];
    expect({ ...mergeSettings([first, second]) }).toEqual(merged);
    expect([first, second]).toEqual([before, after]);
  });

  it("keeps clients and stores as they are", () => {
    const store = { get: () => undefined, set: () => undefined, destroy: () => undefined };
    const other = new MemorySessionStore();
    const redis = { sendCommand: () => undefined };
    const merged = mergeSettings([
      { session: { store }, redis: { a: 1 } },
      { session: { maxAge: 1 }, redis },
    ]) as {
      session: { store: unknown };
      redis: unknown;
    };
    expect(merged.session.store).toBe(store);
    expect(merged.redis).toBe(redis);
    const later = mergeSettings([{ session: { store } }, { session: { store: other } }]) as typeof merged;
    expect(later.session.store).toBe(other);
    const secret = new Secret(ROOT);
    expect((mergeSettings([{ secretKey: "x" }, { secretKey: secret }]) as { secretKey: unknown }).secretKey).toBe(
      secret,
    );
  });

  it("does not reach a prototype", () => {
    const hostile = JSON.parse('{"__proto__":{"debug":true},"session":{"__proto__":{"maxAge":5}}}') as object;
    const merged = mergeSettings([hostile, { session: { maxAge: 60 } }]);
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect(issuesOf(() => parseSettings([{ trustedHosts: ["a.example"], secretKey: ROOT }, hostile]))).toEqual([
      "unknown-setting __proto__",
      "unknown-setting session.__proto__",
    ]);
  });

  it("one object is what it was, and undefined everywhere changes nothing", () => {
    const tree = fc.letrec((tie) => ({
      tree: fc.dictionary(
        fc.string(),
        fc.oneof({ depthSize: "small" }, fc.boolean(), fc.integer(), fc.array(fc.string()), tie("tree")),
      ),
    })).tree;
    fc.assert(
      fc.property(tree, (settings) => {
        expect({ ...mergeSettings([settings as object]) }).toEqual(settings);
        expect({ ...mergeSettings([settings as object, {}]) }).toEqual(settings);
        expect({ ...mergeSettings([{}, settings as object]) }).toEqual(settings);
      }),
    );
  });
});

describe("applySecurity with a list", () => {
  const env = { SECRET_KEY: ROOT, ALLOWED_HOSTS: "api.example.com", SESSION_MAX_AGE: "60" };

  it("merges deeply, and takes what either turns on", async () => {
    const security = applySecurity(express(), [
      settingsFromEnv(env),
      { session: { sameSite: "strict" }, rateLimit: { limit: 7 } },
    ]);
    expect(security.settings.session).toMatchObject({ maxAge: 60, sameSite: "strict" });
    expect(security.settings.rateLimit).toMatchObject({ limit: 7 });
    expect(security.describe().map(({ id }) => id)).toEqual(
      expect.arrayContaining(["headers", "trusted-host", "rate-limit", "csrf", "session", "api-key", "jwt"]),
    );
    await security.close();
  });

  it("lets the environment switch off what the app configures", async () => {
    const security = applySecurity(express(), [
      settingsFromEnv({ ...env, SESSIONS: "off" }),
      { session: { sameSite: "strict" }, jwt: {} },
    ]);
    expect(security.settings.session).toBe(false);
    expect(security.sessions).toBeUndefined();
    expect(security.jwt).toBeDefined();
    await security.close();
  });

  it("names the variable that a wrong value came from, unless the app has replaced the value", () => {
    const wrong = settingsFromEnv({ ...env, BACKEND_CORS_ORIGINS: "*" });
    expect(
      issuesOf(() => applySecurity(express(), [wrong, { cors: { credentials: true, origins: undefined as never } }])),
    ).toContain("contradiction BACKEND_CORS_ORIGINS");
    expect(issuesOf(() => applySecurity(express(), [wrong, { cors: { credentials: true, origins: "*" } }]))).toContain(
      "contradiction cors.origins",
    );
    const mine: SecuritySettings = { session: { absoluteMaxAge: 5 } };
    expect(issuesOf(() => applySecurity(express(), [settingsFromEnv(env), mine]))).toEqual([
      "contradiction session.absoluteMaxAge",
    ]);
    // What only the merged settings show, under one object too.
    const proxied = settingsFromEnv({ ...env, SESSION_SECRET_KEY: ROOT.slice(1) + "x" });
    expect(issuesOf(() => applySecurity(express(), proxied))).toEqual([]);
    expect(issuesOf(() => settingsFromEnv({ ...env, SESSION_SECRET_KEY: ROOT }))).toEqual([
      "contradiction SESSION_SECRET_KEY",
    ]);
  });

  it("refuses what is no list of objects, and names the hosts' variable when they are missing", () => {
    const given = (settings: unknown): string[] => issuesOf(() => applySecurity(express(), settings as never));
    expect(given([])).toEqual(["wrong-type "]);
    expect(given([{}, null])).toEqual(["wrong-type [1]"]);
    expect(given([[{}]])).toEqual(["wrong-type [0]"]);
    expect(given([{ debug: true }, { sesion: {} }])).toEqual(["unknown-setting sesion"]);
    try {
      parseSettings(settingsFromEnv({ SECRET_KEY: ROOT }));
    } catch (error) {
      expect((error as SettingsError).issues[0]?.remedy).toContain("ALLOWED_HOSTS");
    }
  });

  it("a getter that throws is an issue of its setting", () => {
    const broken = Object.defineProperty({ trustedHosts: ["a.example"] }, "rateLimit", {
      enumerable: true,
      get: () => {
        throw new Error("bug");
      },
    });
    expect(issuesOf(() => applySecurity(express(), [broken, { rateLimit: {} }] as never))).toEqual([
      "wrong-value rateLimit",
    ]);
  });
});
