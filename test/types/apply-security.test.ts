import { describe, expect, it } from "vitest";
import { allSettings, type SettingPath } from "../support/known-settings.js";
import { Editor } from "./editor.js";

const HEADER = `import express from "express";
import { applySecurity, settingsFromEnv, type SecuritySettings } from "portcullis";
import { accessTokenFor, apiKeyFor } from "portcullis/testing";
const app = express();
declare const isOn: boolean;
`;

/** Compiles statements; those that must not compile name what the error says after `//!`. */
function check(statements: readonly string[]): { wrong: string[] } {
  const first = HEADER.split("\n").length;
  const errors = new Editor("user.ts", HEADER + statements.join("\n")).errors();
  const wrong = statements.flatMap((statement, index) => {
    const found = errors.filter(({ line }) => line === first + index).map(({ message }) => message);
    const expected = statement.split("//! ")[1];
    if (expected === undefined) return found.map((message) => `${statement}: ${message}`);
    return found.some((message) => message.includes(expected)) ? [] : [`${statement}: compiles`];
  });
  return { wrong: [...wrong, ...errors.filter(({ line }) => line < first).map(({ message }) => message)] };
}

describe("the type of what applySecurity returns", () => {
  it("has apiKeys, jwt and sessions where the settings turn them on, and nowhere else", { timeout: 120_000 }, () => {
    const { wrong } = check([
      'const some = applySecurity(app, { trustedHosts: ["a.example"], apiKeys: {}, jwt: false });',
      "some.apiKeys.get;",
      "some.jwt; //! does not exist",
      "some.sessions; //! does not exist",
      'const all = applySecurity(app, { trustedHosts: ["a.example"], apiKeys: { hash: "hmac-sha256" }, jwt: {}, session: { maxAge: 60 } });',
      "all.apiKeys.get; all.jwt.issue; all.sessions.list;",
      "const none = applySecurity(app, { trustedHosts: false });",
      "none.apiKeys; //! does not exist",
      "none.requireAuth();",
    ]);
    expect(wrong).toEqual([]);
  });

  it("has them as possibly undefined where the settings may turn them on", { timeout: 120_000 }, () => {
    const { wrong } = check([
      "const env = applySecurity(app, settingsFromEnv());",
      "env.apiKeys?.get; env.jwt?.issue; env.sessions?.list;",
      "env.apiKeys.get; //! possibly 'undefined'",
      "env.jwt.issue; //! possibly 'undefined'",
      "env.sessions.list; //! possibly 'undefined'",
      "const more = applySecurity(app, { ...settingsFromEnv(), jwt: {} });",
      "more.jwt.issue;",
      "more.apiKeys.get; //! possibly 'undefined'",
      'const choice = applySecurity(app, { trustedHosts: ["a.example"], apiKeys: isOn ? { prefix: "a_" } : false });',
      "choice.apiKeys.get; //! possibly 'undefined'",
      'const optional: { trustedHosts: string[]; apiKeys?: { prefix: string } } = { trustedHosts: ["a.example"] };',
      "applySecurity(app, optional).apiKeys.get; //! possibly 'undefined'",
      'const declared: SecuritySettings = { trustedHosts: ["a.example"], jwt: {} };',
      "applySecurity(app, declared).jwt.issue; //! possibly 'undefined'",
    ]);
    expect(wrong).toEqual([]);
  });
});

/** `{ jwt: { keys: [{ misspelt: 1 }] } }` as source text. */
function misspeltAt(path: SettingPath): string {
  return path.reduceRight<string>(
    (inner, part) => (typeof part === "number" ? `[${inner}]` : `{ ${JSON.stringify(part)}: ${inner} }`),
    "{ misspelt: 1 }",
  );
}

describe("the type of what a list of settings returns", () => {
  it(
    "is certain where a later object decides, and possibly undefined where the environment may switch off",
    { timeout: 120_000 },
    () => {
      const { wrong } = check([
        'const two = applySecurity(app, [{ trustedHosts: ["a.example"], jwt: {} }, { apiKeys: { prefix: "a_" }, jwt: { issuer: "me" } }]);',
        "two.jwt.issue; two.apiKeys.get;",
        "two.sessions; //! does not exist",
        'const env = applySecurity(app, [settingsFromEnv(), { jwt: { issuer: "me" }, session: false }]);',
        "env.jwt?.issue; env.apiKeys?.get;",
        "env.jwt.issue; //! possibly 'undefined'",
        "env.apiKeys.get; //! possibly 'undefined'",
        "env.sessions; //! does not exist",
        'const off = applySecurity(app, [{ trustedHosts: ["a.example"], jwt: false }, { jwt: {} }]);',
        "off.jwt.issue; //! possibly 'undefined'",
        "const three = applySecurity(app, [settingsFromEnv(), { apiKeys: {}, jwt: {}, session: {} }]);",
        "const { jwt: on } = three; if (!on) throw new Error(); const later = () => on.issue('ada');",
        "apiKeyFor(three, { id: 'ada' }); accessTokenFor(three, { id: 'ada' });",
        "accessTokenFor(applySecurity(app, { trustedHosts: false }), { id: 'ada' }); //! no properties in common",
        'const ignored = applySecurity(app, [{ trustedHosts: ["a.example"], jwt: {} }, { jwt: undefined }]);',
        "ignored.jwt.issue;",
        "applySecurity(app, [settingsFromEnv(), { rateLimit: { limt: 5 } }]); //! limt",
        "applySecurity(app, [settingsFromEnv(), { sesion: {} }]); //! sesion",
      ]);
      expect(wrong).toEqual([]);
    },
  );
});

describe("a misspelt setting", () => {
  /** Every object of settings, by its path. */
  const objects = [...new Map(allSettings().map((path) => [path.slice(0, -1).join("."), path.slice(0, -1)])).values()];

  it("does not compile, at whatever depth", { timeout: 120_000 }, () => {
    expect(objects.length).toBeGreaterThan(15);
    expect(check(objects.map((path) => `applySecurity(app, ${misspeltAt(path)}); //! misspelt`)).wrong).toEqual([]);
  });

  it("names the setting that was meant, and the type that has it", { timeout: 120_000 }, () => {
    const { wrong } = check([
      'applySecurity(app, { trustedHosts: ["a.example"], rateLimit: { limit: 5 } });',
      "applySecurity(app, { rateLimit: { limt: 5 } }); //! 'limt' does not exist in type 'RateLimitSettings'. Did you mean to write 'limit'?",
      "applySecurity(app, { apiKeys: { failures: { limt: 5 } } }); //! Did you mean to write 'limit'?",
      "applySecurity(app, { apiKey: {} }); //! Did you mean to write 'apiKeys'?",
      'applySecurity(app, { cors: { origins: ["https://a.example"], credentials: "yes" } }); //! not assignable to type \'boolean',
    ]);
    expect(wrong).toEqual([]);
  });
});
