import session from "express-session";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { createRuntime } from "../../src/core/runtime.js";
import { Secret } from "../../src/core/secret.js";
import { createSession, sessions } from "../../src/session/middleware.js";
import { sessionSchema, type SessionSettings } from "../../src/session/settings.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { testEdges, testTexts } from "../settings/edges.js";
import { OTHER_SECRET, SECRET, SlowStore, bench } from "./support.js";

function issuesOf(act: () => unknown): readonly SettingsIssue[] {
  try {
    act();
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("session settings", () => {
  it("have these defaults", () => {
    expect(parse(sessionSchema, {})).toEqual({
      cookieName: "mcp_session",
      maxAge: 3600,
      absoluteMaxAge: 86_400,
      cookieLifetime: "idle",
      sameSite: "lax",
      path: "/",
      partitioned: false,
      storeTimeoutMs: 250,
      maxSessions: 100_000,
      mode: "enforce",
    });
  });

  it.each([
    ["an empty object", {}],
    ["a frozen object", Object.freeze({ secret: SECRET, maxAge: 60 })],
    ["an object without a prototype", Object.assign(Object.create(null) as object, { maxAge: 60 })],
    [
      "undefined values",
      {
        secret: undefined,
        cookieName: undefined,
        maxAge: undefined,
        domain: undefined,
        store: undefined,
        absoluteMaxAge: undefined,
      },
    ],
    ["a list of secrets", { secret: [SECRET, OTHER_SECRET] }],
    ["a store", { store: new SlowStore() }],
    ["a prefixed name", { cookieName: "__Host-sid" }],
    ["a domain", { domain: "app.example.com", cookieName: "__Secure-sid" }],
    ["the two times equal", { maxAge: 60, absoluteMaxAge: 60 }],
  ] as [string, SessionSettings][])("accept %s, and the parsed result again", (_name, settings) => {
    const once = parse(sessionSchema, settings);
    expect(parse(sessionSchema, once)).toEqual(once);
  });

  it("raise the default of the absolute time-out to a longer idle time-out", () => {
    expect(parse(sessionSchema, { maxAge: 200_000 }).absoluteMaxAge).toBe(200_000);
  });

  it("keep the store that was given, and copy the rest", () => {
    const store = new session.MemoryStore();
    const given = { store, cookieName: "a" };
    expect(parse(sessionSchema, given).store).toBe(store);
    expect(given).toEqual({ store, cookieName: "a" });
  });

  const table: { name: string; settings: object; code: string; path: string; message: RegExp }[] = [
    { name: "an unknown key", settings: { maxage: 5 }, code: "unknown-setting", path: "maxage", message: /maxAge/ },
    {
      name: "a weak secret",
      settings: { secret: "short" },
      code: "weak-secret",
      path: "secret",
      message: /shorter than 32 bytes/,
    },
    {
      name: "a weak second secret",
      settings: { secret: [SECRET, "short"] },
      code: "weak-secret",
      path: "secret[1]",
      message: /shorter/,
    },
    {
      name: "a cookie name with a semicolon",
      settings: { cookieName: "a;b" },
      code: "wrong-value",
      path: "cookieName",
      message: /This is not a valid cookie name\./,
    },
    {
      name: "a cookie name that is too long",
      settings: { cookieName: "a".repeat(129) },
      code: "wrong-value",
      path: "cookieName",
      message: /This is not a valid cookie name\./,
    },
    {
      name: "an empty cookie name",
      settings: { cookieName: "" },
      code: "wrong-value",
      path: "cookieName",
      message: /This is not a valid cookie name\./,
    },
    {
      name: "a prefix in another case",
      settings: { cookieName: "__host-sid" },
      code: "wrong-value",
      path: "cookieName",
      message: /prefix/,
    },
    {
      name: "two prefixes",
      settings: { cookieName: "__Host-__Secure-sid" },
      code: "wrong-value",
      path: "cookieName",
      message: /prefix/,
    },
    { name: "an idle time of nothing", settings: { maxAge: 0 }, code: "wrong-value", path: "maxAge", message: /./ },
    { name: "an idle time in a string", settings: { maxAge: "60" }, code: "wrong-type", path: "maxAge", message: /./ },
    {
      name: "an absolute time below the idle time",
      settings: { maxAge: 60, absoluteMaxAge: 59 },
      code: "contradiction",
      path: "absoluteMaxAge",
      message: /The absolute time-out is shorter than the idle time-out/,
    },
    { name: "another SameSite", settings: { sameSite: "Lax" }, code: "wrong-value", path: "sameSite", message: /./ },
    {
      name: "a domain with a leading dot",
      settings: { domain: ".example.com" },
      code: "wrong-value",
      path: "domain",
      message: /domain/,
    },
    {
      name: "a domain of one label",
      settings: { domain: "com" },
      code: "wrong-value",
      path: "domain",
      message: /domain/,
    },
    {
      name: "a public suffix as domain",
      settings: { domain: "co.uk" },
      code: "wrong-value",
      path: "domain",
      message: /This is a public suffix/,
    },
    {
      name: "__Host- with a domain",
      settings: { domain: "example.com", cookieName: "__Host-a" },
      code: "contradiction",
      path: "domain",
      message: /__Host-/,
    },
    {
      name: "a store class",
      settings: { store: session.MemoryStore },
      code: "wrong-type",
      path: "store",
      message: /not an express-session store/,
    },
    {
      name: "a store that cannot destroy",
      settings: { store: { get: () => 1, set: () => 1 } },
      code: "wrong-type",
      path: "store",
      message: /not an express-session store/,
    },
    { name: "another mode", settings: { mode: "off" }, code: "wrong-value", path: "mode", message: /./ },
  ];
  it.each(table)("refuse $name", ({ settings, code, path, message }) => {
    const issues = issuesOf(() => parse(sessionSchema, settings));
    expect(issues).toHaveLength(1);
    expect(issues[0]).toMatchObject({ code, path, message: expect.stringMatching(message) });
    expect(issues[0]?.remedy.length).toBeGreaterThan(5);
  });

  testEdges(sessionSchema, [
    { name: "maxAge", lowest: 1, highest: 400 * 86_400 },
    { name: "absoluteMaxAge", lowest: 1, highest: 400 * 86_400, beside: { maxAge: 1 } },
    { name: "storeTimeoutMs", lowest: 1, highest: 60_000 },
    { name: "maxSessions", lowest: 1, highest: 100_000_000 },
  ]);

  testTexts(sessionSchema, "cookieName", [
    ["a", ""],
    ["a".repeat(128), "a".repeat(129)],
    ["sid.1~", "sid="],
    ["!sid", "(sid"],
    ["a", "a\n"],
    ["__Host-a", "__Host-"],
    ["__Secure-a", "__SECURE-a"],
    ["__Hosts-a", "__Http-a"],
    ["host-a", "__host-a"],
    ["a__http-b", "__http-a"],
    ["__Secure-http-a", "__Host-Http-a"],
    ["__Host-_a", "__Host-__a"],
    ["sid-__Http-", "__Secure-Http-a"],
  ]);

  const label = "a".repeat(63);
  testTexts(sessionSchema, "domain", [
    ["a.b", "a"],
    ["example.com", "Example.com"],
    ["a-b.example.com", "a_b.example.com"],
    ["a.example.com", "a..example.com"],
    ["a.example.com", "a.example.com."],
    ["a.example.com", ".a.example.com"],
    ["a.example", "-a.example"],
    ["a1.example", "a-.example"],
    ["b.a1.example", "b.a-.example"],
    ["b.a1.example", "b.-a.example"],
    [`${label}.example`, `a${label}.example`],
    [`b.${label}`, `b.a${label}`],
    [`${label}.${label}.${label}.${"a".repeat(61)}`, `${label}.${label}.${label}.${"a".repeat(62)}`],
    ["example.com", "example.com/"],
    ["example.com", "example.com:443"],
    ["example.com", "*.example.com"],
    ["example.com", ""],
    ["example.co.uk", "co.uk"],
    ["ada.github.io", "github.io"],
    ["app.internal", "internal"],
  ]);

  it("may name every host below a domain, also with the prefix that allows it", () => {
    expect(parse(sessionSchema, { domain: "example.com", cookieName: "sid-__Host-" })).toMatchObject({
      domain: "example.com",
    });
  });

  it.each([null, "memory", 7, Object.assign(() => 1, { get: () => 1, set: () => 1, destroy: () => 1 })])(
    "refuse a store that is not an object: %s",
    (store) => {
      expect(issuesOf(() => parse(sessionSchema, { store }))).toMatchObject([{ code: "wrong-type", path: "store" }]);
    },
  );

  it.each(["get", "set", "destroy"])("refuse a store without %s", (method) => {
    const store = { get: () => 1, set: () => 1, destroy: () => 1 };
    expect(parse(sessionSchema, { store: store as never })).toMatchObject({ store });
    expect(issuesOf(() => parse(sessionSchema, { store: { ...store, [method]: undefined } }))).toMatchObject([
      { code: "wrong-type", path: "store" },
    ]);
  });

  it.each(["lax", "strict", "none"] as const)("accept %s as SameSite", (sameSite) => {
    expect(parse(sessionSchema, { sameSite }).sameSite).toBe(sameSite);
  });

  it("require a secret", () => {
    for (const make of [
      () => sessions({}),
      () => sessions(undefined as never),
      () => createSession(parse(sessionSchema, {}), createRuntime(), { secretKey: [] }),
    ]) {
      expect(issuesOf(make)).toMatchInlineSnapshot(`
        [
          {
            "code": "missing-setting",
            "message": "Sessions need a secret to sign their cookies.",
            "path": "secret",
            "remedy": "Set secret to a random secret. Generate one with: node -p "require('node:crypto').randomBytes(32).toString('base64url')"",
          },
        ]
      `);
    }
    expect(() =>
      createSession(parse(sessionSchema, {}), createRuntime(), { secretKey: [new Secret(SECRET)] }),
    ).not.toThrow();
  });

  it("refuse SameSite=None in debug, and accept it otherwise", () => {
    expect(issuesOf(() => bench({ sameSite: "none" }, { debug: true }))).toEqual([
      {
        code: "contradiction",
        path: "session.sameSite",
        message: expect.stringMatching(/Secure/) as string,
        remedy: expect.stringMatching(/lax/) as string,
      },
    ]);
    expect(() => bench({ sameSite: "none" })).not.toThrow();
    expect(() => bench({ sameSite: "lax" }, { debug: true })).not.toThrow();
  });

  it("are described in JSON without the secret", () => {
    const { layer } = bench({ domain: "example.com", secret: [SECRET, OTHER_SECRET] });
    const text = JSON.stringify(layer.describe()) + inspect(layer, { depth: 10 });
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(OTHER_SECRET);
    expect(JSON.parse(JSON.stringify(layer.describe()))).toEqual({
      cookieName: "__Secure-mcp_session",
      secure: true,
      maxAge: 3600,
      absoluteMaxAge: 86_400,
      cookieLifetime: "idle",
      sameSite: "lax",
      domain: "example.com",
      path: "/",
      partitioned: false,
      secret: "[secret]",
      store: "MemorySessionStore",
      storeTimeoutMs: 250,
      maxSessions: 100_000,
      mode: "enforce",
    });
  });
});
