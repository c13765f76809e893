import { expect, test } from "vitest";
import { accountsApp, type AccountsApp, type Client, PASSWORD, person } from "./support/app.js";
import { enrol } from "./support/authenticator.js";
import { NEW_PASSWORD, resetToken } from "./support/links.js";

type Change = (app: AccountsApp, browser: Client, factorId: string) => Promise<unknown>;

const CHANGES: readonly (readonly [string, Change])[] = [
  ["a new password", (_, browser) => browser.post("/account/password", { current: PASSWORD, password: NEW_PASSWORD })],
  [
    "a reset",
    async (app, browser) =>
      browser.post("/account/password/reset", { token: await resetToken(app), password: NEW_PASSWORD }),
  ],
  ["a factor that is added", async (app, browser) => enrol(app, browser)],
  ["a factor that is removed", (_, browser, id) => browser.delete(`/account/factors/${id}`)],
  ["passwords.set", (app) => app.accounts.passwords.set("id-ada", NEW_PASSWORD)],
  ["passwords.remove", (app) => app.accounts.passwords.remove("id-ada")],
  ["factors.remove", (app, _, id) => app.accounts.factors.remove("id-ada", id)],
  ["factors.resetAll", (app) => app.accounts.factors.resetAll("id-ada")],
];

test.each(CHANGES)("%s is announced once by each part that ends something", async (_name, change) => {
  const app = await accountsApp({ onCompromise: "everything", storeTimeoutMs: 5000 });
  await person(app);
  const browser = app.client();
  await browser.logIn();
  await enrol(app, browser);
  const [factor] = await app.accounts.factors.list("id-ada");
  app.events.length = 0;
  await change(app, browser, factor?.id ?? "");
  const announced = app.events.filter(({ event }) => event === "authn_token_revoked");
  expect(announced.map(({ source, reason, subject }) => `${source} ${reason} ${subject}`).sort()).toEqual([
    "api-key owner id-ada",
    "jwt subject id-ada",
    "security revoke-all id-ada",
  ]);
});
