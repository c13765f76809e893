import bcrypt from "bcrypt";
import { createHash } from "node:crypto";
import { PasswordRefusedError } from "portcullis/accounts";
import { testSecret } from "portcullis/testing";
import { describe, expect, onTestFinished, test } from "vitest";
import { passwordStandsAlone } from "../../../src/accounts/passwords/record.js";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { serve } from "../../support/serve.js";
import { accountsApp, PASSWORD, person } from "../support/app.js";

describe("accounts.passwords", () => {
  test("set stores a password by the rules, and verify knows it", async () => {
    const app = await accountsApp();
    app.users.set("7", { id: 7, login: "ada" });
    const { passwords } = app.accounts;
    expect(await passwords.verify(7, PASSWORD)).toEqual({ ok: false, reasons: ["no-password"] });
    await expect(passwords.set(7, "too short")).rejects.toMatchObject({
      code: "password-refused",
      status: 422,
      reasons: ["too-short"],
    });
    await expect(passwords.set(7, "too short")).rejects.toBeInstanceOf(PasswordRefusedError);
    await passwords.set(7, PASSWORD);
    expect(await passwords.verify(7, PASSWORD)).toEqual({ ok: true, reasons: [] });
    expect(await passwords.verify("7", "another one of them")).toEqual({ ok: false, reasons: ["wrong-password"] });
    expect(await passwords.verify("8", PASSWORD)).toEqual({ ok: false, reasons: ["unknown"] });
    await expect(passwords.set("8", PASSWORD)).rejects.toMatchObject({ code: "invalid-input" });
    await expect(passwords.set(7, 5 as never)).rejects.toMatchObject({ code: "invalid-input" });
  });

  test("set in place of another, and remove, end the sessions", async () => {
    const app = await accountsApp();
    await person(app);
    const { passwords } = app.accounts;
    for (const end of [() => passwords.set("id-ada", PASSWORD), () => passwords.remove("id-ada")]) {
      const client = app.client();
      expect((await client.logIn()).status).toBe(200);
      await end();
      expect((await client.get("/me")).status).toBe(401);
    }
    expect((await app.client().logIn()).status).toBe(401);
    expect(await passwords.remove("id-ada")).toBe(false);
  });

  test("verify counts failures as a log-in does", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } });
    await person(app);
    const { passwords } = app.accounts;
    for (let i = 0; i < 10; i += 1) expect((await passwords.verify("id-ada", `wrong ${i}`)).ok).toBe(false);
    expect(await passwords.verify("id-ada", PASSWORD)).toEqual({ ok: false, reasons: ["password-disabled"] });
  });

  test.each([
    [PASSWORD, {}, { ok: true, reasons: [] }],
    ["12345678", {}, { ok: false, reasons: ["too-short", "common"] }],
    ["12345678", { hasSecondFactor: true }, { ok: false, reasons: ["common"] }],
    ["rugilopa", { hasSecondFactor: true }, { ok: true, reasons: [] }],
    ["Lovelace-Lovelace", { context: ["lovelace"] }, { ok: false, reasons: ["context-word"] }],
    ["Lovelace-Lovelace", { context: ["ada"] }, { ok: true, reasons: [] }],
    ["\ud800", {}, { ok: false, reasons: ["unreadable"] }],
    ["x".repeat(1025), {}, { ok: false, reasons: ["too-long"] }],
  ])("check: %j %j", async (password, options, expected) => {
    const app = await accountsApp();
    expect(await app.accounts.passwords.check(password, options)).toEqual(expected);
  });

  test.each([["$2b$15$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"], ["secret"], [""]])(
    "import refuses %j",
    async (hash) => {
      const app = await accountsApp();
      app.users.set("1", { id: "1", login: "ada" });
      await expect(app.accounts.passwords.import("1", hash)).rejects.toMatchObject({ code: "invalid-input" });
      await expect(app.accounts.passwords.import("2", await bcrypt.hash("x", 4))).rejects.toMatchObject({
        code: "invalid-input",
      });
    },
  );

  test("a password of which bcrypt has read a part stays right, whatever is typed after that part", async () => {
    const password = "x".repeat(100);
    const app = await accountsApp();
    app.users.set("1", { id: "1", login: "ada" });
    await app.accounts.passwords.import("1", await bcrypt.hash(password, 4));
    for (const typed of [`${"x".repeat(72)} mistyped`, "x".repeat(72), password])
      expect((await app.client().logIn("ada", typed)).status).toBe(200);
    expect((await app.client().logIn("ada", "x".repeat(71))).status).toBe(401);
  });

  test("without passwords every function says so, and there is no route", async () => {
    const app = await accountsApp({ passwords: false, factors: { totp: false } });
    for (const call of [
      app.accounts.passwords.set("1", PASSWORD),
      app.accounts.passwords.verify("1", PASSWORD),
      app.accounts.passwords.check(PASSWORD),
      app.accounts.passwords.remove("1"),
      app.accounts.passwords.import("1", "x"),
    ])
      await expect(call).rejects.toThrow("passwords of createAccounts is false");
    expect((await app.client().logIn()).status).toBe(404);
  });
});

