import { expect, test } from "vitest";
import { MemorySessionStore } from "../../../src/stores/memory/session-store.js";
import { accountsApp, person } from "../support/app.js";
import { heldStore } from "../support/held-store.js";
import { NEW_PASSWORD, resetToken } from "../support/links.js";

const RESET = "/account/password/reset";

test("of two requests with one link, the one that is late does not end the session of the other", async () => {
  const held = heldStore("listOf");
  const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
  await person(app);
  const body = { token: await resetToken(app), password: NEW_PASSWORD };
  const [first, second] = [app.client(), app.client()];
  // It has found the link, and does not know yet that another request uses it.
  held.hold(1);
  const late = second.post(RESET, body);
  await held.isWaiting;
  held.hold(Infinity);
  expect((await first.post(RESET, body)).json()).toEqual({ status: "done" });
  held.release();
  expect((await late).status).toBe(401);
  expect((await first.get("/me")).status).toBe(200);
  expect((await second.get("/me")).status).toBe(401);
});

test("a request with a link that another request uses now is told so, and ends nothing", async () => {
  const held = heldStore("change");
  const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
  await person(app);
  const body = { token: await resetToken(app), password: NEW_PASSWORD };
  const [first, second] = [app.client(), app.client()];
  held.hold(1);
  const winner = first.post(RESET, body);
  await held.isWaiting;
  const told = await second.post(RESET, body);
  expect([told.status, told.json()]).toMatchObject([409, { code: "conflict", detail: /Log in with that password/ }]);
  const form = await second.form(RESET, body);
  expect(form.headers.location).toBe(`/reset-password?token=${body.token}&error=conflict`);
  held.release();
  expect((await winner).json()).toEqual({ status: "done" });
  expect((await first.get("/me")).status).toBe(200);
  expect((await second.post(RESET, body)).status).toBe(401);
  expect((await app.client().logIn("ada", NEW_PASSWORD)).status).toBe(200);
});

test("a request that fails gives the link back, and one that never ends keeps it for half a minute", async () => {
  const sessions = new MemorySessionStore();
  const held = heldStore("change");
  const app = await accountsApp(
    { stores: { credentials: held.store }, storeTimeoutMs: 5000 },
    { session: { store: sessions } },
  );
  await person(app);
  await app.client().logIn();
  const body = { token: await resetToken(app), password: NEW_PASSWORD };
  const destroy = sessions.destroy.bind(sessions);
  sessions.destroy = (_id, done) => void done?.(new Error("down"));
  expect((await app.client().post(RESET, body)).status).toBe(503);
  sessions.destroy = destroy;
  held.hold(1);
  const hanging = app.client().post(RESET, body);
  await held.isWaiting;
  app.clock.advance(29_999);
  expect((await app.client().post(RESET, body)).status).toBe(409);
  app.clock.advance(1);
  expect((await app.client().post(RESET, body)).status).toBe(200);
  held.release();
  expect((await hanging).status).toBe(401);
});
