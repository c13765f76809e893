import { expect, test } from "vitest";
import { accountsApp, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";

test.each(["POST /totp", "POST /recovery-codes", "DELETE /factors/:id", "POST /factors/:id/remove"])(
  "%s needs a recent proof",
  async (route) => {
    const app = await accountsApp();
    const { id } = await person(app);
    const browser = app.client();
    await browser.logIn();
    const { authenticator } = await enrol(app, browser);
    const [factor] = await app.accounts.factors.list(id);
    const [method = "", path = ""] = route.replace(":id", factor?.id ?? "").split(" ");
    const change = () => browser.post(`/account${path}`, undefined, {}, method);
    app.clock.advance(301_000);
    const refused = await change();
    expect([refused.status, refused.json()]).toMatchObject([401, { code: "reauthentication-required" }]);
    expect(await app.accounts.factors.list(id)).toHaveLength(1);
    const proof = { method: "totp", code: authenticator.code(app.clock.now()) };
    expect((await browser.post("/account/reauthenticate", proof)).status).toBe(200);
    expect((await change()).status).toBeLessThan(300);
  },
);
