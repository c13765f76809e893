import { createHmac, generateKeyPairSync } from "node:crypto";
import express from "express";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ApiKeyService } from "../../../src/api-key/service.js";
import { createRuntime } from "../../../src/core/runtime.js";
import type { JwtIssuerSettings } from "../../../src/jwt/issuers/settings.js";
import { jwtAuth } from "../../../src/jwt/middleware.js";
import type { JwtSettings } from "../../../src/jwt/settings.js";
import { serve } from "../../support/serve.js";
import { codeOf, pem, START } from "../support.js";
import {
  AUDIENCE,
  type ForeignBench,
  foreignBench,
  foreignClaims,
  foreignToken,
  rawToken,
  TestIssuer,
  testKey,
} from "./support.js";

const KEY = testKey("ES256", "es");
const RSA = testKey("RS256", "rs");
const NOW = Math.floor(START / 1000);

let issuer: TestIssuer;
let other: TestIssuer;
beforeAll(async () => {
  issuer = await TestIssuer.start(KEY, RSA);
  other = await TestIssuer.start(KEY);
});
afterAll(() => Promise.all([issuer.close(), other.close()]));

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

function entry(settings: Partial<JwtIssuerSettings> = {}): JwtIssuerSettings {
  return {
    issuer: issuer.url,
    audience: AUDIENCE,
    algorithms: ["ES256", "RS256"],
    jwksUri: issuer.jwksUri,
    ...settings,
  };
}

function start(settings: Partial<JwtIssuerSettings> = {}, more: JwtSettings = {}): ForeignBench {
  const bench = foreignBench({ issuers: [entry(settings)], ...more });
  ends.push(() => bench.manager.close());
  return bench;
}

const token = (changes: Record<string, unknown> = {}, header: object = {}): Promise<string> =>
  foreignToken(KEY, foreignClaims(issuer.url, changes), header);

/** What the app sees of the caller. */
async function principalOf({ manager }: ForeignBench, text: string): Promise<Record<string, unknown> | number> {
  const app = express();
  app.use(jwtAuth(manager));
  app.get("/", (req, res) => void res.json(req.principal ?? null));
  const server = await serve(app);
  try {
    const answer = await server.send("/", { headers: { authorization: `Bearer ${text}` } });
    return answer.status === 200 ? (answer.json() as Record<string, unknown>) : answer.status;
  } finally {
    await server.close();
  }
}

