import { describe, expect, test } from "vitest";
import type { AccountUser, AccountUsers } from "portcullis/accounts";
import { accountsApp, PASSWORD } from "./support/app.js";
import { enrol } from "./support/authenticator.js";

describe("the app's users", () => {
  test("may be an instance of a class, whose functions use its private members", async () => {
    class Table implements AccountUsers {
      readonly #rows = new Map([["1", { id: "1", login: "ada" }]]);

      findByLogin(login: string): AccountUser | undefined {
        return [...this.#rows.values()].find((row) => row.login === login);
      }

      findById(id: string): AccountUser | undefined {
        return this.#rows.get(id);
      }
    }
    const app = await accountsApp({ users: new Table() });
    await app.accounts.passwords.set("1", PASSWORD);
    const ada = app.client();
    expect((await ada.logIn()).status).toBe(200);
    expect((await ada.get("/me")).json()).toMatchObject({ id: "1" });
  });

  test("may have numbers as ids, in every function that takes one", async () => {
    const app = await accountsApp();
    app.users.set("7", { id: 7, login: "ada" });
    const { passwords, factors } = app.accounts;
    await passwords.set(7, PASSWORD);
    expect((await passwords.verify(7, PASSWORD)).ok).toBe(true);
    const ada = app.client();
    await ada.logIn();
    await enrol(app, ada);
    expect(await factors.recoveryCodesLeft(7)).toBe(10);
    const [factor] = await factors.list(7);
    expect(await factors.remove(7, factor?.id ?? "")).toBe(true);
    await factors.resetAll(7);
    expect(await factors.list(7)).toEqual([]);
  });
});
