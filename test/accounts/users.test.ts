import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { AccountUser, AccountUsers } from "portcullis/accounts";
import { accountsApp, PASSWORD, person } from "./support/app.js";
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

describe("a function of the app that fails", () => {
  /** What the process is warned of accounts. */
  function warnings(): string[] {
    const told: string[] = [];
    const listener = (warning: Error & { code?: string }) => {
      if (warning.code === "PORTCULLIS_ACCOUNTS_FUNCTION") told.push(warning.message);
    };
    process.on("warning", listener);
    onTestFinished(() => void process.off("warning", listener));
    return told;
  }

  const wrong: readonly [string, () => unknown, RegExp][] = [
    ["throws", () => broken("ada@example.com"), /^The function users\.findByLogin .*failed: TypeError at .*broken/],
    ["throws no error", () => Promise.reject("ada@example.com"), /failed: it threw something that is not an Error/],
    ["returns no person", () => ({ login: "ada" }), /users\.findByLogin: id must be a string/],
    ["returns a person without a name", () => ({ id: "1" }), /users\.findByLogin must return the person's login/],
    ["returns an address that is no text", () => ({ id: "1", login: "ada", email: 7 }), /email as a string/],
  ];

  function broken(message: string): never {
    throw new TypeError(message);
  }

  test.each(wrong)(
    "%s: 503 with one event each, nothing of it in the answer, and a warning a minute",
    async (_how, findByLogin, told) => {
      const log = warnings();
      const app = await accountsApp(
        { users: { findByLogin: findByLogin as AccountUsers["findByLogin"], findById: () => undefined } },
        { debug: false },
      );
      for (let count = 0; count < 2; count += 1) {
        const answer = await app.client().logIn();
        expect([answer.status, (answer.json() as { code: string }).code]).toEqual([503, "store-unavailable"]);
      }
      const failures = app.events.filter(({ event }) => event === "portcullis_layer_failed");
      expect(failures).toMatchObject([{ reason: "users-findByLogin" }, { reason: "users-findByLogin" }]);
      await vi.waitFor(() => expect(log).toEqual([expect.stringMatching(told)]));
      expect(log[0]).not.toContain("ada@example.com");
      app.clock.advance(60_000);
      await app.client().logIn();
      await vi.waitFor(() => expect(log).toHaveLength(2));
    },
  );

  test("is told with its message while debug is on", async () => {
    const log = warnings();
    const app = await accountsApp({ users: { findByLogin: () => broken("no such table"), findById: () => undefined } });
    expect((await app.client().logIn()).status).toBe(503);
    await vi.waitFor(() => expect(log).toEqual([expect.stringContaining("TypeError: no such table at ")]));
  });

  test("returns someone else: 503, and the password stays as it was", async () => {
    const log = warnings();
    const app = await accountsApp();
    await person(app);
    app.users.set("id-bob", { id: "id-ada", login: "bob" });
    await expect(app.accounts.passwords.set("id-bob", PASSWORD)).rejects.toMatchObject({ status: 503 });
    await vi.waitFor(() =>
      expect(log).toEqual([expect.stringContaining("users.findById must return the person with the id")]),
    );
  });

  test("sends no mail: an event with the kind, a warning without the link, and the answer as ever", async () => {
    const log = warnings();
    const app = await accountsApp(
      {
        notify: ({ link }) => {
          throw new RangeError(`no route to ${link ?? ""}`);
        },
      },
      { debug: false },
    );
    await person(app);
    expect((await app.client().post("/account/password/forgot", { login: "ada" })).status).toBe(202);
    await vi.waitFor(() =>
      expect(log).toEqual([expect.stringMatching(/^The function notify .*failed: RangeError at /)]),
    );
    expect(log[0]).not.toContain("token");
    expect(app.events).toContainEqual(
      expect.objectContaining({ event: "portcullis_notice_failed", reason: "password-reset-failed" }),
    );
  });
});