describe("the claims of a foreign token", () => {
  it.each<{ claim: string; refused: Record<string, unknown>; code: string; taken: Record<string, unknown> }>([
    { claim: "exp missing", refused: { exp: undefined }, code: "claims", taken: {} },
    { claim: "exp as text", refused: { exp: "9999999999" }, code: "claims", taken: { exp: NOW + 60.5 } },
    {
      claim: "exp in the past",
      refused: { iat: NOW - 100, exp: NOW - 6 },
      code: "expired",
      taken: { iat: NOW - 100, exp: NOW - 4 },
    },
    { claim: "nbf ahead", refused: { nbf: NOW + 7 }, code: "not-yet-valid", taken: { nbf: NOW + 5 } },
    { claim: "nbf as text", refused: { nbf: "now" }, code: "claims", taken: { nbf: NOW } },
    { claim: "iat ahead", refused: { iat: NOW + 7 }, code: "not-yet-valid", taken: { iat: NOW + 5 } },
    { claim: "iat as text", refused: { iat: "now" }, code: "claims", taken: { iat: NOW - 0.5 } },
    { claim: "too long a life", refused: { exp: NOW + 86_406 }, code: "lifetime", taken: { exp: NOW + 86_405 } },
    { claim: "iat missing", refused: { iat: undefined }, code: "claims", taken: { iat: NOW } },
    { claim: "exp before iat", refused: { iat: NOW, exp: NOW }, code: "lifetime", taken: { iat: NOW, exp: NOW + 1 } },
    { claim: "aud missing", refused: { aud: undefined }, code: "audience", taken: { aud: [AUDIENCE, "x"] } },
    {
      claim: "aud of another service",
      refused: { aud: "https://other.example" },
      code: "audience",
      taken: { aud: AUDIENCE },
    },
    { claim: "aud with a number", refused: { aud: [AUDIENCE, 7] }, code: "audience", taken: { aud: [AUDIENCE] } },
    { claim: "an empty aud", refused: { aud: [] }, code: "audience", taken: { aud: ["y", AUDIENCE] } },
    { claim: "nonce", refused: { nonce: "n" }, code: "type", taken: { none: "n" } },
    { claim: "at_hash", refused: { at_hash: "h" }, code: "type", taken: { hash: "h" } },
    { claim: "token_use", refused: { token_use: "id" }, code: "type", taken: { token_use: "access" } },
    { claim: "events", refused: { events: {} }, code: "type", taken: { event: {} } },
    { claim: "sub missing", refused: { sub: undefined }, code: "identity", taken: { sub: "a|b" } },
    { claim: "sub empty", refused: { sub: "" }, code: "identity", taken: { sub: " " } },
    { claim: "sub as number", refused: { sub: 7 }, code: "identity", taken: { sub: "7" } },
    { claim: "sub with a line break", refused: { sub: "a\nb" }, code: "identity", taken: { sub: "a b" } },
    { claim: "jti missing", refused: { jti: 7, aud: "x" }, code: "audience", taken: { jti: 7 } },
  ])("$claim: $refused → $code, $taken → accepted", async ({ refused, code, taken }) => {
    const { manager } = start();
    expect(await codeOf(manager.verifyAccessToken(await token(refused)))).toBe(code);
    expect(await codeOf(manager.verifyAccessToken(await token(taken)))).toBe("fulfilled");
  });

  it("are checked again each time: a remembered token ends at exp", async () => {
    const { manager, clock } = start();
    const text = await token({ exp: NOW + 60 });
    expect(await codeOf(manager.verifyAccessToken(text))).toBe("fulfilled");
    clock.advance(64_000);
    expect(await codeOf(manager.verifyAccessToken(text))).toBe("fulfilled");
    clock.advance(1000);
    expect(await codeOf(manager.verifyAccessToken(text))).toBe("expired");
    expect(await codeOf(manager.verifyAccessToken(text))).toBe("expired");
  });

  it("may name the audience elsewhere, as Cognito's do", async () => {
    const { manager } = start({ audienceClaim: "client_id", audience: "app-1" });
    expect(await codeOf(manager.verifyAccessToken(await token({ aud: undefined, client_id: "app-1" })))).toBe(
      "fulfilled",
    );
    expect(await codeOf(manager.verifyAccessToken(await token({ aud: "app-1", client_id: "app-2" })))).toBe("audience");
  });
});