describe("whether a password may stand alone", () => {
  test("is kept with it, and known of an imported one after the first log-in", async () => {
    const credentials = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials }, passwords: { minLength: 20 } });
    app.users.set("1", { id: "1", login: "ada" });
    const standsAlone = async (): Promise<boolean> => passwordStandsAlone(await credentials.listOf("1"));
    expect(await standsAlone()).toBe(true);
    await app.accounts.passwords.set("1", PASSWORD);
    expect(await standsAlone()).toBe(true);
    for (const [password, expected] of [
      [PASSWORD, true],
      ["short one", false],
    ] as const) {
      await app.accounts.passwords.remove("1");
      await app.accounts.passwords.import("1", await bcrypt.hash(password, 4));
      expect(await standsAlone()).toBe(false);
      expect((await app.client().logIn("ada", password)).status).toBe(200);
      expect(await standsAlone()).toBe(expected);
    }
  });
});

describe("peppers of the settings", () => {
  test("are rotated by log-ins; one that is gone makes the answer of a wrong password, and an event", async () => {
    const credentials = new MemoryCredentialStore();
    const [old, young] = [String(testSecret()), String(testSecret())];
    const withPepper = async (pepper: string[]) => {
      const app = await accountsApp({ stores: { credentials }, passwords: { pepper } });
      app.users.set("id-ada", { id: "id-ada", login: "ada" });
      return app;
    };
    await person(await withPepper([old]));
    expect((await (await withPepper([young])).client().logIn()).status).toBe(401);
    expect((await (await withPepper([young, old])).client().logIn()).status).toBe(200);
    expect((await (await withPepper([young])).client().logIn()).status).toBe(200);
    const without = await withPepper([old]);
    expect((await without.client().logIn()).status).toBe(401);
    expect(without.events).toContainEqual(
      expect.objectContaining({ event: "portcullis_misconfigured", reason: "password-unreadable", subject: "id-ada" }),
    );
  });
});

describe("leaked passwords", () => {
  const hash = createHash("sha1").update(PASSWORD).digest("hex").toUpperCase();

  async function appWithService(onError: "allow" | "refuse") {
    const state = { body: "", status: 500, requests: 0 };
    const server = await serve((_req, res) => {
      state.requests += 1;
      res.writeHead(state.status).end(state.body);
    });
    onTestFinished(() => server.close());
    const app = await accountsApp({ passwords: { breached: { api: true, onError } } }, {}, undefined, {
      breachedRanges: `${server.origin}/range/`,
    });
    app.users.set("id-ada", { id: "id-ada", login: "ada" });
    const listed = (isFound: boolean): void =>
      void Object.assign(state, { status: 200, body: isFound ? `${hash.slice(5)}:3` : `${"0".repeat(35)}:0` });
    return { app, state, listed };
  }

  test("are refused, and others are not", async () => {
    const { app, listed } = await appWithService("allow");
    listed(true);
    expect(await app.accounts.passwords.check(PASSWORD)).toEqual({ ok: false, reasons: ["breached"] });
    listed(false);
    expect(await app.accounts.passwords.check(PASSWORD)).toEqual({ ok: true, reasons: [] });
  });

  test("what is refused anyway is not asked about", async () => {
    const { app, state } = await appWithService("allow");
    await app.accounts.passwords.check("12345678");
    expect(state.requests).toBe(0);
  });

  test('with onError: "refuse" nothing is allowed that could not be checked', async () => {
    const { app } = await appWithService("refuse");
    await expect(app.accounts.passwords.set("id-ada", PASSWORD)).rejects.toMatchObject({ reasons: ["not-checked"] });
  });

  test("what could not be checked is checked at the next log-in, which works, and the person is told once", async () => {
    const { app, state, listed } = await appWithService("allow");
    expect(await app.accounts.passwords.check(PASSWORD)).toEqual({ ok: true, reasons: ["not-checked"] });
    await person(app);
    listed(true);
    expect((await app.client().logIn()).status).toBe(200);
    expect(state.requests).toBe(1);
    app.clock.advance(30_000);
    expect((await app.client().logIn()).status).toBe(200);
    expect((await app.client().logIn()).status).toBe(200);
    expect(state.requests).toBe(2);
    expect(app.notices.map(({ kind }) => kind)).toEqual(["password-breached"]);
    expect(app.events.filter(({ reason }) => reason === "password-breached")).toMatchObject([
      { event: "user_updated", subject: "id-ada" },
    ]);
  });

  test("what is clean at the next log-in is not asked about again", async () => {
    const { app, state, listed } = await appWithService("allow");
    await person(app);
    listed(false);
    app.clock.advance(30_000);
    for (let i = 0; i < 3; i += 1) expect((await app.client().logIn()).status).toBe(200);
    expect([state.requests, app.notices]).toEqual([2, []]);
  });
});
