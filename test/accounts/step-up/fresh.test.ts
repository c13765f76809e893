import type { Request, Response } from "express";
import jwt from "jsonwebtoken";
import type { Principal, SecuritySettings } from "portcullis";
import { describe, expect, test } from "vitest";
import { isFresh } from "../../../src/accounts/step-up/decide.js";
import { accountsApp, type Client, PASSWORD, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";

const NOW = 10_000_000;
const of = (methods: Principal["methods"], more: Partial<Principal> = {}): Principal => ({
  id: "1",
  kind: "session",
  scopes: [],
  roles: [],
  credentialId: "x",
  claims: {},
  authenticatedAt: Math.max(0, ...methods.map(({ at }) => at)),
  methods,
  ...more,
});
const recent = NOW - 299_999;
const old = NOW - 300_000;

describe("isFresh", () => {
  test.each<
    [string, Principal, readonly (readonly "pwd"[] | readonly ("pwd" | "totp" | "webauthn")[])[] | undefined, boolean]
  >([
    ["a recent password", of([{ method: "pwd", at: recent }]), undefined, true],
    ["an old password", of([{ method: "pwd", at: old }]), undefined, false],
    ["a log-in without methods", of([], { authenticatedAt: recent }), undefined, true],
    ["nothing known", of([]), undefined, false],
    [
      "a recent password of someone with a factor",
      of([
        { method: "pwd", at: recent },
        { method: "totp", at: old },
      ]),
      undefined,
      false,
    ],
    [
      "a recent factor",
      of([
        { method: "pwd", at: old },
        { method: "totp", at: recent },
      ]),
      undefined,
      true,
    ],
    ["a recent recovery code", of([{ method: "recovery", at: recent }]), undefined, true],
    ["someone else who acts", of([{ method: "pwd", at: recent }], { actor: { id: "2" } }), undefined, false],
    ["a new key", of([{ method: "key", at: recent } as never], { kind: "api-key" }), undefined, false],
    ["a proof of the future", of([{ method: "pwd", at: NOW + 60_001 }]), undefined, false],
    ["a clock that is ahead", of([{ method: "pwd", at: NOW + 60_000 }]), undefined, true],
    [
      "both of a set",
      of([
        { method: "pwd", at: recent },
        { method: "totp", at: recent },
      ]),
      [["webauthn"], ["pwd", "totp"]],
      true,
    ],
    [
      "one of a set",
      of([
        { method: "pwd", at: recent },
        { method: "totp", at: old },
      ]),
      [["webauthn"], ["pwd", "totp"]],
      false,
    ],
    ["another set", of([{ method: "webauthn", at: recent }]), [["webauthn"], ["pwd", "totp"]], true],
  ])("%s", (_, principal, anyOf, expected) => {
    expect(isFresh(principal, { withinSeconds: 300, anyOf }, NOW)).toBe(expected);
  });
});

describe("accounts.requireFresh", () => {
  async function withPayment(security: SecuritySettings) {
    const app = await accountsApp({}, security);
    app.app.post("/pay", app.accounts.requireFresh(), (_: Request, res: Response) => void res.sendStatus(204));
    await person(app);
    const pay = (client: Client, headers: Record<string, string>) => client.post("/pay", undefined, headers);
    return { app, pay };
  }

  async function guarded() {
    const app = await accountsApp();
    const done = (_: Request, res: Response): void => void res.sendStatus(204);
    app.app.post("/pay", app.accounts.requireFresh(), done);
    app.app.get("/pay", app.accounts.requireFresh({ redirectTo: "/again" }), done);
    app.app.get("/both", app.accounts.requireFresh({ withinSeconds: 60, anyOf: [["pwd", "totp"]] }), done);
    app.app.use("/fresh-keys", app.security.apiKeyRoutes({ fresh: app.accounts.requireFresh() }));
    app.app.post(
      "/act",
      app.security.requireSession(),
      app.security.handler(async (req, res) => {
        await app.security.logIn(req, { id: "id-bob", actor: { id: "id-ada" }, methods: ["pwd"] });
        res.sendStatus(204);
      }),
    );
    await person(app);
    await person(app, "bob");
    return app;
  }

  test("lets a recent log-in through, and after that asks for a proof, which POST /reauthenticate makes", async () => {
    const app = await guarded();
    const browser = app.client();
    expect((await browser.post("/pay")).json()).toMatchObject({ code: "missing-credentials" });
    await browser.logIn();
    expect((await browser.post("/pay")).status).toBe(204);
    app.clock.advance(300_000);
    const stale = await browser.post("/pay");
    expect([stale.status, stale.headers["www-authenticate"]]).toEqual([401, 'Session realm="api"']);
    expect(stale.json()).toMatchObject({
      code: "reauthentication-required",
      anyOf: [["pwd"], ["totp"], ["recovery"]],
    });
    const page = await browser.get("/pay?x=1", { accept: "text/html" });
    expect([page.status, page.headers.location]).toEqual([303, "/again?returnTo=%2Fpay%3Fx%3D1"]);
    expect((await browser.get("/pay")).status).toBe(401);
    const before = new Map(browser.cookies);
    expect((await browser.post("/account/reauthenticate", { password: "wrong" })).status).toBe(401);
    expect((await browser.post("/pay")).status).toBe(401);
    expect((await browser.post("/account/reauthenticate", { password: PASSWORD })).text).toBe('{"status":"done"}');
    expect((await browser.post("/pay")).status).toBe(204);
    expect(browser.cookies).not.toEqual(before);
  });

  test("refuses other bodies of POST /reauthenticate", async () => {
    const app = await guarded();
    const browser = app.client();
    expect((await browser.post("/account/reauthenticate", { password: PASSWORD })).status).toBe(401);
    await browser.logIn();
    for (const body of [
      {},
      { method: "totp" },
      { code: "123456" },
      { password: PASSWORD, method: "totp", code: "123456" },
      { password: PASSWORD, code: "123456" },
      { password: PASSWORD, more: 1 },
      { method: "pwd", code: PASSWORD },
    ])
      expect([body, (await browser.post("/account/reauthenticate", body)).status]).toEqual([body, 400]);
    const none = await browser.post("/account/reauthenticate", { method: "totp", code: "123456" });
    expect(none.status).toBe(401);
  });

  test("counts the failures of POST /reauthenticate as a log-in does", async () => {
    const app = await accountsApp({}, { loginLimits: { accountAndAddress: { limit: 3 } } });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const statuses: number[] = [];
    for (let tries = 0; tries < 5; tries += 1)
      statuses.push((await browser.post("/account/reauthenticate", { password: "wrong" })).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
    expect((await browser.logIn()).status).toBe(429);
  });

  test("a token is told as RFC 9470 says; neither a refresh nor /reauthenticate makes it fresh", async () => {
    const app = await guarded();
    const program = app.client();
    const tokens = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as Record<string, string>;
    const bearer = { authorization: `Bearer ${tokens["accessToken"]}` };
    expect((await program.post("/pay", undefined, bearer)).status).toBe(204);
    app.clock.advance(301_000);
    const stale = await program.post("/pay", undefined, bearer);
    const header = 'Bearer realm="api", error="insufficient_user_authentication", max_age="300"';
    expect([stale.status, stale.headers["www-authenticate"]]).toEqual([401, header]);
    const refreshed = await app.security.jwt?.refresh(String(tokens["refreshToken"]));
    const again = { authorization: `Bearer ${refreshed?.accessToken}` };
    expect((await program.get("/me", again)).status).toBe(200);
    expect((await program.post("/pay", undefined, again)).status).toBe(401);
    const reauthenticated = await program.post("/account/reauthenticate", { password: PASSWORD }, again);
    expect([reauthenticated.status, reauthenticated.text]).toEqual([401, expect.stringContaining("Log in again")]);
  });

  test("a token of a former app is never fresh, and proves no factor, whatever it says of its log-in", async () => {
    const secret = "the-secret-of-another-app";
    const { app, pay } = await withPayment({ jwt: { accept: { secret, until: "2100-01-01" } } });
    const iat = Math.floor(app.clock.now() / 1000);
    const claims = { sub: "id-ada", iat, exp: iat + 3600, auth_time: iat, amr: ["pwd", "otp"], amr_times: [iat, iat] };
    const former = { authorization: `Bearer ${jwt.sign(claims, secret)}` };
    const me = (await app.client().get("/me", former)).json();
    expect(me).toMatchObject({ id: "id-ada", authenticatedAt: 0, methods: [{ method: "token", at: 0 }] });
    const stale = await pay(app.client(), former);
    expect([stale.status, stale.json()]).toEqual([401, expect.objectContaining({ code: "reauthentication-required" })]);
    expect((await app.client().post("/account/totp", {}, former)).status).toBe(401);
    const { accessToken } = (await app.client().logIn("ada", undefined, { deliver: "tokens" })).json() as {
      accessToken: string;
    };
    expect((await pay(app.client(), { authorization: `Bearer ${accessToken}` })).status).toBe(204);
  });

  test("keys and impersonations are never fresh", async () => {
    const app = await guarded();
    const key = await app.security.apiKeys?.create({ ownerId: "id-ada", name: "k", scopes: [] });
    const headers = { authorization: `Bearer ${key?.key}` };
    expect((await app.client().post("/pay", undefined, headers)).status).toBe(403);
    const support = app.client();
    await support.logIn();
    expect((await support.post("/pay")).status).toBe(204);
    expect((await support.post("/act")).status).toBe(204);
    expect((await support.post("/pay")).status).toBe(403);
    expect((await support.post("/account/reauthenticate", { password: PASSWORD })).status).toBe(403);
    expect((await support.post("/account/totp")).status).toBe(403);
  });

  test("asks for both methods of a set", async () => {
    const app = await guarded();
    const browser = app.client();
    await browser.logIn();
    expect((await browser.get("/both")).json()).toMatchObject({ anyOf: [["pwd", "totp"]] });
    const { authenticator } = await enrol(app, browser);
    expect((await browser.get("/both")).status).toBe(204);
    app.clock.advance(30_000);
    expect((await browser.get("/both")).status).toBe(401);
    const body = { method: "totp", code: authenticator.code(app.clock.now()) };
    await browser.post("/account/reauthenticate", body);
    await browser.post("/account/reauthenticate", { password: PASSWORD });
    expect((await browser.get("/both")).status).toBe(204);
  });

  test("apiKeyRoutes({ fresh }) asks sessions before a key is made, and nobody else", async () => {
    const app = await guarded();
    const browser = app.client();
    await browser.logIn();
    app.clock.advance(301_000);
    expect((await browser.post("/fresh-keys", { name: "k" })).json()).toMatchObject({
      code: "reauthentication-required",
    });
    expect((await browser.get("/fresh-keys")).status).toBe(200);
    expect((await browser.post("/keys", { name: "k" })).status).toBe(201);
    await browser.post("/account/reauthenticate", { password: PASSWORD });
    expect((await browser.post("/fresh-keys", { name: "k" })).status).toBe(201);
  });

  test("checks its options at the start", async () => {
    const app = await accountsApp();
    for (const options of [
      { withinSeconds: 0 },
      { anyOf: [] },
      { anyOf: [[]] },
      { anyOf: [["key"]] },
      { anyOf: [["sms"]] },
      { redirectTo: "https://evil.example" },
      { within: 300 },
    ])
      expect(() => app.accounts.requireFresh(options as never)).toThrow(/requireFresh/);
  });
});
