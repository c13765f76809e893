import { describe, expect, it } from "vitest";
import { parseSettings } from "../../../src/app-settings/parse.js";
import { JwtManager } from "../../../src/jwt/manager.js";
import type { JwtSettings } from "../../../src/jwt/settings.js";
import { SettingsError } from "../../../src/settings/errors.js";
import { KEYS, pem } from "../support.js";

const SECRET = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";
const ENTRY = { issuer: "https://login.example.com", audience: "https://api.example.com", algorithms: ["RS256"] };
const ACCEPT = { secret: "sixteen-byte-key", until: "2030-01-31" };

/** The issues of settings; none when they are right. */
function issues(settings: object, deps?: ConstructorParameters<typeof JwtManager>[1]): string[] {
  try {
    new JwtManager(settings, deps);
    return [];
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.issues.map(({ code, path }) => `${path}: ${code}`);
  }
}

const withEntry = (changes: object): object => ({ secret: SECRET, issuers: [{ ...ENTRY, ...changes }] });

describe("jwt.issuers", () => {
  it.each<{ name: string; wrong: object; issue: string[]; right: object }>([
    {
      name: "an unknown option",
      wrong: { audiences: "x" },
      issue: ["issuers[0].audiences: unknown-setting"],
      right: {},
    },
    {
      name: "no audience",
      wrong: { audience: undefined },
      issue: ["issuers[0].audience: missing-setting"],
      right: { audience: ["a", "b"] },
    },
    {
      name: "an empty audience",
      wrong: { audience: "" },
      issue: ["issuers[0].audience: wrong-value"],
      right: { audience: "x" },
    },
    {
      name: "an empty list of audiences",
      wrong: { audience: [] },
      issue: ["issuers[0].audience: wrong-value"],
      right: { audience: ["x"] },
    },
    {
      name: "no algorithms",
      wrong: { algorithms: undefined },
      issue: ["issuers[0].algorithms: missing-setting"],
      right: { algorithms: ["EdDSA"] },
    },
    {
      name: "empty algorithms",
      wrong: { algorithms: [] },
      issue: ["issuers[0].algorithms: wrong-value"],
      right: { algorithms: ["PS512", "ES384"] },
    },
    {
      name: "an unknown algorithm",
      wrong: { algorithms: ["none"] },
      issue: ["issuers[0].algorithms[0]: wrong-value"],
      right: { algorithms: ["RS256"] },
    },
    {
      name: "HMAC",
      wrong: { algorithms: ["RS256", "HS256"] },
      issue: ["issuers[0].algorithms[1]: contradiction"],
      right: { algorithms: ["RS256", "RS512"] },
    },
    {
      name: "an issuer that is no URL",
      wrong: { issuer: "login" },
      issue: ["issuers[0].issuer: wrong-value"],
      right: { issuer: "login", jwksUri: "https://a.example/jwks" },
    },
    {
      name: "an issuer with a query",
      wrong: { issuer: "https://a.example/?t=1" },
      issue: ["issuers[0].issuer: wrong-value"],
      right: { issuer: "https://a.example/?t=1", jwksUri: "https://a.example/jwks" },
    },
    {
      name: "an issuer with |",
      wrong: { issuer: "https://a.example/|x" },
      issue: ["issuers[0].issuer: wrong-value"],
      right: { issuer: "https://a.example/x" },
    },
    {
      name: "an issuer over http",
      wrong: { issuer: "http://a.example" },
      issue: ["issuers[0].issuer: wrong-value"],
      right: { issuer: "https://a.example" },
    },
    {
      name: "keys over http",
      wrong: { jwksUri: "http://a.example/jwks" },
      issue: ["issuers[0].jwksUri: wrong-value"],
      right: { jwksUri: "https://a.example/jwks" },
    },
    {
      name: "keys over http on loopback",
      wrong: { jwksUri: "http://localhost:8080/jwks" },
      issue: ["issuers[0].jwksUri: unsafe-setting"],
      right: { jwksUri: "https://localhost:8080/jwks" },
    },
    {
      name: "keys in a file",
      wrong: { jwksUri: "file:///keys.json" },
      issue: ["issuers[0].jwksUri: wrong-value"],
      right: { jwksUri: "https://a.example/keys.json" },
    },
    {
      name: "keys with a password",
      wrong: { jwksUri: "https://u:p@a.example/jwks" },
      issue: ["issuers[0].jwksUri: wrong-value"],
      right: { jwksUri: "https://a.example/jwks" },
    },
    {
      name: "an id that is text",
      wrong: { id: "sub" },
      issue: ["issuers[0].id: wrong-value"],
      right: { id: () => "x" },
    },
    {
      name: "an async id",
      wrong: { id: async () => "x" },
      issue: ["issuers[0].id: wrong-value"],
      right: { id: () => "x" },
    },
    {
      name: "scopes as a list",
      wrong: { scopes: ["a"] },
      issue: ["issuers[0].scopes: wrong-type"],
      right: { scopes: "a" },
    },
    {
      name: "an async function of roles",
      wrong: { roles: async () => [] },
      issue: ["issuers[0].roles: wrong-value"],
      right: { roles: () => [] },
    },
    {
      name: "an empty name of a claim",
      wrong: { roles: "" },
      issue: ["issuers[0].roles: wrong-value"],
      right: { roles: "a.b" },
    },
    {
      name: "no time to fetch",
      wrong: { fetchTimeoutMs: 0 },
      issue: ["issuers[0].fetchTimeoutMs: wrong-value"],
      right: { fetchTimeoutMs: 1 },
    },
    {
      name: "a life of over 30 days",
      wrong: { maxLifetimeMinutes: 43_201 },
      issue: ["issuers[0].maxLifetimeMinutes: wrong-value"],
      right: { maxLifetimeMinutes: 43_200 },
    },
  ])("refuses $name", ({ wrong, issue, right }) => {
    expect(issues(withEntry(wrong))).toEqual(issue);
    expect(issues(withEntry(right))).toEqual([]);
  });

  it("refuses an empty list, an issuer that is listed twice, and our own", () => {
    expect(issues({ secret: SECRET, issuers: [] })).toEqual(["issuers: wrong-value"]);
    expect(issues({ secret: SECRET, issuers: [ENTRY, ENTRY] })).toEqual(["issuers[1].issuer: contradiction"]);
    expect(issues({ secret: SECRET, issuer: ENTRY.issuer, issuers: [ENTRY] })).toEqual([
      "issuers[0].issuer: contradiction",
    ]);
    expect(issues({ secret: SECRET, issuers: [ENTRY, { ...ENTRY, issuer: `${ENTRY.issuer}/` }] })).toEqual([]);
  });

  it("allows http: on loopback only with debug", () => {
    const local = withEntry({ issuer: "http://127.0.0.1:8080/realms/a" });
    expect(issues(local)).toEqual(["issuers[0].issuer: unsafe-setting"]);
    expect(issues(local, { debug: true })).toEqual([]);
    const app = (debug: boolean): unknown =>
      parseSettings({
        debug,
        trustedHosts: ["a.example"],
        secretKey: SECRET,
        jwt: { issuers: (local as JwtSettings).issuers },
      });
    expect(() => app(false)).toThrow("jwt.issuers[0].issuer");
    expect(app(true)).toBeDefined();
  });

  it("needs no secret, but without it there is nothing else than other issuers' tokens", () => {
    expect(issues({ issuers: [ENTRY] })).toEqual([]);
    expect(issues({})).toEqual(["secret: missing-setting"]);
    expect(issues({ algorithm: "RS256", issuers: [ENTRY] })).toEqual(["privateKey: missing-setting"]);
    expect(parseSettings({ trustedHosts: ["a.example"], jwt: { issuers: [ENTRY as never] } })).toBeDefined();
    expect(() => parseSettings({ trustedHosts: ["a.example"], jwt: {} })).toThrow("secretKey");
  });
});

