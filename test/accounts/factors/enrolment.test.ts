import type express from "express";
import { describe, expect, test } from "vitest";
import { accountsApp, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";

describe("POST /totp and /totp/confirm", () => {
  test("the secret has 160 bits, and the URI names issuer and account", async () => {
    const app = await accountsApp({ factors: { totp: { issuer: "Bücher & Co" } } });
    await person(app, "ada@example.com");
    const browser = app.client();
    await browser.logIn("ada@example.com");
    const { secret, uri } = (await browser.post("/account/totp")).json() as Record<string, string>;
    expect(secret).toMatch(/^[A-Z2-7]{32}$/);
    expect(uri).toBe(
      `otpauth://totp/B%C3%BCcher%20%26%20Co:ada%40example.com?secret=${secret}&issuer=B%C3%BCcher%20%26%20Co&algorithm=SHA1&digits=6&period=30`,
    );
  });

  test("takes effect with its code alone, ends everything else, and shows ten recovery codes once", async () => {
    const app = await accountsApp();
    await person(app);
    const [browser, other, program] = [app.client(), app.client(), app.client()];
    await browser.logIn();
    await other.logIn();
    const tokens = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as Record<string, string>;
    const bearer = { authorization: `Bearer ${tokens["accessToken"]}` };
    const begun = (await browser.post("/account/totp", { name: "Phone" })).json() as { secret: string };
    expect((await app.client().logIn()).text).toBe('{"status":"done"}');
    const authenticator = new Authenticator(begun.secret);
    for (const code of [authenticator.wrong(app.clock.now()), authenticator.code(app.clock.now(), 3), "", "12345"])
      expect((await browser.post("/account/totp/confirm", { code })).status).toBe(code === "" ? 400 : 401);
    expect((await other.get("/me")).status).toBe(200);

    const confirmed = await browser.post("/account/totp/confirm", { code: authenticator.code(app.clock.now()) });
    const { recoveryCodes } = confirmed.json() as { recoveryCodes: string[] };
    expect(new Set(recoveryCodes).size).toBe(10);
    for (const code of recoveryCodes) expect(code).toMatch(/^(?:[0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$/);
    const me = (await browser.get("/me")).json() as { methods: { method: string }[] };
    expect(me.methods.map(({ method }) => method)).toEqual(["pwd", "totp"]);
    expect((await other.get("/me")).status).toBe(401);
    expect((await program.get("/me", bearer)).status).toBe(401);
    const listed = (await browser.get("/account/factors")).json();
    expect(listed).toEqual({
      factors: [
        {
          id: expect.any(String) as string,
          method: "totp",
          name: "Phone",
          createdAt: app.clock.now(),
          usedAt: app.clock.now(),
        },
      ],
      recoveryCodesLeft: 10,
    });
    expect(app.events.filter(({ event }) => event === "user_updated").map(({ reason }) => reason)).toEqual([
      "totp-added",
    ]);
  });

  test("a second enrolment replaces the first factor when it is confirmed, not before", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const old = await enrol(app, browser);
    const abandoned = (await browser.post("/account/totp")).json() as { secret: string };
    const begun = (await browser.post("/account/totp")).json() as { secret: string };
    const logIn = async (authenticator: Authenticator): Promise<number> => {
      const other = app.client();
      await other.logIn();
      const code = authenticator.code(app.clock.now());
      return (await other.post("/account/login/factor", { method: "totp", code })).status;
    };
    expect(await logIn(old.authenticator)).toBe(200);
    const left = new Authenticator(abandoned.secret).code(app.clock.now());
    expect((await browser.post("/account/totp/confirm", { code: left })).status).toBe(401);
    const next = new Authenticator(begun.secret);
    expect((await browser.post("/account/totp/confirm", { code: next.code(app.clock.now()) })).status).toBe(200);
    app.clock.advance(30_000);
    expect([await logIn(old.authenticator), await logIn(next)]).toEqual([401, 200]);
    const other = app.client();
    await other.logIn();
    const dead = { method: "recovery", code: old.recoveryCodes[0] };
    expect((await other.post("/account/login/factor", dead)).status).toBe(401);
    expect(await app.accounts.factors.list("id-ada")).toHaveLength(1);
  });

  test("a started enrolment ends with the password: whoever began it knows the secret", async () => {
    const app = await accountsApp();
    await person(app);
    const [thief, owner] = [app.client(), app.client()];
    await thief.logIn();
    const { secret } = (await thief.post("/account/totp", {})).json() as { secret: string };
    await app.accounts.passwords.set("id-ada", "another battery horse staple");
    await owner.logIn("ada", "another battery horse staple");
    const code = new Authenticator(secret).code(app.clock.now());
    expect((await owner.post("/account/totp/confirm", { code })).status).toBe(401);
    await enrol(app, owner);
  });

  test("a started enrolment ends after ten minutes, and restarts", async () => {
    const app = await accountsApp({ freshSeconds: 3600 });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const begun = (await browser.post("/account/totp")).json() as { secret: string };
    app.clock.advance(600_000);
    const code = new Authenticator(begun.secret).code(app.clock.now());
    expect((await browser.post("/account/totp/confirm", { code })).status).toBe(401);
    expect((await enrol(app, browser)).recoveryCodes).toHaveLength(10);
  });

  test("20 parallel confirmations make one factor, and the codes of the answer work", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const begun = (await browser.post("/account/totp")).json() as { secret: string };
    const code = new Authenticator(begun.secret).code(app.clock.now());
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => browser.post("/account/totp/confirm", { code })),
    );
    const done = answers.filter(({ status }) => status === 200);
    expect(done).toHaveLength(1);
    const { recoveryCodes } = done[0]?.json() as { recoveryCodes: string[] };
    const other = app.client();
    await other.logIn();
    const body = { method: "recovery", code: recoveryCodes[9] };
    expect((await other.post("/account/login/factor", body)).status).toBe(200);
  });

  test("a token with which the factor was set up ends too, for it does not say the factor", async () => {
    const app = await accountsApp();
    await person(app);
    const program = app.client();
    const tokens = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as Record<string, string>;
    const bearer = { authorization: `Bearer ${tokens["accessToken"]}` };
    const begun = (await program.post("/account/totp", {}, bearer)).json() as { secret: string };
    const code = new Authenticator(begun.secret).code(app.clock.now());
    const confirmed = await program.post("/account/totp/confirm", { code }, bearer);
    expect((confirmed.json() as { recoveryCodes: string[] }).recoveryCodes).toHaveLength(10);
    expect((await program.get("/me", bearer)).status).toBe(401);
    await expect(app.security.jwt?.refresh(String(tokens["refreshToken"]))).rejects.toThrow();
  });

  test("nobody begins without a fresh proof of their own", async () => {
    const app = await accountsApp();
    await person(app);
    expect((await app.client().post("/account/totp")).status).toBe(401);
    const browser = app.client();
    await browser.logIn();
    app.clock.advance(301_000);
    const stale = await browser.post("/account/totp");
    expect([stale.status, stale.json()]).toEqual([
      401,
      expect.objectContaining({ code: "reauthentication-required", anyOf: [["pwd"], ["totp"], ["recovery"]] }),
    ]);
    const key = await app.security.apiKeys?.create({ ownerId: "id-ada", name: "k", scopes: [] });
    const headers = { authorization: `Bearer ${key?.key}` };
    expect((await app.client().post("/account/totp", {}, headers)).status).toBe(403);
  });
});

