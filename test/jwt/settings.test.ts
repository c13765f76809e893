import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.js";
import { JwtManager } from "../../src/jwt/manager.js";
import { jwtAuthSchema, jwtSchema, type JwtSettings } from "../../src/jwt/settings.js";
import { SettingsError, type SettingsIssue } from "../../src/settings/errors.js";
import { parse } from "../../src/settings/object.js";
import { MemoryTokenStore } from "../../src/stores/memory/token-store.js";
import { testEdges, testTexts } from "../settings/edges.js";
import { HMAC_SECRET, KEYS, pem, ROOT } from "./support.js";

function issuesOf(settings: unknown): readonly SettingsIssue[] {
  try {
    parse(jwtSchema, settings);
  } catch (error) {
    if (error instanceof SettingsError) return error.issues;
    throw error;
  }
  return [];
}

const brief = (settings: unknown): string[] =>
  issuesOf(settings).map(({ code, path, message }) => `${code} ${path}: ${message}`);

describe("jwtSchema", () => {
  it("has a default for everything", () => {
    expect(parse(jwtSchema, {})).toMatchInlineSnapshot(`
      {
        "absoluteDays": 30,
        "accessTokenMinutes": 30,
        "algorithm": "HS256",
        "audience": [
          "portcullis",
        ],
        "cacheSize": 10000,
        "issuer": "portcullis",
        "leewaySeconds": 5,
        "mode": "enforce",
        "onStoreError": "deny",
        "realm": "api",
        "refreshTokenDays": 7,
        "reuseGraceSeconds": 10,
        "storeTimeoutMs": 250,
      }
    `);
  });

  it("accepts frozen and null-prototype objects and undefined values, and does not retain the caller's object", () => {
    const audience = ["a", "b"];
    const given = Object.freeze(
      Object.assign(Object.create(null) as object, { audience, secret: undefined, absoluteDays: undefined }),
    );
    const options = parse(jwtSchema, given);
    audience.push("c");
    expect(options.audience).toEqual(["a", "b"]);
    expect(options.absoluteDays).toBe(30);
  });

  it("parsing twice changes nothing, keys and secrets included", () => {
    for (const settings of [
      {},
      { secret: HMAC_SECRET },
      { algorithm: "ES256", privateKey: pem(KEYS.ec("P-256").privateKey) },
      { keys: [{ kid: "a", secret: HMAC_SECRET }] },
      { refreshTokenDays: 60 },
    ]) {
      const once = parse(jwtSchema, settings);
      expect(parse(jwtSchema, once)).toEqual(once);
    }
  });

  it("the audience defaults to the issuer, absoluteDays to at least refreshTokenDays", () => {
    expect(parse(jwtSchema, { issuer: "https://id.test" }).audience).toEqual(["https://id.test"]);
    expect(parse(jwtSchema, { refreshTokenDays: 90 }).absoluteDays).toBe(90);
  });

  const rsa = KEYS.rsa;
  const p256 = KEYS.ec("P-256");
  const fits: { name: string; settings: JwtSettings }[] = [
    { name: "RS256 with a PEM", settings: { algorithm: "RS256", privateKey: pem(rsa.privateKey) } },
    {
      name: "RS256 with a Secret holding a PEM",
      settings: { algorithm: "RS256", privateKey: new Secret(pem(rsa.privateKey)) },
    },
    { name: "PS512 with a plain RSA key", settings: { algorithm: "PS512", privateKey: rsa.privateKey } },
    {
      name: "PS256 with a key made for it",
      settings: { algorithm: "PS256", privateKey: KEYS.pss("sha256").privateKey },
    },
    { name: "ES512 on P-521", settings: { algorithm: "ES512", privateKey: KEYS.ec("P-521").privateKey } },
    {
      name: "a public key that verifies only",
      settings: {
        algorithm: "ES256",
        keys: [{ privateKey: p256.privateKey }, { kid: "old", publicKey: pem(p256.publicKey) }],
      },
    },
    { name: "HS512 with a long secret", settings: { algorithm: "HS512", secret: HMAC_SECRET } },
    { name: "a grace of nothing", settings: { reuseGraceSeconds: 0, leewaySeconds: 0 } },
  ];
  it.each(fits)("accepts $name", ({ settings }) => {
    expect(issuesOf(settings)).toEqual([]);
  });

  const short = HMAC_SECRET.slice(0, 40);
  const wrong: { name: string; settings: unknown; issues: string[] }[] = [
    {
      name: "an unknown key",
      settings: { accessTokenMinuets: 5 },
      issues: [
        'unknown-setting accessTokenMinuets: There is no setting "accessTokenMinuets". Did you mean "accessTokenMinutes"?',
      ],
    },
    {
      name: "an algorithm there is not",
      settings: { algorithm: "none" },
      issues: ["wrong-value algorithm: This value is not allowed."],
    },
    {
      name: "several algorithms",
      settings: { algorithm: ["HS256", "RS256"] },
      issues: ["wrong-value algorithm: This value is not allowed."],
    },
    {
      name: "an empty issuer",
      settings: { issuer: "" },
      issues: ["wrong-value issuer: Must be 1 to 512 printable ASCII characters without leading or trailing spaces."],
    },
    {
      name: "a blank audience",
      settings: { audience: " " },
      issues: ["wrong-value audience: Must be 1 to 512 printable ASCII characters without leading or trailing spaces."],
    },
    {
      name: "no audience in the list",
      settings: { audience: [] },
      issues: ["wrong-value audience: The list is empty."],
    },
    {
      name: "minutes as text",
      settings: { accessTokenMinutes: "30" },
      issues: ["wrong-type accessTokenMinutes: This must be a number."],
    },
    {
      name: "too long a grace",
      settings: { reuseGraceSeconds: 61 },
      issues: ["wrong-value reuseGraceSeconds: This must be at most 60."],
    },
    {
      name: "too much leeway",
      settings: { leewaySeconds: 61 },
      issues: ["wrong-value leewaySeconds: This must be at most 60."],
    },
    {
      name: "a family shorter than a token",
      settings: { absoluteDays: 3 },
      issues: ["contradiction absoluteDays: A family of refresh tokens would end before its first token expires."],
    },
    {
      name: "a short secret",
      settings: { secret: "x7Kq" },
      issues: ["weak-secret secret: The secret is shorter than 32 bytes."],
    },
    {
      name: "a secret too short for HS384",
      settings: { algorithm: "HS384", secret: short },
      issues: ["weak-secret secret: HS384 needs a secret of at least 48 bytes (RFC 7518 section 3.2)."],
    },
    {
      name: "a second secret too short for HS512",
      settings: { algorithm: "HS512", secret: [HMAC_SECRET, short] },
      issues: ["weak-secret secret[1]: HS512 needs a secret of at least 64 bytes (RFC 7518 section 3.2)."],
    },
    {
      name: "a public key as secret",
      settings: { secret: pem(rsa.publicKey) },
      issues: [
        "contradiction secret: The secret is the text of an asymmetric key: anyone with the public key could forge tokens.",
      ],
    },
    {
      name: "a JWK as secret",
      settings: { secret: JSON.stringify(rsa.publicKey.export({ format: "jwk" })) },
      issues: [
        "contradiction secret: The secret is the text of an asymmetric key: anyone with the public key could forge tokens.",
      ],
    },
    {
      name: "HS256 with a private key",
      settings: { privateKey: rsa.privateKey },
      issues: ["contradiction privateKey: HS256 signs with a secret, but this is an asymmetric key."],
    },
    {
      name: "RS256 with a secret",
      settings: { algorithm: "RS256", secret: HMAC_SECRET },
      issues: ["contradiction secret: RS256 signs with a private key, but this is a secret."],
    },
    {
      name: "RS512 with a secret, whose length matters no more",
      settings: { algorithm: "RS512", secret: short },
      issues: ["contradiction secret: RS512 signs with a private key, but this is a secret."],
    },
    {
      name: "RS256 with nothing",
      settings: { algorithm: "RS256" },
      issues: ["missing-setting privateKey: RS256 needs a private key."],
    },
    {
      name: "both kinds of key",
      settings: { algorithm: "RS256", privateKey: rsa.privateKey, secret: HMAC_SECRET },
      issues: [
        "contradiction privateKey: The key is set more than once: secret and privateKey.",
        "contradiction secret: RS256 signs with a private key, but this is a secret.",
      ],
    },
    {
      name: "ES256 with P-384",
      settings: { algorithm: "ES256", privateKey: KEYS.ec("P-384").privateKey },
      issues: ["contradiction privateKey: ES256 needs a key on the curve P-256."],
    },
    {
      name: "ES256 with secp256k1",
      settings: { algorithm: "ES256", privateKey: KEYS.ec("secp256k1").privateKey },
      issues: ["contradiction privateKey: ES256 needs a key on the curve P-256."],
    },
    {
      name: "ES256 with RSA",
      settings: { algorithm: "ES256", privateKey: rsa.privateKey },
      issues: ["contradiction privateKey: ES256 needs a key of type ec, but this key has type rsa."],
    },
    {
      name: "RS256 with Ed25519",
      settings: { algorithm: "RS256", privateKey: KEYS.ed25519.privateKey },
      issues: ["contradiction privateKey: RS256 needs a key of type rsa, but this key has type ed25519."],
    },
    {
      name: "RS256 with an RSA-PSS key",
      settings: { algorithm: "RS256", privateKey: KEYS.pss("sha256").privateKey },
      issues: ["contradiction privateKey: RS256 needs a key of type rsa, but this key has type rsa-pss."],
    },
    {
      name: "PS256 with a key made for SHA-512",
      settings: { algorithm: "PS256", privateKey: KEYS.pss("sha512").privateKey },
      issues: ["contradiction privateKey: The RSA-PSS parameters of the key do not match PS256."],
    },
    {
      name: "PS256 with too long a salt",
      settings: { algorithm: "PS256", privateKey: KEYS.pss("sha256", 48).privateKey },
      issues: ["contradiction privateKey: The RSA-PSS parameters of the key do not match PS256."],
    },
    {
      name: "RSA of 1024 bits",
      settings: { algorithm: "RS256", privateKey: KEYS.weakRsa.privateKey },
      issues: ["weak-secret privateKey: The RSA key is shorter than 2048 bits."],
    },
    {
      name: "a public key as private key",
      settings: { algorithm: "RS256", privateKey: rsa.publicKey },
      issues: ["contradiction privateKey: This is a public key, but a private key is required."],
    },
    {
      name: "a private key as public key",
      settings: {
        algorithm: "RS256",
        keys: [{ privateKey: rsa.privateKey }, { publicKey: pem(KEYS.otherRsa.privateKey) }],
      },
      issues: ["contradiction keys[1].publicKey: This is a private key, but a public key is required."],
    },
    {
      name: "text that is no key",
      settings: { algorithm: "RS256", privateKey: "-----BEGIN PRIVATE KEY-----\nhello\n-----END PRIVATE KEY-----" },
      issues: ["wrong-value privateKey: This cannot be read as a private key."],
    },
    {
      name: "no keys",
      settings: { keys: [] },
      issues: ["wrong-value keys: The list is empty."],
    },
    {
      name: "a key of nothing",
      settings: { keys: [{}] },
      issues: ["missing-setting keys[0]: This entry has no key."],
    },
    {
      name: "a key of two",
      settings: { keys: [{ secret: HMAC_SECRET, privateKey: rsa.privateKey }] },
      issues: ["contradiction keys[0]: This entry has more than one key."],
    },
    {
      name: "a first key that cannot sign",
      settings: { algorithm: "RS256", keys: [{ publicKey: rsa.publicKey }] },
      issues: ["contradiction keys[0]: The first key signs tokens, and a public key cannot sign."],
    },
    {
      name: "a short secret among keys",
      settings: {
        keys: [
          { kid: "a", secret: HMAC_SECRET },
          { kid: "b", secret: HMAC_SECRET.slice(0, 8) },
        ],
      },
      issues: [
        "weak-secret keys[1].secret: The secret is shorter than 32 bytes.",
        "weak-secret keys[1].secret: HS256 needs a secret of at least 32 bytes (RFC 7518 section 3.2).",
      ],
    },
    {
      name: "a private key of another kind",
      settings: { algorithm: "RS256", keys: [{ privateKey: p256.privateKey }] },
      issues: [expect.stringMatching(/^contradiction keys\[0\]\.privateKey: /) as string],
    },
    {
      name: "one secret twice",
      settings: { keys: [{ secret: HMAC_SECRET }, { secret: HMAC_SECRET }] },
      issues: ["contradiction keys[1]: Two keys have the same kid."],
    },
    {
      name: "a secret among key pairs",
      settings: { algorithm: "RS256", keys: [{ privateKey: rsa.privateKey }, { secret: HMAC_SECRET }] },
      issues: ["contradiction keys[1].secret: RS256 signs with a private key, but this is a secret."],
    },
    {
      name: "a key pair among secrets",
      settings: { keys: [{ secret: HMAC_SECRET }, { publicKey: rsa.publicKey }] },
      issues: ["contradiction keys[1].publicKey: HS256 signs with a secret, but this is an asymmetric key."],
    },
    {
      name: "two keys of one name",
      settings: {
        keys: [
          { kid: "a", secret: HMAC_SECRET },
          { kid: "a", secret: `${HMAC_SECRET}2` },
        ],
      },
      issues: ["contradiction keys[1]: Two keys have the same kid."],
    },
    {
      name: "one key twice",
      settings: { algorithm: "RS256", keys: [{ privateKey: rsa.privateKey }, { publicKey: rsa.publicKey }] },
      issues: ["contradiction keys[1]: Two keys have the same kid."],
    },
    {
      name: "a kid that is none",
      settings: { keys: [{ kid: "a b", secret: HMAC_SECRET }] },
      issues: ["wrong-value keys[0].kid: Must be 1 to 64 letters, digits, '.', '_', '~' or '-'."],
    },
    {
      name: "a store that is none",
      settings: { store: { get() {} } },
      issues: ["wrong-value store: This is not a TokenStore: a required method is missing."],
    },
  ];
  it.each(wrong)("refuses $name", ({ settings, issues }) => {
    expect(brief(settings)).toEqual(issues);
    for (const { remedy } of issuesOf(settings)) expect(remedy).toMatch(/\w{3}/);
  });

  testEdges(jwtSchema, [
    { name: "accessTokenMinutes", lowest: 1, highest: 43_200 },
    { name: "refreshTokenDays", lowest: 1, highest: 365 },
    { name: "absoluteDays", lowest: 1, highest: 3650, beside: { refreshTokenDays: 1 } },
    { name: "accessTokenSeconds", lowest: 1, highest: 2_592_000 },
    { name: "refreshTokenSeconds", lowest: 1, highest: 31_536_000, beside: { units: "seconds" } },
    {
      name: "absoluteSeconds",
      lowest: 1,
      highest: 315_360_000,
      beside: { refreshTokenSeconds: 1, units: "seconds" },
    },
    { name: "reuseGraceSeconds", lowest: 0, highest: 60 },
    { name: "leewaySeconds", lowest: 0, highest: 60 },
    { name: "cacheSize", lowest: 0, highest: 1_000_000 },
    { name: "storeTimeoutMs", lowest: 1, highest: 60_000 },
  ]);

  const names: [string, string][] = [
    ["a", ""],
    ["ab", "a "],
    ["a b", " a"],
    ["a".repeat(512), "a".repeat(513)],
    ["https://id.test/~!", "https://id.tést"],
    ["a", "a\n"],
  ];
  testTexts(jwtSchema, "issuer", names, /printable ASCII/);
  testTexts(jwtSchema, "audience", names, /printable ASCII/);
  testTexts(
    jwtSchema,
    "realm",
    [
      ["a", ""],
      ["a b!#[]~", 'a"'],
      ["a", '"a'],
      ["a".repeat(64), "a".repeat(65)],
      ["a/b", "a\\b"],
    ],
    /printable ASCII/,
  );

  it.each([
    {
      settings: { accessTokenMinutes: 2, accessTokenSeconds: 120 },
      coarse: "accessTokenMinutes",
      fine: "accessTokenSeconds",
    },
    {
      settings: { refreshTokenDays: 1, refreshTokenSeconds: 90 },
      coarse: "refreshTokenDays",
      fine: "refreshTokenSeconds",
    },
    { settings: { absoluteDays: 9, absoluteSeconds: 800_000 }, coarse: "absoluteDays", fine: "absoluteSeconds" },
  ])("takes one of $coarse and $fine", ({ settings, coarse, fine }) => {
    expect(brief(settings)).toEqual([`contradiction ${fine}: ${coarse} and ${fine} both set this time.`]);
    const [first = [], second = []] = Object.entries(settings);
    for (const one of [first, second])
      expect(parse(jwtSchema, Object.fromEntries([one]))).toMatchObject(Object.fromEntries([one]));
  });

  it("compares the end of a family with that of its tokens, whatever the units", () => {
    const ends = (path: string) => [
      `contradiction ${path}: A family of refresh tokens would end before its first token expires.`,
    ];
    expect(brief({ refreshTokenSeconds: 90, absoluteSeconds: 90 })).toEqual([]);
    expect(brief({ refreshTokenSeconds: 91, absoluteSeconds: 90 })).toEqual(ends("absoluteSeconds"));
    expect(brief({ absoluteSeconds: 604_799 })).toEqual(ends("absoluteSeconds"));
    expect(brief({ absoluteSeconds: 604_800 })).toEqual([]);
    expect(brief({ refreshTokenSeconds: 86_401, absoluteDays: 1 })).toEqual(ends("absoluteDays"));
    expect(parse(jwtSchema, { refreshTokenSeconds: 40 * 86_400 + 1 })).toMatchObject({ absoluteDays: 41 });
  });

  it("absoluteDays may be refreshTokenDays", () => {
    expect(parse(jwtSchema, { refreshTokenDays: 7, absoluteDays: 7 }).absoluteDays).toBe(7);
    expect(brief({ refreshTokenDays: 8, absoluteDays: 7 })).toEqual([
      "contradiction absoluteDays: A family of refresh tokens would end before its first token expires.",
    ]);
  });

  it.each(["deny", "allow"] as const)("accepts %s as onStoreError", (onStoreError) => {
    expect(parse(jwtSchema, { onStoreError }).onStoreError).toBe(onStoreError);
    expect(issuesOf({ onStoreError: "open" })).toMatchObject([
      { code: "wrong-value", path: "onStoreError", remedy: 'Use one of: "deny", "allow".' },
    ]);
  });

  it("accepts one audience as a list of one", () => {
    expect(parse(jwtSchema, { audience: "api" }).audience).toEqual(["api"]);
  });

  it.each([
    "init",
    "insert",
    "get",
    "rotate",
    "revokeFamily",
    "revokeSubject",
    "denyAccessToken",
    "denyFamily",
    "isRevoked",
    "deleteExpired",
    "close",
  ])("refuses a store without %s", (method) => {
    const store = new MemoryTokenStore();
    expect(brief({ store })).toEqual([]);
    expect(brief({ store: Object.assign(Object.create(store) as object, { [method]: undefined }) })).toEqual([
      "wrong-value store: This is not a TokenStore: a required method is missing.",
    ]);
  });

  const nothing = () => undefined;
  const methods = {
    init: nothing,
    insert: nothing,
    get: nothing,
    rotate: nothing,
    revokeFamily: nothing,
    revokeSubject: nothing,
    denyAccessToken: nothing,
    denyFamily: nothing,
    isRevoked: nothing,
    deleteExpired: nothing,
    close: nothing,
  };
  it.each([null, "memory", 7, Object.assign(() => undefined, methods)])(
    "refuses a store that is not an object: %s",
    (store) => {
      expect(brief({ store })).toEqual(["wrong-value store: This is not a TokenStore: a required method is missing."]);
    },
  );

  it("lets one mounting of the layer set mode and realm, and nothing else", () => {
    expect(parse(jwtAuthSchema, {})).toEqual({});
    expect(parse(jwtAuthSchema, { mode: "enforce", realm: "orders" })).toEqual({ mode: "enforce", realm: "orders" });
    expect(parse(jwtAuthSchema, { mode: "report" })).toEqual({ mode: "report" });
    expect(() => parse(jwtAuthSchema, { issuer: "x" })).toThrowError(
      'There is no setting "issuer". Known: mode, realm.',
    );
  });

  it("never prints a secret or a key", () => {
    const secrets = [HMAC_SECRET, ROOT.reveal(), pem(KEYS.rsa.privateKey).slice(40, 100)];
    const managers = [
      new JwtManager({ secret: HMAC_SECRET }, { secretKey: [ROOT] }),
      new JwtManager({}, { secretKey: [ROOT] }),
      new JwtManager({ algorithm: "RS256", keys: [{ privateKey: pem(KEYS.rsa.privateKey) }] }),
    ];
    const printed = managers.flatMap((manager) => [
      inspect(manager, { depth: 20, showHidden: true }),
      JSON.stringify(manager),
      JSON.stringify(manager.describe()),
      inspect(manager.options, { depth: 20 }),
    ]);
    const broken = `-----BEGIN PRIVATE KEY-----\n${secrets[2]}\n-----END PRIVATE KEY-----`;
    for (const settings of [
      { algorithm: "RS256", secret: HMAC_SECRET },
      { algorithm: "RS256", privateKey: broken },
      { secret: HMAC_SECRET.slice(0, 20) },
    ]) {
      try {
        parse(jwtSchema, settings);
        expect.unreachable();
      } catch (error) {
        printed.push(inspect(error, { depth: 20 }), String(error));
      }
    }
    for (const text of printed) {
      for (const secret of secrets) expect(text.includes(secret) || text.includes(secret.slice(0, 20))).toBe(false);
    }
  });
});

describe("new JwtManager", () => {
  it("refuses settings without any key", () => {
    expect(() => new JwtManager()).toThrowError(SettingsError);
    expect(() => new JwtManager({}, { secretKey: [] })).toThrowError(
      /JWTs need a secret or a private key for signing\./,
    );
    expect(() => new JwtManager({}, { secretKey: [ROOT] })).not.toThrow();
  });

  it("refuses invalid settings", () => {
    expect(() => new JwtManager({ algorithm: "RS256" })).toThrowError(SettingsError);
  });
});
