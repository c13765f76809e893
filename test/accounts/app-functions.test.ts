import type { AccountsSettings } from "portcullis/accounts";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { accountsApp, type AccountsApp, person } from "./support/app.js";
import { Authenticator } from "./support/authenticator.js";
import { NEW_PASSWORD } from "./support/links.js";

/** The warnings of accounts, while the test runs. */
function warnings(): string[] {
  const warned: string[] = [];
  const spy = vi.spyOn(process, "emitWarning").mockImplementation((warning, options) => {
    if ((options as { code?: string }).code === "PORTCULLIS_ACCOUNTS_FUNCTION") warned.push(String(warning));
  });
  onTestFinished(() => spy.mockRestore());
  return warned;
}

const failures = (app: AccountsApp): unknown[] =>
  app.events.filter(({ event }) => event === "portcullis_layer_failed").map(({ reason }) => reason);

function fails(): never {
  throw new Error("The table\nis locked");
}

describe("a function of the app that fails", () => {
  const functions: readonly [string, (app: AccountsApp) => Partial<AccountsSettings>][] = [
    ["users.findByLogin", ({ users }) => ({ users: { findByLogin: fails, findById: (id) => users.get(id) } })],
    ["factors.required", () => ({ factors: { required: fails } })],
  ];
  test.each(functions)("%s is 503, an event and a warning, once a minute", async (name, settingsOf) => {
    const warned = warnings();

    const known = { users: new Map() } as unknown as AccountsApp;
    const app = await accountsApp(settingsOf(known));
    known.users.set("id-ada", { id: "id-ada", login: "ada" });
    app.users.set("id-ada", { id: "id-ada", login: "ada" });
    await app.accounts.passwords.set("id-ada", "correct horse battery staple");
    for (let count = 0; count < 3; count++) {
      const answer = await app.client().logIn();
      expect(answer.status).toBe(503);
      expect(answer.text).not.toContain("locked");
    }
    expect(failures(app)).toEqual(Array(3).fill(name.replace(".", "-")));
    expect(warned).toEqual([expect.stringContaining(`${name} of createAccounts failed: Error: The table`)]);
    expect(JSON.stringify(app.events)).not.toContain("locked");
    app.clock.advance(60_000);
    await app.client().logIn();
    expect(warned).toHaveLength(2);
  });

  test("passes its error on as the cause to the app's own code", async () => {
    warnings();
    const app = await accountsApp({ users: { findByLogin: () => undefined, findById: fails } });
    const error = await app.accounts.passwords.set("1", NEW_PASSWORD).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "PORTCULLIS_USERS_UNAVAILABLE",
      status: 503,
      message: "users.findById failed, or did not answer in time.",
      cause: { message: "The table\nis locked" },
    });
  });

  test("does not take the recovery codes away, when it should show them", async () => {
    const warned = warnings();
    const app = await accountsApp(
      {
        showRecoveryCodes: (codes) => {
          throw new Error(`No template for ${codes.join()}`);
        },
      },
      { debug: false },
    );
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
    const page = await browser.form("/account/totp/confirm", { code: new Authenticator(secret).code(app.clock.now()) });
    expect([page.status, page.text.match(/<code>/g)?.length]).toEqual([200, 10]);
    expect(failures(app)).toEqual(["showRecoveryCodes"]);
    expect(warned).toEqual([expect.stringContaining("showRecoveryCodes of createAccounts failed: Error at ")]);
  });

  test("warns of nothing while it works", async () => {
    const warned = warnings();
    const app = await accountsApp({ factors: { required: () => false } });
    await person(app);
    expect((await app.client().logIn()).status).toBe(200);
    expect([warned, failures(app)]).toEqual([[], []]);
  });
});
