import type { RequestHandler } from "express";
import { afterEach, describe, expect, it, vi } from "vitest";
import { stateOf } from "../../src/core/request-state.js";
import { createPrincipal } from "../../src/core/principal.js";
import { beginState } from "../../src/core/request-state.js";
import { requireJwt } from "../../src/guards.js";
import { createJwt, jwtAuth } from "../../src/jwt/middleware.js";
import { SettingsError } from "../../src/settings/errors.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve, type TestServer } from "../support/serve.js";
import {
  bench,
  forge,
  goodClaims,
  GOOD_HEADER,
  HMAC_SECRET,
  settingsFor,
  START,
  UnreliableStore,
  type Bench,
} from "./support.js";

const INVALID = 'Bearer realm="api", error="invalid_token"';
const PROBLEM = {
  type: "urn:problem-type:portcullis:invalid-credentials",
  title: "Invalid credentials",
  status: 401,
  detail: "The credentials of this request are invalid.",
  code: "invalid-credentials",
};

describe.each(EXPRESS)("jwtAuth on $name", ({ express }) => {
  let server: TestServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  async function start(
    { manager }: Pick<Bench, "manager">,
    before: readonly RequestHandler[] = [],
    settings = {},
  ): Promise<TestServer> {
    const app = express();
    for (const handler of before) app.use(handler);
    app.use(jwtAuth(manager, settings));
    app.get("/who", (req, res) => void res.json(req.principal ?? null));
    app.get("/closed", requireJwt({ scopes: ["read"] }), (_req, res) => void res.json("in"));
    return (server = await serve(app));
  }

  it("sets a frozen principal", async () => {
    const b = bench();
    const { accessToken } = await b.manager.issue("user-1", { scopes: ["read", "orders:write"], roles: ["admin"] });
    const { send } = await start(b);
    const answer = await send("/who", { headers: { authorization: `Bearer ${accessToken}` } });
    const claims = await b.manager.verifyAccessToken(accessToken);
    const { jti } = claims;
    const at = Math.floor(START / 1000) * 1000;
    expect(answer.json()).toEqual({
      id: "user-1",
      kind: "jwt",
      scopes: ["read", "orders:write"],
      roles: ["admin"],
      credentialId: jti,
      claims,
      authenticatedAt: at,
      methods: [{ method: "token", at }],
    });
    expect((await send("/closed", { headers: { authorization: `bearer   ${accessToken}` } })).status).toBe(200);
  });

  it.each([
    { cacheSize: 10, made: 1 },
    { cacheSize: 0, made: 3 },
  ])(
    "creates the principal of a cached token once: $made for three requests with cacheSize $cacheSize",
    async ({ cacheSize, made }) => {
      const { manager } = bench({ cacheSize });
      const { accessToken } = await manager.issue("user-1", { scopes: ["read"] });
      const seen: unknown[] = [];
      const app = express();
      app.use(jwtAuth(manager), (req, res) => {
        seen.push(req.principal);
        res.end();
      });
      const { send } = (server = await serve(app));
      for (let request = 0; request < 3; request += 1)
        await send("/", { headers: { authorization: `Bearer ${accessToken}` } });
      expect(seen).toEqual(Array(3).fill(expect.objectContaining({ id: "user-1", scopes: ["read"] })));
      expect(new Set(seen).size).toBe(made);
    },
  );

  it("lets a caller without a token pass, which a guard then refuses without an error code", async () => {
    const { send } = await start(bench());
    expect((await send("/who")).json()).toBeNull();
    expect((await send("/who", { headers: { authorization: "Basic dTpw" } })).json()).toBeNull();
    const refused = await send("/closed");
    expect(refused.status).toBe(401);
    expect(refused.headers["www-authenticate"]).toBe('Bearer realm="api"');
  });

  it("answers every invalid token alike, repeats no part of it, and gives the reason only in the event", async () => {
    const b = bench({ secret: HMAC_SECRET });
    const revoked = await b.manager.signAccessToken("user-1");
    const { jti } = await b.manager.verifyAccessToken(revoked);
    await b.manager.revokeToken(jti);
    const rows: [string, string][] = [
      ["", "malformed"],
      [" a b", "malformed"],
      [" not-a-token", "malformed"],
      [` ${"A".repeat(9000)}`, "malformed"],
      [` ${forge({ ...GOOD_HEADER, alg: "none" }, goodClaims(), "x")}`, "algorithm"],
      [` ${forge({ ...GOOD_HEADER, crit: ["x"] }, goodClaims(), HMAC_SECRET)}`, "critical-header"],
      [` ${forge({ ...GOOD_HEADER, typ: "JWT" }, goodClaims(), HMAC_SECRET)}`, "type"],
      [` ${forge(GOOD_HEADER, goodClaims(), "another")}`, "signature"],
      [` ${forge(GOOD_HEADER, { ...goodClaims(), iss: "evil" }, HMAC_SECRET)}`, "issuer"],
      [` ${forge(GOOD_HEADER, goodClaims(b.clock.now() - 3_600_000), HMAC_SECRET)}`, "expired"],
      [` ${revoked}`, "revoked"],
    ];
    const { send } = await start(b);
    for (const [token, reason] of rows) {
      b.events.length = 0;
      const answer = await send("/who?secret=1", { headers: { authorization: `Bearer${token}` } });
      expect([reason, answer.status, answer.json()]).toEqual([reason, 401, PROBLEM]);
      expect(answer.headers).toMatchObject({
        "www-authenticate": INVALID,
        "content-type": "application/problem+json; charset=utf-8",
        "cache-control": "no-store",
      });
      expect(b.events).toMatchObject([{ event: "authn_login_fail", source: "jwt", reason, status: 401, path: "/who" }]);
      if (token.length > 20) expect(JSON.stringify(b.events)).not.toContain(token.slice(-20));
    }
    expect(b.events).toMatchObject([{ subject: "user-1", credentialId: jti }]);
  });

  it("refuses two Authorization lines as ambiguous, whichever comes first", async () => {
    const b = bench();
    const token = await b.manager.signAccessToken("user-1");
    const { raw } = await start(b);
    const ask = (...lines: string[]): Promise<string> =>
      raw(["GET /who HTTP/1.1", "Host: x", ...lines, "Connection: close", "", ""].join("\r\n"));
    for (const other of [`Authorization: Bearer ${token}`, "authorization: Basic dTpw", "AUTHORIZATION: Bearer x"]) {
      expect(await ask(`Authorization: Bearer ${token}`, other)).toMatch(
        /^HTTP\/1.1 400 [^]*WWW-Authenticate: Bearer realm="api", error="invalid_request"[^]*ambiguous-credentials/,
      );
      expect(await ask(other, `Authorization: Bearer ${token}`)).toMatch(/^HTTP\/1.1 400 /);
    }
    expect(await ask(`Authorization: Bearer ${token}`)).toMatch(/^HTTP\/1.1 200 /);
    expect(await ask("Authorization: Bearer")).toMatch(/^HTTP\/1.1 401 /);
    expect(await ask("Authorization: Bearer ")).toMatch(/^HTTP\/1.1 401 /);
    expect(await ask(`Authorization: Bearer\t${token}`)).toMatch(/^HTTP\/1.1 401 /);
    expect(await ask(`Authorization: Bearer ${token}, Bearer ${token}`)).toMatch(/^HTTP\/1.1 401 /);
    expect(await ask("Authorization: ")).toMatch(/^HTTP\/1.1 200 /);
  });

  it("reads no token from the query, from a cookie or from a body", async () => {
    const b = bench();
    const token = await b.manager.signAccessToken("user-1");
    const { send } = await start(b);
    expect(
      (await send(`/who?access_token=${token}`, { headers: { cookie: `access_token=${token}` } })).json(),
    ).toBeNull();
  });

  it("refuses a token beside a session as ambiguous, and leaves one beside an API key to the API key layer", async () => {
    const b = bench();
    const token = await b.manager.signAccessToken("user-1");
    const session: RequestHandler = (req, _res, next) => {
      req.principal = createPrincipal({ id: "user-1", kind: "session", scopes: [], roles: [], credentialId: "s1" });
      next();
    };
    const withSession = await start(b, [session]);
    const refused = await withSession.send("/who", { headers: { authorization: `Bearer ${token}` } });
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([400, "ambiguous-credentials"]);
    expect((await withSession.send("/who")).json()).toMatchObject({ kind: "session" });
    await withSession.close();
    const key: RequestHandler = (req, _res, next) => {
      beginState(req, b.runtime).presented = "api-key";
      req.principal = createPrincipal({ id: "robot", kind: "api-key", scopes: [], roles: [], credentialId: "k1" });
      next();
    };
    const withKey = await start(b, [key]);
    expect((await withKey.send("/who", { headers: { authorization: "Bearer mcp_abc" } })).json()).toMatchObject({
      kind: "api-key",
    });
  });

  it("in report mode reports the refusal and lets the request pass without a principal", async () => {
    const b = bench();
    const { send } = await start(b, [], { mode: "report" });
    const answer = await send("/who", { headers: { authorization: "Bearer nonsense" } });
    expect([answer.status, answer.json()]).toEqual([200, null]);
    expect(b.events).toMatchObject([{ event: "authn_login_fail", mode: "report", reason: "malformed" }]);
    expect((await send("/closed", { headers: { authorization: "Bearer nonsense" } })).status).toBe(401);
  });

  it.each(["fails", "hangs"] as const)(
    "answers 503 with one event for a store that %s, or lets the request pass where the settings say so",
    async (trouble) => {
      const unreliable = new UnreliableStore(bench().store);
      // Long enough for a busy machine to make the calls that must be in time.
      const b = bench({ storeTimeoutMs: 150 }, unreliable);
      const token = await b.manager.signAccessToken("user-1");
      b.events.length = 0;
      const { send } = await start(b);
      unreliable.trouble = trouble;
      const answers = await Promise.all(
        Array.from({ length: 5 }, () => send("/who", { headers: { authorization: `Bearer ${token}` } })),
      );
      expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503, 503]);
      expect(answers[0]?.json()).toMatchObject({ code: "store-unavailable" });
      const late = trouble === "hangs" ? ["portcullis_store_late"] : [];
      expect(b.events.map(({ event }) => event)).toEqual([...late, "portcullis_store_unavailable"]);
      // A bad token is refused without the store.
      expect((await send("/who", { headers: { authorization: "Bearer x" } })).status).toBe(401);
      unreliable.trouble = "none";
      b.clock.advance(1000);
      expect((await send("/who", { headers: { authorization: `Bearer ${token}` } })).json()).toMatchObject({
        id: "user-1",
      });
      await server?.close();
      const lenient = bench({ storeTimeoutMs: 150, onStoreError: "allow" }, unreliable);
      unreliable.trouble = trouble;
      const allowed = await (await start(lenient)).send("/who", { headers: { authorization: `Bearer ${token}` } });
      expect(allowed.json()).toMatchObject({ id: "user-1" });
    },
  );

  it("verifies a token once when a request passes it twice", async () => {
    const b = bench();
    const { accessToken } = await b.manager.issue("user-1", { scopes: ["read"] });
    const check = vi.spyOn(b.manager.verifier, "check");
    const app = express();
    app.use(jwtAuth(b.manager));
    app.get("/twice", jwtAuth(b.manager), requireJwt({ scopes: ["read"] }), (req, res) => void res.json(req.principal));
    app.get("/old", (req, res, next) => {
      req.url = "/new";
      (app as unknown as { handle(...given: unknown[]): void }).handle(req, res, next);
    });
    app.get("/new", requireJwt({ scopes: ["read"] }), (req, res) => void res.json(req.principal));
    const { send } = (server = await serve(app));
    for (const path of ["/twice", "/old"]) {
      check.mockClear();
      const answer = await send(path, { headers: { authorization: `Bearer ${accessToken}` } });
      expect([path, answer.status, check.mock.calls.length]).toEqual([path, 200, 1]);
      expect(answer.json()).toMatchObject({ id: "user-1", kind: "jwt" });
      expect(
        (await send(path, { headers: { authorization: `Bearer ${accessToken}x` } })).headers["www-authenticate"],
      ).toBe(INVALID);
      expect((await send(path)).status).toBe(401);
    }
  });

  it("does not accept a token that only another manager has verified", async () => {
    const [users, admins] = [bench({ secret: HMAC_SECRET }), bench({ secret: `other ${HMAC_SECRET}` })];
    const app = express();
    app.get("/admin", jwtAuth(users.manager), jwtAuth(admins.manager), (req, res) => void res.json(req.principal));
    const { send } = (server = await serve(app));
    const token = await users.manager.signAccessToken("user-1");
    const answer = await send("/admin", { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ code: "invalid-credentials" });
  });

  it("works with each family of algorithms over a socket", async () => {
    for (const algorithm of ["HS512", "RS256", "PS384", "ES256"]) {
      const b = bench(settingsFor(algorithm));
      const token = await b.manager.signAccessToken("user-1");
      const { send } = await start(b);
      expect((await send("/who", { headers: { authorization: `Bearer ${token}` } })).json()).toMatchObject({
        id: "user-1",
      });
      await server?.close();
    }
    server = undefined;
  });
});

