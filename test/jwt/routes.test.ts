import { createPublicKey, verify } from "node:crypto";
import type { RequestHandler } from "express";
import { afterEach, describe, expect, it } from "vitest";
import { jwtAuth } from "../../src/jwt/middleware.js";
import type { IssuedTokens } from "../../src/jwt/types.js";
import { tokenRoutes } from "../../src/jwt/routes.js";
import { SettingsError } from "../../src/settings/errors.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type Answer, type TestServer } from "../support/serve.js";
import {
  bench,
  codeOf,
  forge,
  GOOD_HEADER,
  goodClaims,
  HMAC_SECRET,
  KEYS,
  UnreliableStore,
  type Bench,
} from "./support.js";

const JSON_TYPE = { "content-type": "application/json" };

describe.each(EXPRESS)("tokenRoutes on $name", ({ express }) => {
  let server: TestServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  async function start(
    b: Bench,
    before: readonly RequestHandler[] = [],
  ): Promise<(path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>> {
    const app = express();
    for (const handler of before) app.use(handler);
    app.use("/token", tokenRoutes(b.manager));
    const { send } = (server = await serve(app));
    return (path, body, headers = JSON_TYPE) =>
      send(`/token${path}`, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) });
  }

  const code = (answer: Answer): [number, unknown] => [
    answer.status,
    answer.text === "" ? "" : (answer.json() as { code: unknown }).code,
  ];

  it("answer POST /refresh with a new pair that no cache keeps", async () => {
    const b = bench();
    const post = await start(b);
    const first = await b.manager.issue("user-1", { scopes: ["read"] });
    const answer = await post("/refresh", { refreshToken: first.refreshToken });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      "cache-control": "no-store",
      "content-type": "application/json; charset=utf-8",
    });
    const issued = answer.json() as IssuedTokens;
    expect(Object.keys(issued)).toEqual(["accessToken", "refreshToken", "tokenType", "expiresIn"]);
    expect(await b.manager.verifyAccessToken(issued.accessToken)).toMatchObject({ sub: "user-1", scope: "read" });
  });

  it("answer POST /refresh alike for every invalid token", async () => {
    const b = bench();
    const post = await start(b);
    const [expired, revoked, reused] = [
      await b.manager.issue("u"),
      await b.manager.issue("u"),
      await b.manager.issue("u"),
    ];
    b.clock.advance(7 * 86_400_000);
    const fresh = await b.manager.issue("u");
    await b.manager.revokeFamily(revoked.refreshToken);
    const used = await b.manager.issue("u");
    await b.manager.refresh(used.refreshToken);
    b.clock.advance(60_000);
    const texts = new Set<string>();
    for (const token of [
      "x",
      expired.refreshToken,
      revoked.refreshToken,
      reused.refreshToken,
      used.refreshToken,
      `rt_${"A".repeat(22)}.${"A".repeat(43)}`,
      fresh.accessToken,
    ]) {
      const answer = await post("/refresh", { refreshToken: token });
      expect(code(answer)).toEqual([401, "invalid-credentials"]);
      expect(answer.headers["www-authenticate"]).toBe('Bearer realm="api", error="invalid_token"');
      texts.add(answer.text);
    }
    expect(texts.size).toBe(1);
    expect(b.events.filter(({ event }) => event === "authn_token_reuse")).toHaveLength(1);
    expect(b.events.filter(({ event }) => event === "authn_login_fail").map(({ reason }) => reason)).toEqual([
      "malformed",
      "expired",
      "revoked",
      "expired",
      "reused",
      "unknown",
      "malformed",
    ]);
  });

  it("give one successor to 50 clients that refresh at once", async () => {
    const b = bench();
    const post = await start(b);
    const { refreshToken } = await b.manager.issue("user-1");
    const answers = await Promise.all(Array.from({ length: 50 }, () => post("/refresh", { refreshToken })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map((answer) => (answer.json() as IssuedTokens).refreshToken)).size).toBe(1);
  });

  it("answer POST /revoke with 204, for a family, an access token and an unknown token alike", async () => {
    const b = bench();
    const post = await start(b);
    const [one, two] = [await b.manager.issue("u"), await b.manager.issue("u")];
    for (const body of [
      { refreshToken: one.refreshToken },
      { refreshToken: one.refreshToken },
      { refreshToken: "unknown" },
      { accessToken: two.accessToken },
      { accessToken: "unknown" },
    ]) {
      const answer = await post("/revoke", body);
      expect([answer.status, answer.text, answer.headers["cache-control"]]).toEqual([204, "", "no-store"]);
    }
    expect(await codeOf(b.manager.refresh(one.refreshToken))).toBe("revoked");
    expect(await codeOf(b.manager.verifyAccessToken(one.accessToken))).toBe("revoked");
    expect(await codeOf(b.manager.verifyAccessToken(two.accessToken))).toBe("revoked");
    expect(await codeOf(b.manager.refresh(two.refreshToken))).toBe("fulfilled");
  });

  it("name the field that a body without it should have", async () => {
    const post = await start(bench());
    const detailOf = async (path: string) =>
      ((await post(path, { refresh_token: "x" })).json() as { detail: string }).detail;
    expect(await detailOf("/refresh")).toContain('Send { "refreshToken": "…" }.');
    expect(await detailOf("/revoke")).toContain('Send { "refreshToken": "…" } or { "accessToken": "…" }.');
  });

  const bodies: {
    name: string;
    path?: string;
    body: unknown;
    headers?: Record<string, string>;
    answer: [number, string];
  }[] = [
    { name: "nothing", body: "", answer: [400, "invalid-request"] },
    { name: "an empty object", body: {}, answer: [400, "invalid-request"] },
    { name: "a list", body: [], answer: [400, "invalid-request"] },
    { name: "null", body: "null", answer: [400, "invalid-request"] },
    { name: "a string", body: '"x"', answer: [400, "invalid-request"] },
    { name: "no JSON", body: "{", answer: [400, "invalid-request"] },
    { name: "a token that is no string", body: { refreshToken: ["x"] }, answer: [400, "invalid-request"] },
    { name: "an empty token", body: { refreshToken: "" }, answer: [400, "invalid-request"] },
    { name: "a token longer than any", body: { refreshToken: "x".repeat(8193) }, answer: [400, "invalid-request"] },
    { name: "something besides", body: { refreshToken: "x", scope: "all" }, answer: [400, "invalid-request"] },
    {
      name: "a __proto__ that lends a token",
      body: '{"__proto__":{"refreshToken":"x"}}',
      answer: [400, "invalid-request"],
    },
    {
      name: "two tokens to revoke",
      path: "/revoke",
      body: { refreshToken: "x", accessToken: "y" },
      answer: [400, "invalid-request"],
    },
    { name: "over 16 KB", body: { refreshToken: "x".repeat(17_000) }, answer: [413, "payload-too-large"] },
    {
      name: "a form",
      body: "refreshToken=x",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      answer: [415, "unsupported-media-type"],
    },
    {
      name: "text",
      body: '{"refreshToken":"x"}',
      headers: { "content-type": "text/plain" },
      answer: [415, "unsupported-media-type"],
    },
    { name: "no type", body: '{"refreshToken":"x"}', headers: {}, answer: [415, "unsupported-media-type"] },
    {
      name: "a packed body",
      body: "x",
      headers: { ...JSON_TYPE, "content-encoding": "gzip" },
      answer: [415, "unsupported-media-type"],
    },
    {
      name: "another charset",
      body: '{"refreshToken":"x"}',
      headers: { "content-type": "application/json; charset=latin1" },
      answer: [415, "unsupported-media-type"],
    },
    {
      name: "the right form",
      body: { refreshToken: "x" },
      headers: { "content-type": "application/json; charset=utf-8" },
      answer: [401, "invalid-credentials"],
    },
  ];
  it("answer each invalid body with a problem that repeats no part of it", async () => {
    const post = await start(bench());
    for (const { name, path = "/refresh", body, headers = JSON_TYPE, answer } of bodies) {
      const got = await post(path, body, headers);
      expect([name, ...code(got)]).toEqual([name, ...answer]);
      expect(got.headers).toMatchObject({
        "content-type": "application/problem+json; charset=utf-8",
        "cache-control": "no-store",
      });
    }
  });

  it("accept a body that the app has already parsed", async () => {
    const b = bench();
    const post = await start(b, [express.json()]);
    const { refreshToken } = await b.manager.issue("user-1");
    expect((await post("/refresh", { refreshToken })).status).toBe(200);
    expect(code(await post("/refresh", { refreshToken: 1 }))).toEqual([400, "invalid-request"]);
    const other = await b.manager.issue("user-1");
    expect(
      code(await post("/refresh", `${" ".repeat(17_000)}${JSON.stringify({ refreshToken: other.refreshToken })}`)),
    ).toEqual([413, "payload-too-large"]);
  });

  it("refuse a refresh with an expired access token in Authorization behind the layer: clients send none", async () => {
    const b = bench();
    const post = await start(b, [jwtAuth(b.manager)]);
    const { accessToken, refreshToken } = await b.manager.issue("user-1");
    b.clock.advance(3_600_000);
    expect(
      (await post("/refresh", { refreshToken }, { ...JSON_TYPE, authorization: `Bearer ${accessToken}` })).status,
    ).toBe(401);
    expect((await post("/refresh", { refreshToken })).status).toBe(200);
  });

  it("answer 503 to refresh and revoke when the store fails", async () => {
    const unreliable = new UnreliableStore(bench().store);
    const b = bench({}, unreliable);
    const post = await start(b);
    const { accessToken, refreshToken } = await b.manager.issue("user-1");
    unreliable.trouble = "fails";
    const refused = await post("/refresh", { refreshToken });
    expect([code(refused), refused.headers["retry-after"]]).toEqual([[503, "store-unavailable"], "1"]);
    for (const body of [{ refreshToken }, { accessToken }]) {
      const answer = await post("/revoke", body);
      expect([code(answer), answer.headers["retry-after"]]).toEqual([[503, "store-unavailable"], "1"]);
    }
    unreliable.trouble = "none";
    b.clock.advance(1000);
    expect((await post("/refresh", { refreshToken })).status).toBe(200);
  });

  it("answer 503 to refresh without Retry-After when a retry could be taken for a theft", async () => {
    const unreliable = new UnreliableStore(bench().store);
    const b = bench({ reuseGraceSeconds: 0 }, unreliable);
    const post = await start(b);
    const { refreshToken } = await b.manager.issue("user-1");
    unreliable.trouble = "fails";
    const refused = await post("/refresh", { refreshToken });
    expect([code(refused), refused.headers["retry-after"]]).toEqual([[503, "store-unavailable"], undefined]);
    const revocation = await post("/revoke", { refreshToken });
    expect([revocation.status, revocation.headers["retry-after"]]).toEqual([503, "1"]);
  });

  it("refuse to revoke an access token whose id cannot be revoked, and do not ask to try again", async () => {
    const b = bench({ secret: HMAC_SECRET });
    const post = await start(b);
    const [odd, twin] = ["token\0", "token"].map((jti) => forge(GOOD_HEADER, { ...goodClaims(), jti }, HMAC_SECRET));
    const answer = await post("/revoke", { accessToken: odd });
    expect([code(answer), answer.headers["retry-after"]]).toEqual([[400, "invalid-request"], undefined]);
    const names = (): string[] => b.events.map(({ event }) => event);
    expect(names().filter((event) => /^portcullis_|token_revoked/.test(event))).toEqual([]);
    expect((await post("/revoke", { accessToken: twin })).status).toBe(204);
    expect(names()).toContain("authn_token_revoked");
  });

  it("answer GET /jwks.json with keys that anyone can verify with and cache for five minutes", async () => {
    const b = bench({ algorithm: "ES256", privateKey: KEYS.ec("P-256").privateKey });
    await start(b);
    const answer = await server!.send("/token/jwks.json");
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      "content-type": "application/jwk-set+json",
      "cache-control": "public, max-age=300",
    });
    const { keys } = answer.json() as { keys: Record<string, string>[] };
    expect(Object.keys(keys[0]!).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x", "y"]);
    const [h, p, s] = (await b.manager.signAccessToken("u")).split(".");
    const key = { key: createPublicKey({ key: keys[0]!, format: "jwk" }), dsaEncoding: "ieee-p1363" } as const;
    expect(verify("sha256", Buffer.from(`${h}.${p}`), key, Buffer.from(s!, "base64url"))).toBe(true);
    await server!.close();
    await start(bench());
    expect((await server!.send("/token/jwks.json")).text).toBe('{"keys":[]}');
  });
});

describe("the factory", () => {
  it("refuses unknown options", () => {
    expect(() => tokenRoutes(bench().manager, { jwksMaxAge: 1 } as object)).toThrowError(SettingsError);
    expect(tokenRoutes(bench().manager, Object.freeze({}))).toBeTypeOf("function");
  });
});
