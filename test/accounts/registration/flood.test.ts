import type { AccountUser, AccountUsers } from "portcullis/accounts";
import { ManualClock } from "portcullis/testing";
import { expect, test } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { accountsApp, PASSWORD } from "../support/app.js";
import { enrol } from "../support/authenticator.js";
import { NEW_PASSWORD, noticesOf, resetToken, tokenOf } from "../support/links.js";

const MOST = 100;
/** Stands in for argon2, so that the flood takes no minute. */
const FAST = {
  hash: async (password: string) => `$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$${hex(password)}`,
  verify: async (digest: string, password: string) => digest.endsWith(hex(password)),
};

function hex(password: string): string {
  return Buffer.from(password).toString("hex");
}

test("a flood of registrations from many addresses fills memory, and takes no place from people", async () => {
  const credentials = new MemoryCredentialStore({ maxCredentials: MOST, clock: new ManualClock() });
  const all = new Map<string, AccountUser>([["ada", { id: "id-ada", login: "ada", email: "ada@example.com" }]]);
  const users: AccountUsers = {
    findByLogin: (login) => all.get(login),
    findById: (id) => [...all.values()].find((user) => user.id === id),
    create: ({ login, email }) => {
      const user = { id: `id-${login}`, login, email };
      all.set(login, user);
      return user;
    },
  };
  const app = await accountsApp({ stores: { credentials }, users, storeTimeoutMs: 5000 }, {}, undefined, {
    argon2: FAST,
  });
  await app.accounts.passwords.set("id-ada", PASSWORD);
  const register = (name: string, address: string) =>
    app.client(address).post("/account/register", { login: `${name}@example.com`, password: PASSWORD });
  for (let count = 0; count < 2 * MOST; count++)
    expect((await register(`stranger-${count}`, `203.0.${count >> 8}.${count & 255}`)).status).toBe(202);
  expect(credentials.size).toBe(MOST);

  const owner = app.client("192.0.2.1");
  const token = await resetToken(app);
  expect((await owner.post("/account/password/reset", { token, password: NEW_PASSWORD })).status).toBe(200);
  await enrol(app, owner);
  expect((await app.client().logIn("ada", NEW_PASSWORD)).json()).toMatchObject({ status: "factor-required" });

  const newcomer = app.client("192.0.2.2");
  await newcomer.post("/account/register", { login: "grace@example.com", password: PASSWORD });
  const link = (await noticesOf(app, "verify-email", 2 * MOST + 1)).at(-1);
  const verified = await newcomer.post("/account/email/verify", { token: tokenOf(link) });
  expect(verified.json()).toEqual({ status: "done" });
  expect(credentials.size).toBeLessThanOrEqual(MOST);
}, 60_000);
