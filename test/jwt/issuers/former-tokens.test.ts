import jwt from "jsonwebtoken";
import { afterEach, describe, expect, it } from "vitest";
import type { JwtAcceptSettings } from "../../../src/jwt/issuers/accept-settings.js";
import { bench, type Bench, codeOf, HMAC_SECRET, START } from "../support.js";
import { AUDIENCE } from "./support.js";

const SECRET = "old-secret-16-bytes";
const NOW = Math.floor(START / 1000);

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function start(accept: Partial<JwtAcceptSettings> = {}): Bench {
  const made = bench({
    accept: { secret: SECRET, until: START + 30 * 86_400_000, ...accept },
    issuers: [{ issuer: "https://login.example.com", audience: AUDIENCE, algorithms: ["ES256"] }],
  });
  ends.push(() => made.manager.close());
  return made;
}

/** A token as jsonwebtoken writes it. */
const former = (claims: object, secret = SECRET, options: jwt.SignOptions = {}): string =>
  jwt.sign(JSON.stringify({ iat: NOW, exp: NOW + 3600, ...claims }), secret, options);

describe("a token of the former app", () => {
  it("is accepted without typ and jti, as the same user", async () => {
    const { manager } = start();
    const verdict = await manager.verifier.check(former({ sub: "ada", scope: "read", roles: ["admin"] }));
    expect(verdict).toMatchObject({ ok: true, foreign: { id: "ada", issuer: undefined, scopes: ["read"], roles: [] } });
  });

  it.each<{
    name: string;
    code: string;
    refused: () => string;
    taken: () => string;
    accept?: Partial<JwtAcceptSettings>;
  }>([
    {
      name: "another secret",
      code: "signature",
      refused: () => former({ sub: "ada" }, "another-secret-16"),
      taken: () => former({ sub: "ada" }),
    },
    {
      name: "the second secret of a list",
      code: "signature",
      accept: { secret: [SECRET, "second-secret-16"] },
      refused: () => former({ sub: "ada" }, "third-secret-1616"),
      taken: () => former({ sub: "ada" }, "second-secret-16"),
    },
    {
      name: "HS512",
      code: "issuer",
      refused: () => former({ sub: "ada" }, SECRET, { algorithm: "HS512" }),
      taken: () => former({ sub: "ada" }),
    },
    {
      name: "no exp",
      code: "claims",
      refused: () => former({ sub: "ada", exp: undefined }),
      taken: () => former({ sub: "ada", exp: NOW + 300 * 86_400 }),
    },
    {
      name: "expired",
      code: "expired",
      refused: () => former({ sub: "ada", iat: NOW - 90, exp: NOW - 5 }),
      taken: () => former({ sub: "ada", iat: NOW - 90, exp: NOW - 4 }),
    },
    { name: "no sub", code: "identity", refused: () => former({}), taken: () => former({ sub: 17 }) },
    {
      name: "the id of an issuer's subject",
      code: "identity",
      refused: () => former({ sub: "https://login.example.com|ada" }),
      taken: () => former({ sub: "https://login.example.com" }),
    },
    {
      name: "an audience that nobody named",
      code: "audience",
      refused: () => former({ sub: "ada", aud: AUDIENCE }),
      taken: () => former({ sub: "ada" }),
    },
    {
      name: "another audience",
      code: "audience",
      accept: { audience: AUDIENCE },
      refused: () => former({ sub: "ada" }),
      taken: () => former({ sub: "ada", aud: [AUDIENCE] }),
    },
    {
      name: "another issuer",
      code: "issuer",
      accept: { issuer: "old-app" },
      refused: () => former({ sub: "ada", iss: "x" }),
      taken: () => former({ sub: "ada", iss: "old-app" }),
    },
    {
      name: "the iss of a listed issuer",
      code: "algorithm",
      refused: () => former({ sub: "ada", iss: "https://login.example.com" }),
      taken: () => former({ sub: "ada", iss: "https://login.example" }),
    },
    {
      name: "our own typ under the former secret",
      code: "issuer",
      refused: () => former({ sub: "ada" }, SECRET, { header: { alg: "HS256", typ: "at+jwt" } }),
      taken: () => former({ sub: "ada" }, SECRET, { header: { alg: "HS256", typ: "JWT" } }),
    },
  ])("with $name → $code", async ({ code, refused, taken, accept }) => {
    const { manager } = start(accept);
    expect(await codeOf(manager.verifyAccessToken(refused()))).toBe(code);
    expect(await codeOf(manager.verifyAccessToken(taken()))).toBe("fulfilled");
  });

  it("has no claim by which this library names families, orders tokens and says how they were authenticated", async () => {
    const { manager } = start();
    const ours = { fam: "A".repeat(22), iat_ms: START + 9e9, auth_time: NOW, amr: ["otp"], amr_times: [NOW] };
    const claims = { sub: "ada", ...ours, plan: "gold" };
    const verdict = await manager.verifier.check(former(claims));
    expect(verdict).toMatchObject({ ok: true, claims: { sub: "ada", plan: "gold" } });
    expect(verdict.ok && Object.keys(verdict.claims).filter((name) => name in ours)).toEqual([]);
    expect(verdict.ok && Object.isFrozen(verdict.claims)).toBe(true);
  });

  it("maps what it calls the user", async () => {
    const { manager } = start({ id: (claims) => claims.userId as number, roles: "role" });
    expect(await manager.verifier.check(former({ userId: 17, role: "admin" }))).toMatchObject({
      ok: true,
      foreign: { id: "17", roles: ["admin"] },
    });
    expect(await codeOf(manager.verifyAccessToken(former({ sub: "ada" })))).toBe("identity");
  });

  it("ends with until, although it would live longer", async () => {
    const { manager, clock } = start({ until: START + 60_000 });
    const token = former({ sub: "ada" });
    clock.advance(59_999);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("fulfilled");
    clock.advance(1);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("issuer");
  });

  it("is announced by a warning when it has ended before the start", async () => {
    const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
    start({ until: "2020-01-31" });
    expect(await warned).toMatchObject({ code: "PORTCULLIS_MIGRATION" });
  });

  it("is revoked by subject until then, and our new token is valid", async () => {
    const { manager, clock } = start();
    const token = former({ sub: "ada", exp: NOW + 86_400 * 365 });
    await manager.revokeSubject("ada");
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("revoked");
    expect(await codeOf(manager.verifyAccessToken(former({ sub: "bob" })))).toBe("fulfilled");
    expect(await codeOf(manager.verifyAccessToken((await manager.issue("ada")).accessToken))).toBe("fulfilled");
    clock.advance(29 * 86_400_000);
    expect(await codeOf(manager.verifyAccessToken(token))).toBe("revoked");
  });

  it("of the same secret as our own is not mixed up with it", async () => {
    const { manager } = bench({ secret: HMAC_SECRET, accept: { secret: HMAC_SECRET, until: START + 86_400_000 } });
    ends.push(() => manager.close());
    const { accessToken } = await manager.issue("ada");
    expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("fulfilled");
    await manager.revokeAccessToken(accessToken);
    const [, payload] = accessToken.split(".");
    const retyped = jwt.sign(JSON.parse(Buffer.from(payload ?? "", "base64url").toString()) as object, HMAC_SECRET);
    // Signed by whoever has the secret, and refused all the same: the audience is ours.
    expect(await codeOf(manager.verifyAccessToken(retyped))).toBe("audience");
  });
});