describe("the form of a foreign token", () => {
  const claims = (): Record<string, unknown> => foreignClaims(issuer.url);
  it.each<{ name: string; code: string; make: () => string }>([
    {
      name: "alg none",
      code: "algorithm",
      make: () => `${rawToken(KEY, { alg: "none" }, claims()).split(".").slice(0, 2).join(".")}.AA`,
    },
    {
      name: "an algorithm that is not in the list",
      code: "algorithm",
      make: () => rawToken(KEY, { alg: "ES384", kid: "es" }, claims()),
    },
    {
      name: "the algorithm of another key",
      code: "unknown-key",
      make: () => rawToken(KEY, { alg: "RS256", kid: "es" }, claims()),
    },
    {
      name: "crit",
      code: "critical-header",
      make: () => rawToken(KEY, { alg: "ES256", kid: "es", crit: ["exp"], exp: 1 }, claims()),
    },
    {
      name: "b64",
      code: "critical-header",
      make: () => rawToken(KEY, { alg: "ES256", kid: "es", b64: true }, claims()),
    },
    {
      name: "typ of a log-out token",
      code: "type",
      make: () => rawToken(KEY, { alg: "ES256", kid: "es", typ: "logout+jwt" }, claims()),
    },
    { name: "a kid that is no text", code: "malformed", make: () => rawToken(KEY, { alg: "ES256", kid: 7 }, claims()) },
    {
      name: "a key in the header",
      code: "unknown-key",
      make: () => rawToken(KEY, { alg: "ES256", kid: "x", jwk: {}, jku: "http://127.0.0.1:1/" }, claims()),
    },
    {
      name: "a payload that is a list",
      code: "issuer",
      make: () => rawToken(KEY, { alg: "ES256", kid: "es" }, [claims()]),
    },
    {
      name: "exp: 1e400",
      code: "claims",
      make: () =>
        rawToken(KEY, { alg: "ES256", kid: "es" }, JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e400')),
    },
    { name: "padding", code: "malformed", make: () => `${rawToken(KEY, { alg: "ES256", kid: "es" }, claims())}=` },
    {
      name: "over 8192 characters",
      code: "malformed",
      make: () => rawToken(KEY, { alg: "ES256", kid: "es" }, { ...claims(), fill: "x".repeat(8192) }),
    },
    {
      name: "iss of a prototype",
      code: "issuer",
      make: () => rawToken(KEY, { alg: "ES256", kid: "es" }, '{"__proto__":{"iss":"x"}}'),
    },
    {
      name: "the first iss of two",
      code: "issuer",
      make: () =>
        rawToken(
          KEY,
          { alg: "ES256", kid: "es" },
          JSON.stringify(claims()).replace(/\}$/, ',"iss":"https://evil.example"}'),
        ),
    },
  ])("$name → $code", async ({ code, make }) => {
    const { manager } = start();
    expect(await codeOf(manager.verifyAccessToken(make()))).toBe(code);
  });

  it.each(["JWT", "jwt", "at+jwt", "application/at+jwt", "application/jwt", undefined])(
    "typ %s is accepted",
    async (typ) => {
      const { manager } = start();
      expect(
        await codeOf(
          manager.verifyAccessToken(rawToken(KEY, { alg: "ES256", kid: "es", typ }, foreignClaims(issuer.url))),
        ),
      ).toBe("fulfilled");
    },
  );

  it("is no HMAC under the public key, in any form", async () => {
    const { manager } = start({ algorithms: ["RS256"] });
    const input = `${Buffer.from('{"alg":"HS256","kid":"rs"}').toString("base64url")}.${Buffer.from(JSON.stringify(foreignClaims(issuer.url))).toString("base64url")}`;
    for (const secret of [pem(RSA.publicKey), RSA.publicKey.export({ format: "der", type: "spki" })])
      expect(
        await codeOf(
          manager.verifyAccessToken(`${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`),
        ),
      ).toBe("algorithm");
  });

  it("with any one character of it changed is refused", async () => {
    const { manager } = start();
    const good = await token();
    expect(await codeOf(manager.verifyAccessToken(good))).toBe("fulfilled");
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.constantFrom(..."AZaz09-_."), async (at, char) => {
        if (good[at] === char) return;
        expect(await codeOf(manager.verifyAccessToken(good.slice(0, at) + char + good.slice(at + 1)))).not.toBe(
          "fulfilled",
        );
      }),
    );
  });

  it("of a key that the issuer does not publish is refused, whatever its kid", async () => {
    const { manager } = start();
    const forged = { ...KEY, privateKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey };
    expect(await codeOf(manager.verifyAccessToken(await foreignToken(forged, foreignClaims(issuer.url))))).toBe(
      "signature",
    );
  });
});

