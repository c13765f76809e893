import type { AccountUser } from "portcullis/accounts";
import { expect, test } from "vitest";
import { type AccountsApp, accountsApp, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";

/** An app with a person of whom a second factor can be required after they have logged in. */
async function appWithAda(): Promise<AccountsApp & { require(): void }> {
  const due = new Set<AccountUser["id"]>();
  const app = await accountsApp({ factors: { required: ({ id }) => due.has(id) } });
  const { id } = await person(app, "ada", { scopes: ["api-keys:manage"] });
  return { ...app, require: () => void due.add(id) };
}

const FACTOR_REQUIRED = [401, { code: "factor-required" }];

test("a session of before a factor was required makes no key and no token until there is one", async () => {
  const app = await appWithAda();
  const browser = app.client();
  await browser.logIn();
  const makeKey = () => browser.post("/keys", { name: "k" });
  const makeToken = () => browser.post("/token");
  expect([(await makeKey()).status, (await makeToken()).status]).toEqual([201, 200]);
  app.require();
  const refused = await makeKey();
  expect([refused.status, refused.json()]).toMatchObject(FACTOR_REQUIRED);
  expect((await makeToken()).status).toBe(401);
  await enrol(app, browser);
  expect([(await makeKey()).status, (await makeToken()).status]).toEqual([201, 200]);
});

test("a token of before a factor was required makes no key", async () => {
  const app = await appWithAda();
  const client = app.client();
  const { accessToken } = (await client.logIn("ada", undefined, { deliver: "tokens" })).json() as {
    accessToken: string;
  };
  const make = () => client.post("/keys", { name: "k" }, { authorization: `Bearer ${accessToken}` });
  expect((await make()).status).toBe(201);
  app.require();
  const refused = await make();
  expect([refused.status, refused.json()]).toMatchObject(FACTOR_REQUIRED);
});
