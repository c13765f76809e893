import { describe, expect, test } from "vitest";
import { accountsApp, person } from "../support/app.js";
import { enrol } from "../support/authenticator.js";

async function withFactor(settings: Parameters<typeof accountsApp>[0] = {}, more: object = {}) {
  const app = await accountsApp(settings);
  await person(app, "ada", more);
  const browser = app.client();
  await browser.logIn();
  const enrolled = await enrol(app, browser);
  const [factor] = await app.accounts.factors.list("id-ada");
  return { app, browser, ...enrolled, id: factor?.id ?? "" };
}

describe("DELETE /factors/:id", () => {
  test("takes the factor and the recovery codes away, and ends other sessions", async () => {
    const { app, browser, authenticator, id } = await withFactor();
    const other = app.client();
    await other.logIn();
    const body = { method: "totp", code: authenticator.code(app.clock.now()) };
    expect((await other.post("/account/login/factor", body)).status).toBe(200);
    const key = await app.security.apiKeys?.create({ ownerId: "id-ada", name: "ci", scopes: [] });
    expect((await browser.delete(`/account/factors/${"x".repeat(22)}`)).status).toBe(404);
    expect((await browser.delete(`/account/factors/${id}`)).status).toBe(204);
    expect([(await browser.get("/me")).status, (await other.get("/me")).status]).toEqual([200, 401]);
    expect((await browser.get("/account/factors")).json()).toEqual({ factors: [], recoveryCodesLeft: 0 });
    expect((await app.client().logIn()).text).toBe('{"status":"done"}');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(app.notices.at(-1)).toMatchObject({ kind: "factor-removed", apiKeys: [{ id: key?.record.id, name: "ci" }] });
  });

  test("not of another person, not without a fresh second factor", async () => {
    const { app, browser, authenticator, id } = await withFactor();
    await person(app, "bob");
    const bob = app.client();
    await bob.logIn("bob");
    expect((await bob.delete(`/account/factors/${id}`)).status).toBe(404);
    app.clock.advance(301_000);
    const stale = await browser.delete(`/account/factors/${id}`);
    expect(stale.json()).toMatchObject({ code: "reauthentication-required", anyOf: [["totp"], ["recovery"]] });
    // A stolen password is what the factor protects from.
    expect((await browser.post("/account/reauthenticate", { password: "wrong" })).status).toBe(401);
    const password = "correct horse battery staple";
    expect((await browser.post("/account/reauthenticate", { password })).status).toBe(200);
    expect((await browser.delete(`/account/factors/${id}`)).status).toBe(401);
    const body = { method: "totp", code: authenticator.code(app.clock.now()) };
    expect((await browser.post("/account/reauthenticate", body)).text).toBe('{"status":"done"}');
    expect((await browser.delete(`/account/factors/${id}`)).status).toBe(204);
  });

  test("not the last one of a person who must have one, nor beside a short password", async () => {
    const needed = await withFactor({ factors: { required: () => true } });
    const refused = await needed.browser.delete(`/account/factors/${needed.id}`);
    expect([refused.status, refused.json()]).toEqual([409, expect.objectContaining({ code: "factor-needed" })]);

    const short = await withFactor();
    await short.app.accounts.passwords.set("id-ada", "kettle-9-ox");
    const browser = short.app.client();
    await browser.logIn("ada", "kettle-9-ox");
    const body = { method: "totp", code: short.authenticator.code(short.app.clock.now()) };
    expect((await browser.post("/account/login/factor", body)).status).toBe(200);
    const tooShort = await browser.delete(`/account/factors/${short.id}`);
    expect([tooShort.status, tooShort.json()]).toEqual([409, expect.objectContaining({ code: "password-too-short" })]);
    expect(await short.app.accounts.factors.list("id-ada")).toHaveLength(1);
  });
});

describe("POST /recovery-codes", () => {
  test("makes ten new codes and kills the old ones; without a factor there are none", async () => {
    const { app, browser, recoveryCodes } = await withFactor();
    const made = (await browser.post("/account/recovery-codes")).json() as { recoveryCodes: string[] };
    expect(made.recoveryCodes).toHaveLength(10);
    const left: unknown[] = [];
    for (const code of [recoveryCodes[0], ...made.recoveryCodes]) {
      const other = app.client();
      await other.logIn();
      const answer = await other.post("/account/login/factor", { method: "recovery", code });
      left.push((answer.json() as { recoveryCodesLeft?: number; warning?: string }).recoveryCodesLeft ?? answer.status);
      if (left.length === 9) expect(answer.json()).toMatchObject({ warning: "few-recovery-codes" });
    }
    expect(left).toEqual([401, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    await person(app, "bob");
    const bob = app.client();
    await bob.logIn("bob");
    expect((await bob.post("/account/recovery-codes")).status).toBe(409);
  });

  test("another person's code is worthless", async () => {
    const { app, recoveryCodes } = await withFactor();
    await person(app, "bob");
    const bob = app.client();
    await bob.logIn("bob");
    await enrol(app, bob);
    const thief = app.client();
    await thief.logIn("bob");
    const body = { method: "recovery", code: recoveryCodes[0] };
    expect((await thief.post("/account/login/factor", body)).status).toBe(401);
  });
});

describe("accounts.factors", () => {
  test("remove and resetAll end sessions, and the password alone logs in then", async () => {
    const { app, browser, id } = await withFactor();
    expect(await app.accounts.factors.remove("id-ada", "nothing")).toBe(false);
    expect(await app.accounts.factors.recoveryCodesLeft("id-ada")).toBe(10);
    expect(await app.accounts.factors.remove("id-ada", id)).toBe(true);
    expect((await browser.get("/me")).status).toBe(401);
    await browser.logIn();
    await enrol(app, browser);
    await app.accounts.factors.resetAll("id-ada");
    expect((await browser.get("/me")).status).toBe(401);
    expect(await app.accounts.factors.recoveryCodesLeft("id-ada")).toBe(0);
    expect((await browser.logIn()).text).toBe('{"status":"done"}');
    await expect(app.accounts.factors.resetAll("nobody")).rejects.toThrow(/knows no person/);
  });
});

describe("showRecoveryCodes", () => {
  const CODES = /(?:[0-9A-Z]{4}-){5}[0-9A-Z]{4}/g;

  test.each([
    [
      "throws",
      () => {
        throw new Error("no template");
      },
    ],
    ["gives a promise", () => Promise.reject(new Error("no template")) as never],
    ["gives nothing", () => undefined as never],
  ] as const)("that %s takes no codes away", async (_name, showRecoveryCodes) => {
    const { app, browser, recoveryCodes } = await withFactor({ showRecoveryCodes });
    expect(recoveryCodes).toHaveLength(10);
    const page = await browser.form("/account/recovery-codes", {});
    expect([page.status, page.headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    expect(new Set(page.text.match(CODES)).size).toBe(10);
    expect(app.events.filter(({ reason }) => reason === "showRecoveryCodes")).toHaveLength(1);
  });

  test("makes the page, and is not asked by a program", async () => {
    const shown: (readonly string[])[] = [];
    const { app, browser } = await withFactor({
      showRecoveryCodes: (codes) => {
        shown.push(codes);
        return `<p>${codes.join(" ")}</p>`;
      },
    });
    expect(shown).toEqual([]);
    const page = await browser.form("/account/recovery-codes", {});
    expect(page.text).toBe(`<p>${shown[0]?.join(" ")}</p>`);
    expect(app.events.filter(({ reason }) => reason === "showRecoveryCodes")).toEqual([]);
  });
});