describe("the issuer", () => {
  it("selects the entry by iss: one issuer's key does not sign for another", async () => {
    const mine = testKey("ES256", "es");
    const second = await TestIssuer.start(mine);
    ends.push(() => second.close());
    const bench = foreignBench({ issuers: [entry(), entry({ issuer: second.url, jwksUri: second.jwksUri })] });
    ends.push(() => bench.manager.close());
    const crossed = await foreignToken(mine, foreignClaims(issuer.url));
    expect(await codeOf(bench.manager.verifyAccessToken(crossed))).toBe("signature");
    expect(await codeOf(bench.manager.verifyAccessToken(await foreignToken(mine, foreignClaims(second.url))))).toBe(
      "fulfilled",
    );
  });

  it("that is not listed, with or without a slash at the end, gets the one answer", async () => {
    const bench = start();
    for (const iss of [`${issuer.url}/`, issuer.url.toUpperCase(), "https://unknown.example", undefined, 7, ""])
      expect(await principalOf(bench, await foreignToken(KEY, foreignClaims(issuer.url, { iss })))).toBe(401);
    expect(new Set(bench.events.map(({ code, reason }) => `${code} ${reason}`))).toEqual(
      new Set(["invalid-credentials issuer"]),
    );
    expect(issuer.asked.every((path) => path === "/jwks")).toBe(true);
  });

  it("with the subject of another is another principal; two issuers' tokens never have one id", async () => {
    const bench = foreignBench({ issuers: [entry(), entry({ issuer: other.url, jwksUri: other.jwksUri })] });
    ends.push(() => bench.manager.close());
    const [one, two] = await Promise.all(
      [issuer, other].map(async ({ url }) => principalOf(bench, await foreignToken(KEY, foreignClaims(url)))),
    );
    expect(one).toMatchObject({ id: `${issuer.url}|ada`, issuer: issuer.url });
    expect(two).toMatchObject({ id: `${other.url}|ada`, issuer: other.url });
  });

  it("of our own tokens stays our own beside others", async () => {
    const bench = start();
    const { accessToken } = await bench.manager.issue("ada", { scopes: ["read"] });
    for (let time = 0; time < 2; time += 1) {
      const own = await principalOf(bench, accessToken);
      expect(own).toMatchObject({ id: "ada", scopes: ["read"] });
      expect(own).not.toHaveProperty("issuer");
    }
    // A foreign key does not sign for us either.
    expect(
      await codeOf(
        bench.manager.verifyAccessToken(await foreignToken(KEY, foreignClaims("portcullis"), { typ: "at+jwt" })),
      ),
    ).toBe("algorithm");
  });
});

