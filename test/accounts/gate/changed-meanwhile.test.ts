import { describe, expect, test } from "vitest";
import { accountsApp, PASSWORD, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";
import { heldStore } from "../support/held-store.js";
import { resetToken } from "../support/links.js";

const NEW_PASSWORD = "another battery horse staple";

describe("a log-in with a password that is changed meanwhile", () => {
  // The gate reads the credentials when it decides, `logIn` asks it once more, and it reads them again in the end.
  test.each([
    [1, "session"],
    [2, "session"],
    [3, "session"],
    [1, "tokens"],
    [2, "tokens"],
  ] as const)("at reading %i makes no %s that works", async (reading, deliver) => {
    const held = heldStore();
    const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
    await person(app);
    const thief = app.client();
    held.hold(reading);
    const entering = thief.logIn("ada", PASSWORD, { deliver });
    await held.isWaiting;
    held.hold(Infinity);
    await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    await app.security.revokeAll("id-ada", { reason: "password-changed" });
    held.release();
    const { status, json } = await entering;
    const { accessToken } = json() as { accessToken?: string };
    const headers: Record<string, string> = accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` };
    expect((await thief.get("/me", headers)).status, `the log-in was answered ${status}`).toBe(401);
    expect((await app.client().logIn("ada", NEW_PASSWORD)).status).toBe(200);
  });

  test("and a log-in during which nothing changes works", async () => {
    const held = heldStore();
    const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
    await person(app);
    const ada = app.client();
    held.hold(2);
    const entering = ada.logIn();
    await held.isWaiting;
    held.release();
    expect((await entering).status).toBe(200);
    expect((await ada.get("/me")).status).toBe(200);
  });
});

describe("a log-in that goes on while the password is changed", () => {
  test.each(["session", "tokens"] as const)("with a code of the factor makes no %s that works", async (deliver) => {
    const held = heldStore();
    const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
    await person(app);
    const ada = app.client();
    await ada.logIn();
    const { authenticator } = await enrol(app, ada);
    const thief = app.client();
    const { pending } = (await thief.logIn("ada", PASSWORD, { deliver })).json() as { pending?: string };
    held.hold(1);
    const proof = { method: "totp", code: authenticator.code(app.clock.now()) };
    const entering = thief.post("/account/login/factor", { ...proof, ...(pending === undefined ? {} : { pending }) });
    await held.isWaiting;
    held.hold(Infinity);
    await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    held.release();
    const { status, json } = await entering;
    expect([status, (json() as { code?: string }).code]).toEqual([401, "invalid-credentials"]);
    expect((await thief.get("/me")).status).toBe(401);
  });

  test("with a factor that it sets up makes no session that works", async () => {
    const held = heldStore();
    const app = await accountsApp({
      stores: { credentials: held.store },
      storeTimeoutMs: 5000,
      factors: { required: () => true },
    });
    await person(app);
    const thief = app.client();
    await thief.logIn();
    const { secret } = (await thief.post("/account/totp", {})).json() as { secret: string };
    held.hold(1);
    const code = new Authenticator(secret).code(app.clock.now());
    const entering = thief.post("/account/totp/confirm", { code });
    await held.isWaiting;
    held.hold(Infinity);
    await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    held.release();
    expect((await entering).status).toBe(401);
    expect((await thief.get("/me")).status).toBe(401);
    expect(await app.accounts.factors.list("id-ada"), "a factor of someone who has lost the account").toEqual([]);
  });

  // The link is claimed, and then spent with the new password.
  test.each([1, 2])("with a link, at change %i, makes no session that works", async (change) => {
    const held = heldStore("change");
    const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
    await person(app);
    const thief = app.client();
    const token = await resetToken(app);
    held.hold(change);
    const entering = thief.post("/account/password/reset", { token, password: "password of the thief" });
    await held.isWaiting;
    held.hold(Infinity);
    await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    held.release();
    expect((await entering).status).toBe(401);
    expect((await thief.get("/me")).status).toBe(401);
  });
});
