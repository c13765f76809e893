import type { AccountUsers } from "portcullis/accounts";
import { describe, expect, test } from "vitest";
import { accountsApp, type AccountsApp, PASSWORD, person } from "../support/app.js";
import { NEW_PASSWORD, resetToken } from "../support/links.js";

const WRONG = "not the password at all";
const LIMITS = {
  loginLimits: {
    address: { limit: 10_000 },
    accountAndAddress: { limit: 5 },
    account: { limit: 1000 },
    maxConsecutiveFailures: 10,
  },
} as const;

/** A table with one person, who is found by name and by address. */
function byAddress(): AccountUsers {
  const ada = { id: "id-ada", login: "ada", email: "ada@example.com", emailVerified: true };
  return {
    findByLogin: (login) => (login === ada.login || login === ada.email ? ada : undefined),
    findById: (id) => (id === ada.id ? ada : undefined),
  };
}

/** Strangers guess until the name is closed to unknown devices. */
async function closed(...logins: readonly string[]): Promise<AccountsApp> {
  const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, LIMITS);
  await person(app);
  for (const login of logins.slice(1)) await person(app, login);
  for (const login of logins)
    for (let count = 0; count < 12; count++) await app.client(`10.0.0.${count}`).logIn(login, WRONG);
  // It is closed for a day, although no window of the other limits is full any more.
  app.clock.advance(23 * 3_600_000);
  expect((await app.client("10.0.9.1").logIn()).status).toBe(429);
  return app;
}

describe("a name that guesses have closed to unknown devices", () => {
  test("is open to all of them after a reset, and no other name is", async () => {
    const app = await closed("ada", "bob");
    const token = await resetToken(app);
    expect((await app.client().post("/account/password/reset", { token, password: NEW_PASSWORD })).status).toBe(200);
    expect((await app.client("10.0.9.2").logIn("ada", NEW_PASSWORD)).status).toBe(200);
    expect((await app.client("10.0.9.2").logIn("bob")).status).toBe(429);
  });

  test("is open after passwords.set", async () => {
    const app = await closed("ada");
    await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    expect((await app.client("10.0.9.2").logIn("ada", NEW_PASSWORD)).status).toBe(200);
  });

  test("is open after a reset, when it is the verified address of the person", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 }, users: byAddress() }, LIMITS);
    await app.accounts.passwords.set("id-ada", PASSWORD);
    const logIn = (address: string, password: string) => app.client(address).logIn("ada@example.com", password);
    for (let count = 0; count < 12; count++) await logIn(`10.0.0.${count}`, WRONG);
    expect((await logIn("10.0.9.1", PASSWORD)).status).toBe(429);
    const token = await resetToken(app);
    expect((await app.client().post("/account/password/reset", { token, password: NEW_PASSWORD })).status).toBe(200);
    expect((await logIn("10.0.9.2", NEW_PASSWORD)).status).toBe(200);
  });

  test("stays closed when a reset fails", async () => {
    const app = await closed("ada");
    const token = await resetToken(app);
    expect((await app.client().post("/account/password/reset", { token, password: "short" })).status).toBe(422);
    expect((await app.client("10.0.9.2").logIn("ada", PASSWORD)).status).toBe(429);
  });
});

test("who changes the password on a device that is known opens the name to unknown ones", async () => {
  const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, LIMITS);
  await person(app);
  const owner = app.client("10.0.8.1");
  expect((await owner.logIn()).status).toBe(200);
  for (let count = 0; count < 12; count++) await app.client(`10.0.0.${count}`).logIn("ada", WRONG);
  expect((await app.client("10.0.9.1").logIn()).status).toBe(429);
  const change = { current: PASSWORD, password: NEW_PASSWORD };
  expect((await owner.post("/account/password", change)).status).toBe(204);
  expect((await app.client("10.0.9.1").logIn("ada", NEW_PASSWORD)).status).toBe(200);
});

test("the owner's own tries from one address are forgotten too, on known devices and others", async () => {
  const app = await accountsApp({}, LIMITS);
  await person(app);
  const [known, unknown] = [app.client("10.0.8.1"), app.client("10.0.8.1")];
  expect((await known.logIn()).status).toBe(200);
  for (const browser of [known, unknown]) for (let count = 0; count < 6; count++) await browser.logIn("ada", WRONG);
  expect([(await known.logIn()).status, (await unknown.logIn()).status]).toEqual([429, 429]);
  const token = await resetToken(app);
  expect((await known.post("/account/password/reset", { token, password: NEW_PASSWORD })).status).toBe(200);
  expect((await unknown.logIn("ada", NEW_PASSWORD)).status).toBe(200);
  expect((await known.logIn("ada", NEW_PASSWORD)).status).toBe(200);
});
