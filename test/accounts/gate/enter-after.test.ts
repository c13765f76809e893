import type { AccountUser } from "portcullis/accounts";
import { ManualClock } from "portcullis/testing";
import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { accountsApp, type AccountsApp, PASSWORD, person } from "../support/app.js";
import { Authenticator } from "../support/authenticator.js";
import { NEW_PASSWORD, noticesOf, resetToken, tokenOf } from "../support/links.js";

/** A store of sessions that makes none while it is broken; sessions can be ended. */
class Sessions extends MemorySessionStore {
  isBroken = false;

  override create(...args: Parameters<MemorySessionStore["create"]>): void {
    if (!this.isBroken) return super.create(...args);
    const done = args.at(-1) as unknown as (error: Error) => void;
    done(new Error("down"));
  }
}

/** A store of credentials whose reading of all that a person has fails, once it was called as often as `failAt` says. */
class Credentials extends MemoryCredentialStore {
  failAt = Infinity;

  override async listOf(ownerId: string): ReturnType<MemoryCredentialStore["listOf"]> {
    this.failAt -= 1;
    if (this.failAt === 0) throw new Error("down");
    return super.listOf(ownerId);
  }
}

async function brokenApp(settings: Parameters<typeof accountsApp>[0] = {}) {
  const sessions = new Sessions({ clock: new ManualClock() });
  const credentials = new Credentials();
  const app = await accountsApp({ stores: { credentials }, ...settings }, { session: { store: sessions } });
  return { app, sessions, credentials };
}

/** Users that can be made. */
function table(made: Partial<AccountUser> = {}) {
  const users = new Map<string, AccountUser>();
  return {
    users: {
      findByLogin: (login: string) => [...users.values()].find((user) => user.login === login),
      findById: (id: string) => users.get(id),
      create: ({ login }: { login: string }) => {
        const user: AccountUser = { id: `id-${login}`, login, ...made };
        users.set(`id-${login}`, user);
        return user;
      },
    },
  };
}

const DONE = { status: "done" };
const TOLD = { status: "login-required" };
const failedLogIns = (app: AccountsApp) =>
  app.events.filter(({ event, source }) => event === "authn_login_fail" && source === "accounts");

describe("a reset after which no log-in can follow", () => {
  test.each([
    ["the store of sessions fails", true, Infinity],
    // Once for the rules of the new password; then by the gate, by `logIn`, and in the end.
    ["the first reading of the gate fails", false, 2],
    ["the second one fails", false, 3],
    ["the last one fails", false, 4],
  ])("tells that the new password stands: %s", async (_what, isBroken, failAt) => {
    const { app, sessions, credentials } = await brokenApp();
    await person(app);
    const token = await resetToken(app);
    sessions.isBroken = isBroken;
    credentials.failAt = failAt;
    const browser = app.client();
    const told = await browser.post("/account/password/reset", { token, password: NEW_PASSWORD });
    expect([told.status, told.json()]).toEqual([200, TOLD]);
    expect(failedLogIns(app)).toMatchObject([{ reason: "store-unavailable", subject: "id-ada" }]);
    expect((await browser.get("/me")).status).toBe(401);
    await noticesOf(app, "password-changed", 1);
    sessions.isBroken = false;
    app.clock.advance(10_000);
    expect((await browser.logIn("ada", NEW_PASSWORD)).json()).toEqual(DONE);
    expect((await app.client().logIn()).status).toBe(401);
  });

  test("sends a form to the page to log in, which says so", async () => {
    const { app, sessions } = await brokenApp({ pages: { login: "/enter" } });
    await person(app);
    sessions.isBroken = true;
    const fields = { token: await resetToken(app), password: NEW_PASSWORD };
    const told = await app.client().form("/account/password/reset", fields);
    expect([told.status, told.headers.location]).toEqual([303, "/enter?status=password-changed"]);
  });

  test("fails as before when nothing was done, and the twin without a failure logs in", async () => {
    const { app, credentials } = await brokenApp();
    await person(app);
    const token = await resetToken(app);
    credentials.failAt = 1;
    const refused = await app.client().post("/account/password/reset", { token, password: NEW_PASSWORD });
    expect(refused.status).toBe(503);
    app.clock.advance(10_000);
    const done = await app.client().post("/account/password/reset", { token, password: NEW_PASSWORD });
    expect(done.json()).toEqual(DONE);
    expect(failedLogIns(app)).toEqual([]);
  });
});

describe("a registration after which no log-in can follow", () => {
  test("by mail tells that the account is made", async () => {
    const { app, sessions } = await brokenApp(table());
    const browser = app.client();
    await browser.post("/account/register", { login: "ada@example.com", password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    sessions.isBroken = true;
    const told = await browser.post("/account/email/verify", { token });
    expect([told.status, told.json()]).toEqual([200, TOLD]);
    sessions.isBroken = false;
    app.clock.advance(10_000);
    expect((await browser.logIn("ada@example.com")).json()).toEqual(DONE);
  });

  test("at once tells it too, and sends a form to the page to log in", async () => {
    const { app, sessions } = await brokenApp({ ...table(), notify: undefined });
    sessions.isBroken = true;
    const browser = app.client();
    expect((await browser.post("/account/register", { login: "ada", password: PASSWORD })).json()).toEqual(TOLD);
    const told = await browser.form("/account/register", { login: "bob", password: PASSWORD });
    expect([told.status, told.headers.location]).toEqual([303, "/login?status=registered"]);
    sessions.isBroken = false;
    app.clock.advance(10_000);
    expect((await browser.logIn("bob")).json()).toEqual(DONE);
  });

  test("is told also when the app makes people who may not log in yet", async () => {
    const { app } = await brokenApp({ ...table({ disabled: true }), notify: undefined });
    const browser = app.client();
    expect((await browser.post("/account/register", { login: "ada", password: PASSWORD })).json()).toEqual(TOLD);
    expect((await browser.logIn()).status).toBe(401);
    expect((await browser.get("/me")).status).toBe(401);
  });
});

describe("a factor that is set up, after which no log-in can follow", () => {
  async function owing() {
    const { app, sessions } = await brokenApp({ factors: { required: () => true } });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
    sessions.isBroken = true;
    return { app, sessions, browser, code: new Authenticator(secret).code(app.clock.now()) };
  }

  test("shows the recovery codes all the same, and they work", async () => {
    const { app, sessions, browser, code } = await owing();
    const told = await browser.post("/account/totp/confirm", { code });
    expect([told.status, told.json()]).toMatchObject([200, TOLD]);
    const { recoveryCodes } = told.json() as { recoveryCodes: string[] };
    expect(recoveryCodes).toHaveLength(10);
    sessions.isBroken = false;
    app.clock.advance(30_000);
    expect((await browser.logIn()).json()).toMatchObject({ status: "factor-required" });
    const proof = { method: "recovery", code: recoveryCodes[0] };
    expect((await browser.post("/account/login/factor", proof)).json()).toMatchObject(DONE);
  });

  test("leads from the page with the codes to the page to log in", async () => {
    const { browser, code } = await owing();
    const page = await browser.form("/account/totp/confirm", { code });
    expect([page.status, page.text.match(/<a href="([^"]+)">Go on/)?.[1]]).toEqual([200, "/login"]);
  });
});
