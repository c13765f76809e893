import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseSettings } from "../../src/app-settings/parse.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";

const ROOT = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const OTHER = "Zq8mW3xC6vB9nL2kJ5hG7fD4sA1pO0iUyTrE";
const THIRD = "Hc5rT1yN8eVg4KdXq2MwZ7pLs9JbUf3Ao6";
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });

function issuesOf(settings: object): readonly SettingsIssue[] {
  try {
    parseSettings({ trustedHosts: ["a.example"], secretKey: ROOT, ...settings });
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

const forwarded = { hosts: ["a.example"], forwardedHost: true };
const byPrincipal = { rateLimit: { key: "principal" } };
const perPrincipal = { rateLimit: { perPrincipal: { limit: 5 } } };
const rootless = { secretKey: undefined };

/** What contradicts, where it is said with which words, and what differs from it in one place and does not. */
const rows: {
  name: string;
  wrong: object;
  issue: `${SettingsIssue["code"]} ${string}`;
  message: RegExp;
  remedy: RegExp;
  right: object[];
}[] = [
  {
    name: "SameSite=None in debug",
    wrong: { debug: true, session: { sameSite: "none" } },
    issue: "contradiction session.sameSite",
    message: /Secure/,
    remedy: /lax/,
    right: [
      { debug: true, session: { sameSite: "lax" } },
      { debug: false, session: { sameSite: "none" } },
      { debug: true, session: false },
    ],
  },
  {
    name: "SameSite=None with nothing against forgery",
    wrong: { csrf: false, session: { sameSite: "none" } },
    issue: "contradiction csrf",
    message: /cross-site/,
    remedy: /csrf: false/,
    right: [
      { csrf: false, session: { sameSite: "strict" } },
      { csrf: {}, session: { sameSite: "none" } },
      { session: { sameSite: "none" } },
      { csrf: false, session: false },
    ],
  },
  {
    name: "forwarded hosts from no proxy",
    wrong: { trustedHosts: forwarded },
    issue: "contradiction trustedHosts.forwardedHost",
    message: /trustProxy/,
    remedy: /trustProxy/,
    right: [
      { trustedHosts: forwarded, trustProxy: 1 },
      { trustedHosts: forwarded, trustProxy: ["10.0.0.1"] },
      { trustedHosts: { ...forwarded, forwardedHost: false } },
      { trustedHosts: false },
    ],
  },
  {
    name: "forwarded hosts from zero proxies",
    wrong: { trustedHosts: forwarded, trustProxy: 0 },
    issue: "contradiction trustedHosts.forwardedHost",
    message: /trustProxy/,
    remedy: /trustProxy/,
    right: [{ trustProxy: 0 }],
  },
  {
    name: "everyone a proxy",
    wrong: { trustProxy: ["10.0.0.1", "0.0.0.0/0"] },
    issue: "contradiction trustProxy",
    message: /trusts every client as a proxy/,
    remedy: /your proxies/,
    right: [{ trustProxy: ["10.0.0.1", "10.0.0.0/8"] }, { trustProxy: ["loopback"] }, { trustProxy: 2 }],
  },
  {
    name: "every IPv6 address a proxy",
    wrong: { trustProxy: ["::/0"] },
    issue: "contradiction trustProxy",
    message: /trusts every client as a proxy/,
    remedy: /your proxies/,
    right: [{ trustProxy: ["fc00::/7"] }],
  },
  {
    name: "every IPv4 address a proxy, written as IPv6",
    wrong: { trustProxy: ["::ffff:0:0/96"] },
    issue: "contradiction trustProxy",
    message: /trusts every client as a proxy/,
    remedy: /your proxies/,
    right: [{ trustProxy: ["::ffff:10.0.0.0/104", "64:ff9b::/96"] }],
  },
  {
    name: "every address a proxy, in two halves",
    wrong: { trustProxy: ["loopback", "0.0.0.0/1", "128.0.0.0/1"] },
    issue: "contradiction trustProxy",
    message: /trusts every client as a proxy/,
    remedy: /your proxies/,
    right: [{ trustProxy: ["loopback", "linklocal", "uniquelocal", "100.64.0.0/10", "2606:4700::/32"] }],
  },
  {
    name: "a limit by principal that nothing proves",
    wrong: byPrincipal,
    issue: "contradiction rateLimit.key",
    message: /needs an authentication method, but none is on\./,
    remedy: /session, apiKeys or jwt/,
    right: [
      { ...byPrincipal, session: {} },
      { ...byPrincipal, apiKeys: {} },
      { ...byPrincipal, jwt: {} },
      { rateLimit: { key: "address" } },
      { rateLimit: false },
    ],
  },
  {
    name: "a limit per principal that nothing proves",
    wrong: perPrincipal,
    issue: "contradiction rateLimit.perPrincipal",
    message: /needs an authentication method, but none is on\./,
    remedy: /session, apiKeys or jwt/,
    right: [
      { ...perPrincipal, session: {} },
      { ...perPrincipal, apiKeys: {} },
      { ...perPrincipal, jwt: {} },
      { rateLimit: {} },
      { rateLimit: false },
    ],
  },
  {
    name: "sessions signed with the root",
    wrong: { session: { secret: ROOT } },
    issue: "contradiction session.secret",
    message: /Each purpose needs its own secret\./,
    remedy: /Remove session\.secret/,
    right: [{ session: { secret: OTHER } }, { session: {} }],
  },
  {
    name: "sessions verified with an old root",
    wrong: { secretKey: [ROOT, THIRD], session: { secret: [OTHER, THIRD] } },
    issue: "contradiction session.secret",
    message: /Each purpose needs its own secret\./,
    remedy: /Remove session\.secret/,
    right: [{ secretKey: [ROOT, THIRD], session: { secret: [OTHER] } }],
  },
  {
    name: "tokens signed with the root",
    wrong: { jwt: { secret: ROOT } },
    issue: "contradiction jwt.secret",
    message: /Each purpose needs its own secret\./,
    remedy: /Remove jwt\.secret/,
    right: [{ jwt: { secret: OTHER } }, { jwt: {} }, { jwt: { algorithm: "ES256", privateKey } }],
  },
  {
    name: "tokens verified with the root",
    wrong: { jwt: { keys: [{ secret: OTHER }, { secret: ROOT }] } },
    issue: "contradiction jwt.secret",
    message: /Each purpose needs its own secret\./,
    remedy: /Remove jwt\.secret/,
    right: [
      { jwt: { keys: [{ secret: OTHER }, { secret: THIRD }] } },
      { jwt: { algorithm: "ES256", keys: [{ privateKey }] } },
    ],
  },
  {
    name: "one secret for sessions and tokens",
    wrong: { session: { secret: OTHER }, jwt: { secret: OTHER } },
    issue: "contradiction jwt.secret",
    message: /jwt\.secret is the same secret as session\.secret/,
    remedy: /two different secrets/,
    right: [
      { session: { secret: OTHER }, jwt: { secret: THIRD } },
      { session: { secret: OTHER }, jwt: {} },
      { session: {}, jwt: { secret: OTHER } },
    ],
  },
  {
    name: "one secret for sessions and a key of tokens",
    wrong: { session: { secret: OTHER }, jwt: { keys: [{ secret: THIRD }, { secret: OTHER }] } },
    issue: "contradiction jwt.secret",
    message: /jwt\.secret is the same secret as session\.secret/,
    remedy: /two different secrets/,
    right: [{ session: { secret: OTHER }, jwt: { keys: [{ secret: THIRD }] } }],
  },
  {
    name: "no hosts",
    wrong: { trustedHosts: undefined },
    issue: "missing-setting trustedHosts",
    message: /This setting is required: the host names/,
    remedy: /api\.example\.com.*debug: true/,
    right: [{ trustedHosts: undefined, debug: true }, { trustedHosts: false }],
  },
  {
    name: "sessions without any secret",
    wrong: { ...rootless, session: {} },
    issue: "missing-setting secretKey",
    message: /Sessions/,
    remedy: /SECRET_KEY/,
    right: [{ ...rootless, session: { secret: OTHER } }, { ...rootless, session: false }, { session: {} }],
  },
  {
    name: "sessions, tokens and keys without any secret",
    wrong: { ...rootless, session: {}, jwt: {}, apiKeys: { hash: "hmac-sha256" } },
    issue: "missing-setting secretKey",
    message: /^Sessions need a secret .*\. JWTs need a secret .*\. hash: "hmac-sha256" needs a secret\.$/,
    remedy: /^Set secretKey \(SECRET_KEY\) to a random secret\. /,
    right: [{ session: {}, jwt: {}, apiKeys: { hash: "hmac-sha256" } }],
  },
  {
    name: "tokens without any secret",
    wrong: { ...rootless, jwt: {} },
    issue: "missing-setting secretKey",
    message: /JWTs need a secret or a private key for signing\./,
    remedy: /SECRET_KEY/,
    right: [
      { ...rootless, jwt: { secret: OTHER } },
      { ...rootless, jwt: { keys: [{ secret: OTHER }] } },
      { ...rootless, jwt: { algorithm: "ES256", privateKey } },
      { ...rootless, jwt: false },
      { jwt: {} },
    ],
  },
  {
    name: "keys kept as HMACs without any secret",
    wrong: { ...rootless, apiKeys: { hash: "hmac-sha256" } },
    issue: "missing-setting secretKey",
    message: /hash: "hmac-sha256" needs a secret\./,
    remedy: /SECRET_KEY/,
    right: [
      { ...rootless, apiKeys: { hash: "hmac-sha256", secret: OTHER } },
      { ...rootless, apiKeys: { hash: "argon2id" } },
      { ...rootless, apiKeys: false },
      { apiKeys: { hash: "hmac-sha256" } },
    ],
  },
];

describe.each(rows)("$name", ({ wrong, issue, message, remedy, right }) => {
  it("is reported as one issue, with its path and its remedy", () => {
    const [code, path] = issue.split(" ");
    expect(issuesOf(wrong)).toEqual([
      {
        code,
        path,
        message: expect.stringMatching(message) as string,
        remedy: expect.stringMatching(remedy) as string,
      },
    ]);
  });
  it.each(right.map((settings, index) => ({ settings, index })))(
    "its allowed twin $index is accepted",
    ({ settings }) => {
      expect(issuesOf(settings)).toEqual([]);
    },
  );
});

describe("a setting that is given and invalid is not reported as missing too", () => {
  it.each<[string, object, string]>([
    ["hosts", { trustedHosts: [] }, "missing-setting trustedHosts"],
    ["the root secret of sessions", { secretKey: "short", session: {} }, "weak-secret secretKey"],
    ["the root secret of tokens", { secretKey: "short", jwt: {} }, "weak-secret secretKey"],
    ["the root secret of keys", { secretKey: "short", apiKeys: { hash: "hmac-sha256" } }, "weak-secret secretKey"],
    ["the secret of sessions", { secretKey: undefined, session: { secret: "short" } }, "weak-secret session.secret"],
  ])("%s", (_name, settings, issue) => {
    expect(issuesOf(settings).map(({ code, path }) => `${code} ${path}`)).toEqual([issue]);
  });
});