describe("jwt.accept", () => {
  const withAccept = (changes: object): object => ({ secret: SECRET, accept: { ...ACCEPT, ...changes } });
  it.each<{ name: string; wrong: object; issue: string[]; right: object }>([
    {
      name: "an unknown option",
      wrong: { algorithm: "HS512" },
      issue: ["accept.algorithm: unknown-setting"],
      right: {},
    },
    {
      name: "no secret",
      wrong: { secret: undefined },
      issue: ["accept.secret: missing-setting"],
      right: { secret: ["sixteen-byte-key", "another-sixteen-bytes"] },
    },
    {
      name: "15 bytes",
      wrong: { secret: "fifteen-bytes-k" },
      issue: ["accept.secret: weak-secret"],
      right: { secret: "change-me-please" },
    },
    {
      name: "a public key",
      wrong: { secret: pem(KEYS.rsa.publicKey) },
      issue: ["accept.secret: contradiction"],
      right: { secret: SECRET },
    },
    {
      name: "no end",
      wrong: { until: undefined },
      issue: ["accept.until: missing-setting"],
      right: { until: new Date("2030-01-01") },
    },
    {
      name: "no time",
      wrong: { until: "soon" },
      issue: ["accept.until: wrong-type"],
      right: { until: 1_900_000_000_000 },
    },
    {
      name: "an empty audience",
      wrong: { audience: "" },
      issue: ["accept.audience: wrong-value"],
      right: { audience: "x", issuer: "y" },
    },
  ])("refuses $name", ({ wrong, issue, right }) => {
    expect(issues(withAccept(wrong))).toEqual(issue);
    expect(issues(withAccept(right))).toEqual([]);
  });

  it("needs a key of our own", () => {
    expect(issues({ accept: ACCEPT })).toEqual(["secret: missing-setting"]);
  });
});

describe("what describe() says", () => {
  it("names issuers and the former app, without a secret or a function", () => {
    const manager = new JwtManager({ secret: SECRET, issuers: [{ ...ENTRY, id: () => "x" } as never], accept: ACCEPT });
    const text = JSON.stringify(manager.describe());
    expect(manager.describe()).toMatchObject({
      issuers: [
        {
          issuer: ENTRY.issuer,
          audience: [ENTRY.audience],
          algorithms: ["RS256"],
          keys: "by discovery",
          fetchTimeoutMs: 3000,
        },
      ],
      accept: { until: "2030-01-31T00:00:00.000Z" },
    });
    expect(text).not.toContain("sixteen-byte-key");
    expect(new JwtManager({ secret: SECRET }).describe()).not.toHaveProperty("issuers");
  });
});
