import { expect, test } from "vitest";
import { accountsApp, person } from "./support/app.js";
import { Authenticator } from "./support/authenticator.js";

const TIMEOUT_MS = 250;
const slow = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS + 50, value));

test("functions of the app take no time from the stores: everything works though each of them is slower", async () => {
  const app = await accountsApp({
    storeTimeoutMs: TIMEOUT_MS,
    users: {
      findByLogin: (login) => slow([...app.users.values()].find((user) => user.login === login)),
      findById: (id) => slow(app.users.get(id)),
    },
    factors: { required: () => slow(true) },
  });
  await person(app);
  const browser = app.client();
  expect((await browser.logIn()).json()).toMatchObject({ status: "enrolment-required" });
  const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
  const authenticator = new Authenticator(secret);
  const code = authenticator.code(app.clock.now());
  expect((await browser.post("/account/totp/confirm", { code })).status).toBe(200);
  app.clock.advance(30_000);
  const again = { method: "totp", code: authenticator.code(app.clock.now()) };
  expect((await browser.post("/account/reauthenticate", again)).status).toBe(200);
  expect((await browser.post("/account/recovery-codes")).status).toBe(201);
  const change = { current: "correct horse battery staple", password: "another battery horse staple" };
  expect((await browser.post("/account/password", change)).status).toBe(204);
  const [factor] = await app.accounts.factors.list("id-ada");
  expect((await browser.delete(`/account/factors/${factor?.id ?? ""}`)).status).toBe(409);
});
