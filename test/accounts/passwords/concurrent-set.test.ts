import { expect, test } from "vitest";
import { accountsApp, PASSWORD } from "../support/app.js";
import { heldStore } from "../support/held-store.js";
import { NEW_PASSWORD } from "../support/links.js";

// `set` reads what the person has for the rules of the password, and once more before it replaces one.
test.each([1, 2])("of two first passwords at once, the later ends what the earlier opened (reading %i)", async (at) => {
  const held = heldStore("listOf");
  const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
  app.users.set("id-ada", { id: "id-ada", login: "ada" });
  held.hold(at);
  const later = app.accounts.passwords.set("id-ada", NEW_PASSWORD);
  await held.isWaiting;
  held.hold(Infinity);
  await app.accounts.passwords.set("id-ada", PASSWORD);
  const browser = app.client();
  expect((await browser.logIn()).status).toBe(200);
  held.release();
  await later;
  expect((await browser.get("/me")).status, "a session by the password that was replaced").toBe(401);
  expect((await app.client().logIn()).status).toBe(401);
  expect((await browser.logIn("ada", NEW_PASSWORD)).status).toBe(200);
  expect((await browser.get("/me")).status).toBe(200);
});

test("a first password ends no session: whoever is logged in otherwise stays so", async () => {
  const app = await accountsApp({}, {}, (express) =>
    express.post("/enter", (req, res, next) => {
      app.security.logIn(req, { id: "id-ada", methods: ["federated"] }).then(() => res.sendStatus(204), next);
    }),
  );
  app.users.set("id-ada", { id: "id-ada", login: "ada" });
  const browser = app.client();
  expect((await browser.post("/enter")).status).toBe(204);
  await app.accounts.passwords.set("id-ada", PASSWORD);
  expect((await browser.get("/me")).status).toBe(200);
  await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
  expect((await browser.get("/me")).status).toBe(401);
});
