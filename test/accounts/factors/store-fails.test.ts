import { ManualClock } from "portcullis/testing";
import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { accountsApp, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";

describe("a store of sessions that fails when a factor has been changed", () => {
  async function loggedIn() {
    const sessions = new MemorySessionStore({ clock: new ManualClock() });
    const app = await accountsApp({}, { session: { store: sessions } });
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const fail = (): void => {
      const down = (...args: readonly unknown[]): void => (args.at(-1) as (error: Error) => void)(new Error("down"));
      Object.assign(sessions, { create: down, replace: down, destroy: down });
    };
    return { app, browser, fail };
  }

  test("does not take the recovery codes away", async () => {
    const { app, browser, fail } = await loggedIn();
    const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
    fail();
    const code = new Authenticator(secret).code(app.clock.now());
    const confirmed = await browser.post("/account/totp/confirm", { code });
    expect(await app.accounts.factors.list("id-ada")).toHaveLength(1);
    expect([confirmed.status, confirmed.json()]).toEqual([200, { recoveryCodes: expect.any(Array) as unknown }]);
    expect((await app.client().logIn()).json()).toMatchObject({ status: "factor-required" });
  });

  test("does not make a removal look refused, and the other sessions end", async () => {
    const { app, browser, fail } = await loggedIn();
    const { authenticator } = await enrol(app, browser);
    const other = app.client();
    await other.logIn();
    const proof = { method: "totp", code: authenticator.code(app.clock.now()) };
    expect((await other.post("/account/login/factor", proof)).status).toBe(200);
    const [factor] = await app.accounts.factors.list("id-ada");
    fail();
    const removed = await browser.delete(`/account/factors/${factor?.id ?? ""}`);
    expect(await app.accounts.factors.list("id-ada")).toEqual([]);
    expect(removed.status).toBe(204);
    expect((await other.get("/me")).status).toBe(401);
  });
});

test("a process that dies when it has stored a factor leaves nobody logged in without it", async () => {
  const store = new MemoryCredentialStore();
  const app = await accountsApp({ stores: { credentials: store } });
  await person(app);
  const [ada, thief] = [app.client(), app.client()];
  await ada.logIn();
  await thief.logIn();
  const { accessToken } = (await app.client().logIn("ada", undefined, { deliver: "tokens" })).json() as {
    accessToken: string;
  };
  const { secret } = (await ada.post("/account/totp", {})).json() as { secret: string };
  const change = store.change.bind(store);
  // What would follow the write never runs.
  const dead = new Promise<never>(() => undefined);
  const stored = new Promise<void>((resolve) => {
    store.change = async (...given) => {
      await change(...given);
      resolve();
      return dead;
    };
  });
  const confirmed = ada.post("/account/totp/confirm", { code: new Authenticator(secret).code(app.clock.now()) });
  await stored;
  expect(await app.accounts.factors.list("id-ada")).toHaveLength(1);
  expect((await thief.get("/me")).status).toBe(401);
  expect((await app.client().get("/me", { authorization: `Bearer ${accessToken}` })).status).toBe(401);
  expect((await ada.get("/me")).status).toBe(200);
  expect((await confirmed).status).toBe(503);
});

describe("factors.remove and factors.resetAll, when the sessions of the person cannot be ended", () => {
  test.each(["remove", "resetAll"] as const)(
    "%s rejects and has changed nothing; the same call then succeeds",
    async (method) => {
      const sessions = new MemorySessionStore({ clock: new ManualClock() });
      const app = await accountsApp({}, { session: { store: sessions } });
      await person(app);
      const browser = app.client();
      await browser.logIn();
      await enrol(app, browser);
      const { factors } = app.accounts;
      const [factor] = await factors.list("id-ada");
      const call = async (): Promise<unknown> =>
        method === "remove" ? factors.remove("id-ada", factor?.id ?? "") : factors.resetAll("id-ada");
      const { destroy } = sessions;
      Object.assign(sessions, {
        destroy: (_sid: string, done: (error: Error) => void) => done(new Error("down")),
      });
      await expect(call()).rejects.toMatchObject({ code: "PORTCULLIS_STORE_UNAVAILABLE" });
      expect(await factors.list("id-ada")).toHaveLength(1);
      Object.assign(sessions, { destroy });
      await call();
      expect(await factors.list("id-ada")).toEqual([]);
      expect((await browser.get("/me")).status).toBe(401);
    },
  );
});