describe("factors.required", () => {
  const required = {
    factors: { required: (user: { roles?: readonly string[] | undefined }) => user.roles?.includes("admin") === true },
  };

  test("a log-in that owes a factor opens /totp and /logout alone, and is finished by the factor", async () => {
    const app = await accountsApp(required);
    await person(app, "ada", { roles: ["admin"] });
    await person(app, "bob");
    expect((await app.client().logIn("bob")).text).toBe('{"status":"done"}');
    const browser = app.client();
    expect((await browser.logIn()).json()).toEqual({ status: "enrolment-required", methods: ["totp"] });
    for (const path of ["/me", "/account/factors", "/account/sessions", "/keys"])
      expect([path, (await browser.get(path)).status]).toEqual([path, 401]);
    for (const [path, body] of [
      ["/account/login/factor", { method: "totp", code: "123456" }],
      ["/account/recovery-codes", {}],
      ["/account/reauthenticate", { password: "x" }],
      ["/keys", { name: "k" }],
      ["/token", {}],
    ] as const)
      expect([path, (await browser.post(path, body)).status]).toEqual([path, 401]);
    const { recoveryCodes } = await enrol(app, browser);
    expect(recoveryCodes).toHaveLength(10);
    expect(((await browser.get("/me")).json() as { methods: unknown[] }).methods).toHaveLength(2);
  });

  test("what one log-in has begun, another can neither see nor confirm: it may know the secret", async () => {
    let seen: (req: express.Request) => Promise<unknown> = async () => undefined;
    const app = await accountsApp(required, {}, (server) =>
      server.get("/seen", async (req, res) => void res.json({ enrolment: (await seen(req)) ?? null })),
    );
    seen = (req) => app.accounts.factors.enrolment(req);
    await person(app, "ada", { roles: ["admin"] });
    const [owner, thief] = [app.client(), app.client()];
    await owner.logIn();
    await thief.logIn();
    const { secret } = (await thief.post("/account/totp", {})).json() as { secret: string };
    expect((await thief.get("/seen")).json()).toMatchObject({ enrolment: { secret } });
    expect((await owner.get("/seen")).json()).toEqual({ enrolment: null });
    const code = new Authenticator(secret).code(app.clock.now());
    expect((await owner.post("/account/totp/confirm", { code })).status).toBe(401);
    expect(await app.accounts.factors.list("id-ada")).toEqual([]);
    await enrol(app, owner);
    expect(await app.accounts.factors.list("id-ada")).toHaveLength(1);
    expect((await owner.get("/me")).status).toBe(200);
  });

  test("a client without cookies enrols with its pending, and gets tokens and recovery codes", async () => {
    const app = await accountsApp(required);
    await person(app, "ada", { roles: ["admin"] });
    const program = app.client();
    const { pending } = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as { pending: string };
    expect((await program.post("/account/totp", {})).status).toBe(401);
    const begun = (await program.post("/account/totp", { pending })).json() as { secret: string };
    const authenticator = new Authenticator(begun.secret);
    const wrong = { code: authenticator.wrong(app.clock.now()), pending };
    expect((await program.post("/account/totp/confirm", wrong)).status).toBe(401);
    const right = { code: authenticator.code(app.clock.now()), pending };
    const done = (await program.post("/account/totp/confirm", right)).json() as Record<string, unknown>;
    expect(done).toMatchObject({ status: "done", tokenType: "Bearer" });
    expect(done["recoveryCodes"]).toHaveLength(10);
  });

  test("a pending log-in without the factor is worthless once the factor is there", async () => {
    const app = await accountsApp(required);
    await person(app, "ada", { roles: ["admin"] });
    const [owner, thief] = [app.client(), app.client()];
    await owner.logIn();
    await thief.logIn();
    await enrol(app, owner);
    expect((await thief.post("/account/totp", {})).status).toBe(401);
    expect((await thief.logIn()).json()).toMatchObject({ status: "factor-required" });
    expect((await thief.post("/account/totp", {})).status).toBe(401);
  });

  test("cannot be asked for when there is nothing to set up", async () => {
    await expect(accountsApp({ factors: { totp: false, required: () => true } })).rejects.toThrow(/set none up/);
  });
});
