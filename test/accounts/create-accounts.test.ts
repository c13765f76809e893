import express from "express";
import { applySecurity, type Security, type SecuritySettings, SettingsError, type SettingsIssue } from "portcullis";
import { createAccounts, type AccountsSettings } from "portcullis/accounts";
import { testSecret } from "portcullis/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { MemoryCredentialStore } from "../../src/stores/memory/credential-store.js";

const ACCOUNTS: AccountsSettings = {
  baseUrl: "https://app.example.com",
  users: { findByLogin: () => undefined, findById: () => undefined },
};

function secured(settings: SecuritySettings = {}): Security {
  const app = express();
  const security = applySecurity(app, {
    trustedHosts: ["app.example.com"],
    debug: true,
    secretKey: testSecret(),
    session: {},
    ...settings,
  });
  onTestFinished(() => security.close());
  return security;
}

describe("createAccounts", () => {
  test("lists everything that is wrong at once, also what it needs of the app", () => {
    const security = secured({ session: false, csrf: false, secretKey: undefined });
    const wrong = { ...ACCOUNTS, baseUrl: "app.example.com", notifyy: () => undefined, freshSeconds: 1 };
    let caught: unknown;
    try {
      createAccounts(security, wrong);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(SettingsError);
    const { issues, message } = caught as SettingsError;
    expect(issues.map(({ path }) => path).sort()).toEqual([
      "baseUrl",
      "freshSeconds",
      "notifyy",
      "secretKey",
      "session",
    ]);
    expect(message).toMatch(/^createAccounts\(\): 5 settings are wrong/);
  });

  const wrongPasswords: readonly [object, readonly { path: string; remedy: RegExp }[]][] = [
    [{ breached: true }, [{ path: "passwords.breached", remedy: /^Write "list", \{ api: true \} or false\.$/ }]],
    [{ breached: { api: true, onErr: "allow" } }, [{ path: "passwords.breached.onErr", remedy: /^Correct the name/ }]],
    [{ breached: { onError: "refuse" } }, [{ path: "passwords.breached.api", remedy: /true/ }]],
    [{ minLength: 4 }, [{ path: "passwords.minLength", remedy: /^Use at least 8\.$/ }]],
    [
      { minLength: 10, minLengthWithSecondFactor: 12 },
      [{ path: "passwords.minLengthWithSecondFactor", remedy: /^Write at most 10\.$/ }],
    ],
  ];

  test.each(wrongPasswords)("says of passwords: %j what to write, once", (passwords, expected) => {
    let issues: SettingsError["issues"] = [];
    try {
      createAccounts(secured(), { ...ACCOUNTS, passwords: passwords });
    } catch (error) {
      issues = (error as SettingsError).issues;
    }
    expect(issues.map(({ path, remedy }) => ({ path, remedy }))).toEqual(
      expected.map(({ path, remedy }) => ({ path, remedy: expect.stringMatching(remedy) as string })),
    );
  });

  test.each(["list", false, { api: true }, { api: true, onError: "refuse" }] as const)(
    "takes breached: %j",
    (breached) => {
      expect(() => createAccounts(secured(), { ...ACCOUNTS, passwords: { breached } })).not.toThrow();
    },
  );
  /** The issues that `createAccounts` throws. */
  function issuesOf(accounts: Partial<AccountsSettings>, security: SecuritySettings = {}): SettingsIssue[] {
    const app = secured(security);
    try {
      createAccounts(app, { ...ACCOUNTS, ...accounts });
    } catch (error) {
      return [...(error as SettingsError).issues];
    }
    return [];
  }

  test.each(["/:tenant", "/account*", "/(a|b)", "/{a}", "/a+", "/[a]"])(
    "refuses mountPath %s, a pattern",
    (mountPath) => {
      expect(issuesOf({ mountPath })).toMatchObject([{ code: "wrong-value", path: "mountPath" }]);
    },
  );

  test.each(["/account", "/", "/users/me", "/a-b_c.d~e"])("takes mountPath %s", (mountPath) => {
    expect(issuesOf({ mountPath })).toEqual([]);
  });

  test.each([
    ["https://other.example.com", ["app.example.com"]],
    ["https://app.example.com", ["app.example.com:8443"]],
    ["https://example.com", ["*.example.com"]],
    ["http://localhost:3000", ["app.example.com"]],
    ["https://app.example.com", { hosts: ["api.example.com"], exemptPaths: ["/health"] }],
  ] as const)("refuses baseUrl %s when trustedHosts is %j", (baseUrl, trustedHosts) => {
    const given = trustedHosts as SecuritySettings["trustedHosts"];
    const [issue, ...others] = issuesOf({ baseUrl }, { trustedHosts: given });
    expect(issue).toMatchObject({ code: "contradiction", path: "baseUrl" });
    expect(issue?.remedy).toContain(`Add "${new URL(baseUrl).host}" to trustedHosts`);
    expect(others).toEqual([]);
    const wrong = issuesOf({ baseUrl, freshSeconds: 1 }, { trustedHosts: given, session: false, csrf: false });
    expect(wrong.map(({ path }) => path).sort()).toEqual(["baseUrl", "freshSeconds", "session"]);
  });

  test.each([
    ["https://app.example.com", ["app.example.com"]],
    ["https://app.example.com:8443", ["app.example.com"]],
    ["https://app.example.com:8443", ["app.example.com:8443"]],
    ["https://a.app.example.com", ["*.example.com"]],
    ["http://[::1]:3000", undefined],
    ["https://tenant.example.com", () => false],
    ["https://app.example.com", false],
  ] as const)("takes baseUrl %s when trustedHosts is %s", (baseUrl, trustedHosts) => {
    expect(issuesOf({ baseUrl }, { trustedHosts: trustedHosts as SecuritySettings["trustedHosts"] })).toEqual([]);
  });

  test.each([
    ["/app", undefined],
    ["/app", "/application/account"],
    ["/app", "/App/account"],
    ["/account/me", "/account"],
  ])("refuses session.path %s with mountPath %s: the cookie would not reach the routes", (path, mountPath) => {
    const given = mountPath === undefined ? {} : { mountPath };
    const [issue, ...others] = issuesOf(given, { session: { path } });
    expect(issue).toMatchObject({ code: "contradiction", path: "mountPath" });
    expect(issue?.remedy).toContain(`mountPath: "${path}`);
    expect(others).toEqual([]);
    const wrong = issuesOf({ ...given, freshSeconds: 1 }, { session: { path } });
    expect(wrong.map((one) => one.path).sort()).toEqual(["freshSeconds", "mountPath"]);
  });

  test.each([
    ["/", undefined],
    ["/account", undefined],
    ["/app", "/app"],
    ["/app", "/app/account"],
    ["/app", "/app/"],
  ])("takes session.path %s with mountPath %s", (path, mountPath) => {
    expect(issuesOf(mountPath === undefined ? {} : { mountPath }, { session: { path } })).toEqual([]);
  });

  test.each([
    [{ rememberSeconds: 3599 }, {}, 3600],
    [{ rememberSeconds: 86_400 }, { maxAge: 86_401 }, 86_401],
  ])("refuses %j with session %j: a log-in that is remembered would end sooner", (accounts, session, least) => {
    const [issue, ...others] = issuesOf(accounts, { session });
    expect(issue).toMatchObject({ code: "contradiction", path: "rememberSeconds" });
    expect(issue?.remedy).toContain(`rememberSeconds: ${least}`);
    expect(others).toEqual([]);
  });

  test.each([
    [{ rememberSeconds: 3600 }, {}],
    [{ rememberSeconds: 86_401 }, { maxAge: 86_401 }],
    [{}, { maxAge: 5_184_000 }],
    [{ rememberSeconds: 60 }, false],
  ] as const)("takes %j with session %j", (accounts, session) => {
    expect(issuesOf(accounts, session === false ? { session, csrf: false, jwt: {} } : { session })).toEqual([]);
  });

  test.each([
    [{}, {}, 2_592_000],
    [{ rememberSeconds: undefined }, { maxAge: 5_184_000 }, 5_184_000],
    [{ rememberSeconds: 6_000_000 }, { maxAge: 5_184_000 }, 6_000_000],
  ])("with %j and session %j a log-in that is remembered lasts %d s", (accounts, session, lasts) => {
    const security = secured({ session });
    createAccounts(security, { ...ACCOUNTS, ...accounts });
    const [described] = security.describe().filter(({ id }) => id === "accounts");
    expect(described?.settings.rememberSeconds).toBe(lasts);
  });

  test.each([
    ["baseUrl", "users"],
    ["users", "baseUrl"],
  ] as const)("says of a missing %s to set it: the object around it is required", (name, other) => {
    const without = { [other]: ACCOUNTS[other] } as unknown as AccountsSettings;
    const remedies: string[] = [];
    try {
      createAccounts(secured(), without);
    } catch (error) {
      remedies.push(...(error as SettingsError).issues.map(({ path, remedy }) => `${path}: ${remedy}`));
    }
    expect(remedies).toEqual([`${name}: Set it: it has no default.`]);
  });

  test("takes http for this machine alone, also without debug", () => {
    const hosts = ["app.example.com", "localhost"];
    const unsafe = issuesOf({ baseUrl: "http://app.example.com" }, { debug: false, trustedHosts: hosts });
    expect(unsafe).toMatchObject([{ code: "unsafe-setting", path: "baseUrl" }]);
    expect(issuesOf({ baseUrl: "http://localhost:3000" }, { debug: false, trustedHosts: hosts })).toEqual([]);
  });

  test("is called once for one app, and before ready()", async () => {
    const security = secured();
    createAccounts(security, ACCOUNTS);
    expect(() => createAccounts(security, ACCOUNTS)).toThrow("called twice");
    expect(security.describe().filter(({ id }) => id === "accounts")).toHaveLength(1);
    await security.ready();

    const late = secured();
    await late.ready();
    expect(() => createAccounts(late, ACCOUNTS)).toThrow("before security.ready()");
    expect(() => createAccounts(late, ACCOUNTS)).toThrow("before security.ready()");
    expect(late.describe().filter(({ id }) => id === "accounts")).toEqual([]);
  });

  test.each([undefined, null, {}, () => undefined])("needs what applySecurity returned: %s", (other) => {
    expect(() => createAccounts(other as never, ACCOUNTS)).toThrow("createAccounts needs what applySecurity returned");
  });

  test("describe() shows the effective settings, and neither secrets nor functions", () => {
    const security = secured();
    const pepper = testSecret();
    createAccounts(security, {
      ...ACCOUNTS,
      passwords: { pepper: [pepper], blockList: ["acme"] },
      factors: { required: () => false },
      stores: { credentials: new MemoryCredentialStore() },
    });
    const [described] = security.describe().filter(({ id }) => id === "accounts");
    const text = JSON.stringify(described);
    expect(text).not.toContain(String(pepper));
    expect(JSON.parse(text)).toMatchObject({
      settings: {
        baseUrl: "https://app.example.com",
        mountPath: "/account",
        users: { findByLogin: "function", findById: "function" },
        passwords: { minLength: 15, pepper: ["[secret]"], blockList: ["acme"] },
        factors: { recoveryCodes: true, required: "function" },
        pages: { login: "/login" },
        onCompromise: "sessions",
        stores: { credentials: "MemoryCredentialStore" },
      },
    });
  });
});
