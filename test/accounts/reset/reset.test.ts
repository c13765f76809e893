import type { ApiKeyService } from "portcullis";
import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { accountsApp, PASSWORD, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";
import { NEW_PASSWORD, noticesOf, resetToken } from "../support/links.js";

const RESET = "/account/password/reset";

describe("POST /password/reset", () => {
  test("sets the password, logs in, and the old password is over", async () => {
    const app = await accountsApp();
    await person(app);
    const token = await resetToken(app);
    const browser = app.client();
    expect(await browser.post(RESET, { token, password: NEW_PASSWORD })).toMatchObject({
      status: 200,
      text: '{"status":"done"}',
    });
    expect((await browser.get("/me")).json()).toMatchObject({ id: "id-ada", methods: [{ method: "pwd" }] });
    expect((await app.client().logIn()).status).toBe(401);
    expect((await app.client().logIn("ada", NEW_PASSWORD)).status).toBe(200);
    expect(app.events.filter(({ reason }) => reason === "reset")).toMatchObject([
      { event: "authn_password_change", subject: "id-ada" },
    ]);
  });

  test.each([
    ["used", { uses: 1 }],
    ["replaced", { replaced: true }],
    ["ended", { advance: 1_200_000 }],
    ["of a person who was disabled", { disabled: true }],
    ["of a person who is no more", { gone: true }],
    ["sent to an address that is no longer the person's", { moved: true }],
    ["of nobody", { token: "A".repeat(43) }],
    ["malformed", { token: "not a token" }],
  ] as const)("refuses a link that is %s; the allowed twin is accepted", async (_name, state) => {
    const app = await accountsApp();
    const ada = await person(app);
    const token = await resetToken(app);
    const set = { uses: 0, replaced: false, advance: 0, disabled: false, gone: false, moved: false, token, ...state };
    for (let use = 0; use < set.uses; use++)
      expect((await app.client().post(RESET, { token, password: NEW_PASSWORD })).status).toBe(200);
    if (set.replaced) await resetToken(app, "ada", 2);
    app.clock.advance(set.advance);
    if (set.disabled) app.users.set("id-ada", { ...ada, disabled: true });
    if (set.gone) app.users.delete("id-ada");
    if (set.moved) app.users.set("id-ada", { ...ada, email: "ada@example.org" });
    const refused = await app.client().post(RESET, { token: set.token, password: "yet another long password" });
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([401, "invalid-credentials"]);
    app.users.set("id-ada", ada);
    expect((await app.client().logIn("ada", "yet another long password")).status).toBe(401);
    app.clock.advance(3_600_000);
    const twin = await resetToken(app, "ada", app.notices.filter(({ kind }) => kind === "password-reset").length + 1);
    app.clock.advance(1_199_999);
    expect((await app.client().post(RESET, { token: twin, password: "yet another long password" })).status).toBe(200);
  });

  test("a password against the rules leaves the link as it was", async () => {
    const app = await accountsApp();
    await person(app);
    const token = await resetToken(app);
    const refused = await app.client().post(RESET, { token, password: "short" });
    expect(refused.status).toBe(422);
    expect(refused.json()).toMatchObject({ code: "password-refused", reasons: ["too-short"] });
    expect((await app.client().logIn()).status).toBe(200);
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD })).status).toBe(200);
  });

  test("ends the sessions and tokens of the person, also the one of the browser itself, and spares others", async () => {
    const app = await accountsApp();
    await person(app);
    await person(app, "bob");
    const [phone, laptop, bob, program] = [app.client(), app.client(), app.client(), app.client()];
    await phone.logIn();
    await laptop.logIn();
    await bob.logIn("bob");
    const tokens = (await program.logIn("ada", PASSWORD, { deliver: "tokens" })).json() as { accessToken: string };
    const before = [...laptop.cookies.values()].join();
    const token = await resetToken(app);
    expect((await laptop.post(RESET, { token, password: NEW_PASSWORD })).status).toBe(200);
    expect((await laptop.get("/me")).status).toBe(200);
    expect([...laptop.cookies.values()].join()).not.toBe(before);
    expect((await phone.get("/me")).status).toBe(401);
    expect((await program.get("/me", { authorization: `Bearer ${tokens.accessToken}` })).status).toBe(401);
    expect((await bob.get("/me")).status).toBe(200);
  });

  test.each([
    [{}, {}, true],
    [{ revokeKeys: true }, {}, false],
    [{}, { onCompromise: "everything" }, false],
  ] as const)("with %j and %j keys live on: %s, and the notice lists them", async (more, settings, isAlive) => {
    const app = await accountsApp(settings);
    await person(app);
    const { apiKeys } = app.security as unknown as { readonly apiKeys: ApiKeyService };
    const { key, record } = await apiKeys.create({ ownerId: "id-ada", name: "ci" });
    const token = await resetToken(app);
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD, ...more })).status).toBe(200);
    const verified = await app.client().get("/me", { "x-api-key": key });
    expect(verified.status === 200).toBe(isAlive);
    const [notice] = await noticesOf(app, "password-changed", 1);
    expect(notice?.apiKeys).toEqual(isAlive ? [{ id: record.id, name: "ci" }] : undefined);
  });

  test("a browser that was logged in keeps the cookie of the log-in that owes a factor", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const { authenticator } = await enrol(app, browser);
    const answer = await browser.post("/account/password/reset", {
      token: await resetToken(app),
      password: NEW_PASSWORD,
    });
    expect(answer.json()).toMatchObject({ status: "factor-required" });
    expect(answer.headers["clear-site-data"]).toBe('"cache", "storage"');
    const code = authenticator.code(app.clock.now());
    const done = await browser.post("/account/login/factor", { method: "totp", code });
    expect(done.json()).toEqual({ status: "done" });
  });

  test("of 100 parallel uses of one link one succeeds", async () => {
    const app = await accountsApp();
    await person(app);
    const token = await resetToken(app);
    const uses = Array.from({ length: 100 }, (_, count) =>
      app.client(`192.0.2.${count}`).post(RESET, { token, password: `${NEW_PASSWORD} ${count}` }),
    );
    const statuses = (await Promise.all(uses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    // 409 for one that meets the winner at work, 503 for one that finds the hash queue full.
    const others = [409, 503].filter((status) => statuses.includes(status));
    expect(new Set(statuses)).toEqual(new Set([200, 401, ...others]));
    const used = statuses.indexOf(200);
    expect((await app.client().logIn("ada", `${NEW_PASSWORD} ${used}`)).status).toBe(200);
  });

  test("a store that fails leaves the link as it was", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    const token = await resetToken(app);
    const change = store.change.bind(store);
    store.change = () => Promise.reject(new Error("down"));
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD })).status).toBe(503);
    store.change = change;
    app.clock.advance(10_000);
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD })).status).toBe(200);
  });

  test.each([
    ["tokens", { jwt: false }, {}],
    ["session", { session: false }, { deliver: "tokens" }],
  ] as const)("asks for a log-in by %s before it spends the link", async (deliver, security, twin) => {
    const app = await accountsApp({}, security);
    await person(app);
    const token = await resetToken(app);
    const refused = await app.client().post(RESET, { token, password: NEW_PASSWORD, deliver });
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([400, "invalid-request"]);
    expect((await app.client().logIn("ada", PASSWORD, twin)).status).toBe(200);
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD, ...twin })).status).toBe(200);
  });

  test("when the sessions of the person cannot be ended, the link and the password stay", async () => {
    const sessions = new MemorySessionStore();
    const app = await accountsApp({}, { session: { store: sessions } });
    await person(app);
    const [thief, owner] = [app.client(), app.client()];
    await thief.logIn();
    await owner.logIn();
    const token = await resetToken(app);
    const destroy = sessions.destroy.bind(sessions);
    sessions.destroy = (_id, done) => void done?.(new Error("down"));
    expect((await owner.post(RESET, { token, password: NEW_PASSWORD })).status).toBe(503);
    sessions.destroy = destroy;
    app.clock.advance(10_000);
    expect((await app.client().logIn("ada", NEW_PASSWORD)).status).toBe(401);
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD })).status).toBe(200);
    expect((await thief.get("/me")).status).toBe(401);
  });

  test("a commit in doubt ends the sessions all the same", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    const thief = app.client();
    await thief.logIn();
    const token = await resetToken(app);
    const change = store.change.bind(store);
    store.change = async (owner, what) => {
      if (what.insert !== undefined) await new Promise((resolve) => setTimeout(resolve, 600));
      return change(owner, what);
    };
    expect((await app.client().post(RESET, { token, password: NEW_PASSWORD })).status).toBe(503);
    await expect.poll(async () => (await thief.get("/me")).status).toBe(401);
  });

  test("ends the log-ins of the person that are not finished", async () => {
    const app = await accountsApp({ factors: { required: () => true } });
    app.app.get("/owes", (req, res, next) => {
      app.accounts.pendingLogIn(req).then((owes) => res.json(owes ?? null), next);
    });
    await person(app);
    const thief = app.client();
    await thief.logIn();
    expect((await thief.get("/owes")).json()).not.toBeNull();
    const token = await resetToken(app);
    expect((await thief.get("/owes")).json()).not.toBeNull();
    const owner = app.client();
    expect((await owner.post(RESET, { token, password: NEW_PASSWORD })).json()).toMatchObject({
      status: "enrolment-required",
    });
    expect((await thief.get("/owes")).json()).toBeNull();
    expect((await owner.get("/owes")).json()).not.toBeNull();
    expect((await owner.get("/me")).status).toBe(401);
  });

  test("no event has the token, the link or a password", async () => {
    const app = await accountsApp();
    await person(app);
    const token = await resetToken(app);
    await app.client().post(RESET, { token, password: "tiny" });
    await app.client().post(`${RESET}?token=${token}`, { token: "A".repeat(43), password: NEW_PASSWORD });
    await app.client().post(RESET, { token, password: NEW_PASSWORD });
    await app.client().post(RESET, { token, password: NEW_PASSWORD });
    const events = JSON.stringify(app.events);
    for (const secret of [token, NEW_PASSWORD, '"tiny', "argon2"]) expect(events).not.toContain(secret);
    expect(JSON.stringify(app.notices.filter(({ kind }) => kind === "password-changed"))).not.toContain(token);
  });
});