describe("the principal of a foreign token", () => {
  it("has the claims, the jti and the time of authentication", async () => {
    const found = await principalOf(start(), await token({ jti: "t-1", auth_time: NOW - 50, extra: { a: 1 } }));
    expect(found).toMatchObject({
      kind: "jwt",
      credentialId: "t-1",
      authenticatedAt: (NOW - 50) * 1000,
      claims: { extra: { a: 1 }, iss: issuer.url },
    });
    expect(await principalOf(start(), await token({ auth_time: NOW + 50 }))).toMatchObject({
      authenticatedAt: NOW * 1000,
    });
    expect(await principalOf(start(), await token())).toMatchObject({ authenticatedAt: 0 });
  });

  it.each<{ claims: Record<string, unknown>; scopes: string[] }>([
    { claims: { scope: "a b:c  d" }, scopes: ["a", "b:c", "d"] },
    { claims: { scope: undefined, scp: "a b" }, scopes: ["a", "b"] },
    { claims: { scope: undefined, scp: ["a", "b"] }, scopes: ["a", "b"] },
    { claims: { scope: "a", scp: ["b"], permissions: ["read:orders", "a"] }, scopes: ["a", "b", "read:orders"] },
    { claims: { scope: "a * orders:* *:x api-keys:manage https://graph.example/.default é" }, scopes: ["a"] },
    { claims: { scope: ["a", 7, null, { b: 1 }, ["c"]] }, scopes: ["a"] },
    { claims: { scope: { a: 1 } }, scopes: [] },
    { claims: { scope: undefined }, scopes: [] },
  ])("has of $claims the scopes $scopes", async ({ claims, scopes }) => {
    expect(await principalOf(start(), await token(claims))).toMatchObject({ scopes });
  });

  it("has the scopes and roles that the settings name", async () => {
    const bench = start({ scopes: "https://example.com/scopes", roles: "realm_access.roles" });
    const text = await token({
      "https://example.com/scopes": ["x", "orders:*"],
      scope: "ignored",
      realm_access: { roles: ["admin", "no role!", 7, "billing:viewer"] },
    });
    expect(await principalOf(bench, text)).toMatchObject({ scopes: ["x"], roles: ["admin", "billing:viewer"] });
    expect(await principalOf(bench, await token({ realm_access: "none" }))).toMatchObject({ scopes: [], roles: [] });
  });

  it("has what the functions of the settings return, wildcards and api-keys:manage included", async () => {
    const bench = start({
      id: (claims) => Number(claims.uid),
      scopes: () => ["orders:*", "api-keys:manage"],
      roles: (claims) => [String(claims.group)],
    });
    const text = await token({ uid: 17, group: "staff" });
    expect(await principalOf(bench, text)).toMatchObject({
      id: "17",
      issuer: issuer.url,
      scopes: ["orders:*", "api-keys:manage"],
      roles: ["staff"],
    });
  });

  it.each<{ name: string; reason: string; settings: Partial<JwtIssuerSettings> }>([
    {
      name: "an id that throws",
      reason: "id-function",
      settings: {
        id: () => {
          throw new Error("no");
        },
      },
    },
    { name: "an id that is nothing", reason: "id-function", settings: { id: () => undefined as unknown as string } },
    { name: "an id that is too long", reason: "id-function", settings: { id: () => "x".repeat(256) } },
    {
      name: "an id that is a promise",
      reason: "id-function",
      settings: { id: (() => Promise.reject(new Error("no"))) as unknown as () => string },
    },
    {
      name: "scopes that throw",
      reason: "scopes-function",
      settings: { scopes: (claims) => (claims.none as string[]).map(String) },
    },
    {
      name: "scopes that are text",
      reason: "scopes-function",
      settings: { scopes: () => "read" as unknown as string[] },
    },
    { name: "scopes with a bad one", reason: "scopes-function", settings: { scopes: () => ["read", "no scope"] } },
    { name: "roles that are no list", reason: "roles-function", settings: { roles: () => ({}) as string[] } },
    { name: "roles with a number", reason: "roles-function", settings: { roles: () => [7] as unknown as string[] } },
  ])("is refused with 401 and announced once for $name", async ({ reason, settings }) => {
    const bench = start(settings);
    expect(await principalOf(bench, await token())).toBe(401);
    expect(await principalOf(bench, await token({ n: 2 }))).toBe(401);
    expect(bench.events.map(({ event, reason: why }) => [event, why])).toEqual([
      ["portcullis_misconfigured", reason],
      ["authn_login_fail", "identity"],
      ["authn_login_fail", "identity"],
    ]);
  });

  it("is refused when its id would be over 255 characters, with an event", async () => {
    const bench = start();
    const longest = 255 - issuer.url.length - 1;
    expect(await principalOf(bench, await token({ sub: "s".repeat(longest) }))).toMatchObject({ kind: "jwt" });
    expect(await principalOf(bench, await token({ sub: "s".repeat(longest + 1) }))).toBe(401);
    expect(bench.events.map(({ event, reason }) => [event, reason])).toEqual([["authn_login_fail", "identity"]]);
  });
});

describe("the ids of an issuer's subjects", () => {
  it("are refused by issue, signAccessToken and create; all others are not", async () => {
    const runtime = createRuntime({ debug: true });
    const { JwtManager } = await import("../../../src/jwt/manager.js");
    const manager = new JwtManager({ secret: "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E", issuers: [entry()] }, { runtime });
    const keys = new ApiKeyService({ hash: "hmac-sha256", secret: "q9Wn3sXfYb2LxWn8RzGj5HdPm7CuTa4Z" }, { runtime });
    ends.push(
      () => manager.close(),
      () => keys.close(),
    );
    for (const id of [`${issuer.url}|`, `${issuer.url}|ada`, `${issuer.url}|a|b`]) {
      expect(await codeOf(manager.issue(id))).toBe("invalid-input");
      expect(await codeOf(manager.signAccessToken(id))).toBe("invalid-input");
      await expect(keys.create({ ownerId: id, name: "k" })).rejects.toMatchObject({
        code: "invalid-input",
        issues: [{ path: "ownerId" }],
      });
    }
    for (const id of [issuer.url, `${issuer.url}/|ada`, `x${issuer.url}|ada`, "ada|"]) {
      expect(await codeOf(manager.issue(id))).toBe("fulfilled");
      await keys.create({ ownerId: id, name: "k" });
    }
    // The call that was refused is not made; a revocation is.
    expect(await codeOf(manager.revokeSubject(`${issuer.url}|ada`))).toBe("fulfilled");
  });

  it("are the app's own when it maps them with id", async () => {
    const { manager } = start({ id: (claims) => String(claims.sub) });
    expect(await codeOf(manager.issue(`${issuer.url}|ada`))).toBe("fulfilled");
  });
});

