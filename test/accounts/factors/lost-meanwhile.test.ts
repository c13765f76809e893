import { expect, test } from "vitest";
import { accountsApp, PASSWORD, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";
import { heldStore } from "../support/held-store.js";
import { NEW_PASSWORD } from "../support/links.js";

/** What a thief with a session of the person tries, while the owner sets another password. */
const ATTEMPTS = ["remove", "codes"] as const;

async function stolen(attempt: (typeof ATTEMPTS)[number]) {
  const held = heldStore("listOf");
  const app = await accountsApp({ stores: { credentials: held.store }, storeTimeoutMs: 5000 });
  await person(app);
  const thief = app.client();
  await thief.logIn();
  await enrol(app, thief);
  const [factor] = await app.accounts.factors.list("id-ada");
  const send = () =>
    attempt === "remove" ? thief.delete(`/account/factors/${factor?.id ?? ""}`) : thief.post("/account/recovery-codes");
  return { app, held, send };
}

test.each(ATTEMPTS)("%s with a session that ends before the credentials are read is refused", async (attempt) => {
  const { app, held, send } = await stolen(attempt);
  // The session is in force when the request is let in, and ends while the store reads.
  const { store } = held;
  const listOf = store.listOf.bind(store);
  let isDone = false;
  store.listOf = async (id) => {
    if (!isDone) {
      isDone = true;
      await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    }
    return listOf(id);
  };
  const answer = await send();
  expect([answer.status, (answer.json() as { code: string }).code]).toEqual([401, "missing-credentials"]);
  expect(await app.accounts.factors.list("id-ada")).toHaveLength(1);
});

test.each(ATTEMPTS)("%s with a password that changes after the credentials are read is refused", async (attempt) => {
  const { app, held, send } = await stolen(attempt);
  const before = await held.store.listOf("id-ada");
  const codes = (all: typeof before) => all.filter(({ kind }) => kind === "recovery-code").map(({ id }) => id);
  const { store } = held;
  const change = store.change.bind(store);
  let isDone = false;
  store.change = async (id, what) => {
    if (!isDone) {
      isDone = true;
      await app.accounts.passwords.set("id-ada", NEW_PASSWORD);
    }
    return change(id, what);
  };
  const answer = await send();
  expect([answer.status, (answer.json() as { code: string }).code]).toEqual([409, "conflict"]);
  expect(await app.accounts.factors.list("id-ada")).toHaveLength(1);
  expect(codes(await held.store.listOf("id-ada"))).toEqual(codes(before));
});

test.each(ATTEMPTS)("%s works when nothing changes meanwhile", async (attempt) => {
  const { app, send } = await stolen(attempt);
  expect((await send()).status).toBe(attempt === "remove" ? 204 : 201);
  expect((await app.client().logIn("ada", PASSWORD)).status).toBe(200);
});
