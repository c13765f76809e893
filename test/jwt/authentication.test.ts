import express from "express";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHENTICATION_METHODS, type ProvedMethod } from "../../src/core/authentication.js";
import { authenticationClaims, authenticationOf } from "../../src/jwt/authentication.js";
import { jwtAuth } from "../../src/jwt/middleware.js";
import { serve, type TestServer } from "../support/serve.js";
import { bench, forge, goodClaims, GOOD_HEADER, HMAC_SECRET, START, type Bench } from "./support.js";

const SECOND = Math.floor(START / 1000) * 1000;
const MINUTE = 60_000;

const times = fc.integer({ min: 0, max: SECOND / 1000 }).map((seconds) => seconds * 1000);
const methods = fc.uniqueArray(fc.record({ method: fc.constantFrom(...AUTHENTICATION_METHODS), at: times }), {
  selector: (one) => one.method,
  minLength: 1,
});

describe("the claims that say how the subject was authenticated", () => {
  it.each([
    { name: "nothing but a time", methods: [], claims: { auth_time: 9 } },
    { name: "a password", methods: [{ method: "pwd", at: 9999 }], claims: { auth_time: 9, amr: ["pwd"] } },
    {
      name: "a code and a passkey, by the names of RFC 8176",
      methods: [
        { method: "totp", at: 9000 },
        { method: "webauthn", at: 9000 },
      ],
      claims: { auth_time: 9, amr: ["otp", "pop"] },
    },
    {
      name: "methods at several times",
      methods: [
        { method: "pwd", at: 4000 },
        { method: "totp", at: 9000 },
      ],
      claims: { auth_time: 9, amr: ["pwd", "otp"], amr_times: [4, 9] },
    },
  ] as const)("$name", ({ methods: proved, claims }) => {
    expect(authenticationClaims({ authenticatedAt: 9000, methods: proved })).toEqual(claims);
  });

  it("come back as they were written, in whole seconds", () => {
    fc.assert(
      fc.property(methods, (proved) => {
        const authenticatedAt = Math.max(...proved.map(({ at }) => at));
        const claims = { iat: SECOND / 1000, ...authenticationClaims({ authenticatedAt, methods: proved }) };
        expect(authenticationOf(claims)).toEqual({ authenticatedAt, methods: proved });
      }),
    );
  });

  it("are read without an error, and no time is later than that of issue, whatever they contain", () => {
    const value = fc.oneof(fc.anything(), fc.array(fc.oneof(fc.constantFrom("pwd", "otp", "mfa"), fc.double())));
    fc.assert(
      fc.property(fc.record({ iat: fc.constant(1000), auth_time: value, amr: value, amr_times: value }), (claims) => {
        const { authenticatedAt, methods: read } = authenticationOf(claims);
        for (const at of [authenticatedAt, ...read.map((one) => one.at)]) {
          expect(Number.isSafeInteger(at) && at >= 0 && at <= 1_000_000).toBe(true);
        }
        expect(read.length).toBeGreaterThan(0);
        expect(Object.isFrozen(read)).toBe(true);
      }),
    );
  });
});

describe("req.principal of a token", () => {
  let server: TestServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  /** What the app sees of a caller with that token. */
  async function seenWith({ manager }: Bench, token: string): Promise<Record<string, unknown>> {
    const app = express();
    app.use(jwtAuth(manager));
    app.get("/", (req, res) => void res.json(req.principal));
    await server?.close();
    server = await serve(app);
    const answer = await server.send("/", { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(200);
    return answer.json() as Record<string, unknown>;
  }

  it.each<{ name: string; methods?: readonly ProvedMethod[]; authenticatedAt: number; seen: unknown }>([
    {
      name: "issue() without methods: only that the caller has the token",
      authenticatedAt: SECOND,
      seen: [{ method: "token", at: SECOND }],
    },
    {
      name: "issue() with what was proved now",
      methods: ["pwd", "totp"],
      authenticatedAt: SECOND,
      seen: [
        { method: "pwd", at: SECOND },
        { method: "totp", at: SECOND },
      ],
    },
    {
      name: "issue() with what was proved before: the latest counts",
      methods: [
        { method: "pwd", at: SECOND - 9 * MINUTE },
        { method: "webauthn", at: SECOND - MINUTE },
      ],
      authenticatedAt: SECOND - MINUTE,
      seen: [
        { method: "pwd", at: SECOND - 9 * MINUTE },
        { method: "webauthn", at: SECOND - MINUTE },
      ],
    },
  ])("$name, and refreshing changes nothing of it", async ({ methods: proved, authenticatedAt, seen }) => {
    const made = bench();
    let { accessToken, refreshToken } = await made.manager.issue("ada", { claims: { tenant: "red" }, methods: proved });
    for (let renewal = 0; renewal < 3; renewal += 1) {
      const principal = await seenWith(made, accessToken);
      expect(principal).toMatchObject({ authenticatedAt, methods: seen, claims: { tenant: "red", sub: "ada" } });
      made.clock.advance(20 * MINUTE);
      ({ accessToken, refreshToken } = await made.manager.refresh(refreshToken));
    }
  });

  it("signAccessToken() says the same", async () => {
    const made = bench();
    const token = await made.manager.signAccessToken("ada", { methods: ["webauthn"] });
    expect(await seenWith(made, token)).toMatchObject({ methods: [{ method: "webauthn", at: SECOND }] });
  });

  it("a family from before this version is refreshed, and is never fresh", async () => {
    const made = bench();
    const insert = made.store.insert.bind(made.store);
    made.store.insert = (token) => insert({ ...token, claims: { tenant: token.claims["tenant"] ?? null } });
    const { refreshToken } = await made.manager.issue("ada", { claims: { tenant: "red" } });
    const { accessToken } = await made.manager.refresh(refreshToken);
    expect(await seenWith(made, accessToken)).toMatchObject({
      authenticatedAt: 0,
      methods: [{ method: "token", at: 0 }],
      claims: { tenant: "red" },
    });
  });

  it("a token of another service with our key is never fresh when it does not say when", async () => {
    const made = bench({ secret: HMAC_SECRET });
    expect(await seenWith(made, forge(GOOD_HEADER, goodClaims(), HMAC_SECRET))).toMatchObject({
      authenticatedAt: 0,
      methods: [{ method: "token", at: 0 }],
    });
    const strange = { ...goodClaims(), auth_time: "yesterday", amr: { length: 1e9 }, amr_times: [null] };
    expect(await seenWith(made, forge(GOOD_HEADER, strange, HMAC_SECRET))).toMatchObject({ authenticatedAt: 0 });
    const future = { ...goodClaims(), auth_time: 4e9, amr: ["mfa", "pwd"] };
    expect(await seenWith(made, forge(GOOD_HEADER, future, HMAC_SECRET))).toMatchObject({
      authenticatedAt: SECOND,
      methods: [{ method: "pwd", at: SECOND }],
    });
  });
});