describe("the revocation of foreign tokens", () => {
  it("by subject ends those issued before, and none issued later", async () => {
    const { manager, clock } = start();
    const before = await token();
    const someoneElses = await token({ sub: "bob" });
    expect(await codeOf(manager.verifyAccessToken(before))).toBe("fulfilled");
    await manager.revokeSubject(`${issuer.url}|ada`);
    expect(await codeOf(manager.verifyAccessToken(before))).toBe("revoked");
    expect(await codeOf(manager.verifyAccessToken(someoneElses))).toBe("fulfilled");
    clock.advance(10_000);
    expect(await codeOf(manager.verifyAccessToken(await token({ iat: NOW + 10 })))).toBe("fulfilled");
  });

  it.each([
    ["revokeAccessToken", ({ manager }: ForeignBench, text: string) => manager.revokeAccessToken(text)],
    ["revokeToken", ({ manager }: ForeignBench) => manager.revokeToken("t-1")],
    ["revokeSubject", ({ manager }: ForeignBench) => manager.revokeSubject(`${issuer.url}|ada`)],
  ] as const)("by %s lasts as long as the token would be accepted", async (_name, revoke) => {
    const leewaySeconds = 60;
    const bench = start({ maxLifetimeMinutes: 600 }, { leewaySeconds });
    // The latest end that a token can have which is accepted now: the issuer's clock is ahead.
    const iat = NOW + leewaySeconds;
    const times = { iat, exp: iat + 36_000 + leewaySeconds };
    const [ended, other] = [await token({ ...times, jti: "t-1" }), await token({ ...times, sub: "bob", jti: "t-2" })];
    expect(await codeOf(bench.manager.verifyAccessToken(ended))).toBe("fulfilled");
    await revoke(bench, ended);
    bench.clock.advance((times.exp + leewaySeconds - 1 - NOW) * 1000);
    await bench.store.deleteExpired(bench.clock.now());
    expect(await codeOf(bench.manager.verifyAccessToken(ended))).toBe("revoked");
    expect(await codeOf(bench.manager.verifyAccessToken(other))).toBe("fulfilled");
  });

  it("needs iat: without it a token with a far exp would be accepted again after its revocation has ended", async () => {
    const { manager, clock } = start();
    const far = await token({ iat: undefined, exp: NOW + 10 * 86_400 });
    expect(await codeOf(manager.verifyAccessToken(far))).toBe("claims");
    await manager.revokeSubject(`${issuer.url}|ada`);
    clock.advance(9.5 * 86_400_000);
    expect(await codeOf(manager.verifyAccessToken(far))).toBe("claims");
  });

  it("by jti, or by the hash of a token without one, whatever form its signature has", async () => {
    const bench = start();
    const [named, unnamed] = [await token({ jti: "t-1" }), await token()];
    await bench.manager.revokeToken("t-1");
    expect(await codeOf(bench.manager.verifyAccessToken(named))).toBe("revoked");
    const { credentialId } = (await principalOf(bench, unnamed)) as { credentialId: string };
    expect(credentialId).toMatch(/^[\w-]{43}$/);
    expect(await bench.manager.revokeAccessToken(unnamed)).toBe(true);
    expect(await codeOf(bench.manager.verifyAccessToken(unnamed))).toBe("revoked");
    // ECDSA: (r, n - s) is a signature of the same bytes.
    const [header, payload, signature = ""] = unnamed.split(".");
    const bytes = Buffer.from(signature, "base64url");
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = (order - BigInt(`0x${bytes.subarray(32).toString("hex")}`)).toString(16).padStart(64, "0");
    const second = `${header}.${payload}.${Buffer.concat([bytes.subarray(0, 32), Buffer.from(s, "hex")]).toString("base64url")}`;
    expect(await codeOf(bench.manager.verifyAccessToken(second))).toBe("revoked");
    expect(bench.events.filter(({ event }) => event === "authn_token_revoked")).toHaveLength(2);
  });
});
