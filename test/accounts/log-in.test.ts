import { describe, expect, test } from "vitest";
import { MemoryCredentialStore } from "../../src/stores/memory/credential-store.js";
import { accountsApp, person } from "./support/app.js";

describe("POST /login", () => {
  test("a right password begins a session, a wrong one does not", async () => {
    const app = await accountsApp();
    await person(app);
    const right = app.client();
    expect(await right.logIn()).toMatchObject({ status: 200, text: '{"status":"done"}' });
    expect((await right.get("/me")).json()).toMatchObject({
      id: "id-ada",
      kind: "session",
      methods: [{ method: "pwd", at: app.clock.now() }],
    });
    const wrong = app.client();
    expect((await wrong.logIn("ada", "not the password at all")).status).toBe(401);
    expect((await wrong.get("/me")).status).toBe(401);
  });

  test("answers the same for a wrong password, an unknown name and a disabled person", async () => {
    const app = await accountsApp();
    await person(app);
    await person(app, "bob", { disabled: true });
    const wrong = await app.client().logIn("ada", "not the password at all");
    for (const [login, password] of [
      ["nobody", "x"],
      ["bob", undefined],
      ["bob", "not the password at all"],
    ] as const) {
      const answer = await app.client().logIn(login, password);
      expect({ ...answer, rawHeaders: [], headers: {}, json: 0 }).toEqual({
        ...wrong,
        rawHeaders: [],
        headers: {},
        json: 0,
      });
    }
  });

  test("changes a record of the store for every name, since what is written to a disk takes longer", async () => {
    const store = new MemoryCredentialStore();
    const addFailure = store.addFailure.bind(store);
    const counted: (number | undefined)[] = [];
    store.addFailure = async (...given) => {
      const failures = await addFailure(...given);
      counted.push(failures);
      return failures;
    };
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    await person(app, "away", { disabled: true });
    app.users.set("id-none", { id: "id-none", login: "none" });
    for (const login of ["ada", "away", "none", "nobody", "somebody", "nobody"])
      expect((await app.client().logIn(login, "not the password at all")).status).toBe(401);
    expect(counted).toEqual([1, 1, 1, 1, 1, 2]);
  });

  test("delivers tokens, which name what was proved", async () => {
    const app = await accountsApp();
    await person(app);
    const program = app.client();
    const answer = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as Record<string, string>;
    expect(answer).toMatchObject({ status: "done", tokenType: "Bearer" });
    expect(program.cookies.size).toBe(0);
    const me = await program.get("/me", { authorization: `Bearer ${answer["accessToken"]}` });
    expect(me.json()).toMatchObject({ kind: "jwt", methods: [{ method: "pwd" }] });
  });

  test("a form is sent on to a page", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    const wrong = await browser.form("/account/login", { login: "ada", password: "wrong" });
    expect([wrong.status, wrong.headers.location]).toEqual([303, "/login?error=invalid-credentials"]);
    const right = await browser.form("/account/login", { login: "ada", password: "correct horse battery staple" });
    expect([right.status, right.headers.location]).toEqual([303, "/"]);
    expect((await browser.get("/me")).status).toBe(200);
    expect((await browser.form("/account/logout", {})).headers.location).toBe("/");
    expect((await browser.get("/me")).status).toBe(401);
  });
});
