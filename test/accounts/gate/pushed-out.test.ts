import { describe, expect, test } from "vitest";
import { MemorySingleUseStore } from "../../../src/stores/memory/single-use-store.js";
import { accountsApp, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";
import { NEW_PASSWORD, resetToken } from "../support/links.js";

const OWNER = "192.0.2.1";
const THIEF = "198.51.100.7";

/** A person with a second factor, whose password somebody else knows. */
async function known() {
  const singleUse = new MemorySingleUseStore();
  const app = await accountsApp({ stores: { singleUse } });
  await person(app);
  const first = app.client();
  await first.logIn();
  const { authenticator } = await enrol(app, first);
  const finish = (browser = app.client()) =>
    browser.post("/account/login/factor", { method: "totp", code: authenticator.code(app.clock.now()) });
  return { app, singleUse, finish };
}

describe("somebody who knows the password and begins many log-ins", () => {
  test("does not end the one of the owner, at another address", async () => {
    const { app, finish } = await known();
    const owner = app.client(OWNER);
    expect((await owner.logIn()).json()).toMatchObject({ status: "factor-required" });
    app.clock.advance(1);
    for (let count = 0; count < 12; count++) await app.client(THIEF).logIn();
    expect((await finish(owner)).json()).toEqual({ status: "done" });
  });

  test("ends their own, and stores no more than ten of a share", async () => {
    const { app, singleUse, finish } = await known();
    const first = app.client(THIEF);
    await first.logIn();
    // The first to end gives way.
    app.clock.advance(1);
    for (let count = 0; count < 12; count++) await app.client(THIEF).logIn();
    expect(singleUse.size).toBe(10);
    expect((await finish(first)).status).toBe(401);
  });

  test("at many addresses is locked out by a reset", async () => {
    const { app, finish } = await known();
    const token = await resetToken(app);
    const owner = app.client(OWNER);
    const reset = await owner.post("/account/password/reset", { token, password: NEW_PASSWORD });
    expect(reset.json()).toMatchObject({ status: "factor-required" });
    for (let count = 0; count < 30; count++) expect((await app.client(`203.0.113.${count}`).logIn()).status).toBe(401);
    expect((await finish(owner)).json()).toEqual({ status: "done" });
  });
});