describe("the factories", () => {
  it.each([undefined, {}, Object.freeze({}), Object.create(null) as object, { mode: undefined, realm: undefined }])(
    "accept %j",
    (settings) => {
      expect(jwtAuth(bench().manager, settings).name).toBe("jwtMiddleware");
    },
  );

  it("refuse unknown settings", () => {
    expect(() => jwtAuth(bench().manager, { reelm: "x" } as object)).toThrowError(SettingsError);
  });

  it("describe the layer as JSON, without its secrets", () => {
    const { manager, runtime } = bench({ secret: HMAC_SECRET });
    const layer = createJwt(manager.options, runtime, { manager });
    expect(layer).toMatchObject({ id: "jwt", mode: "enforce" });
    const described = layer.describe();
    expect(JSON.parse(JSON.stringify(described))).toEqual(described);
    expect(described).toMatchObject({
      algorithm: "HS256",
      key: "[secret]",
      issuer: "portcullis",
      audience: ["portcullis"],
      accessTokenMinutes: 30,
      onStoreError: "deny",
    });
    expect(JSON.stringify(described)).not.toContain(HMAC_SECRET);
  });

  it("open and close the manager with the layer", async () => {
    const { manager, runtime } = bench();
    const layer = createJwt(manager.options, runtime, { manager });
    await layer.ready?.();
    await layer.close?.();
    await layer.close?.();
  });

  it("stay synchronous while the store is", async () => {
    const { manager, runtime } = bench();
    const token = await manager.signAccessToken("user-1");
    let passed = false;
    const req = { headers: { authorization: `Bearer ${token}` }, rawHeaders: ["Authorization", `Bearer ${token}`] };
    createJwt(manager.options, runtime, { manager }).run(
      req as never,
      {} as never,
      () => (passed = true),
      stateOf(req as never),
    );
    expect(passed).toBe(true);
  });
});
