import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import { describe, expect, test } from "vitest";

/** Everything that is drawn, in base64url. The module is loaded after this, so that it draws here. */
const drawn = new Map<number, Set<string>>();
const real = crypto.randomBytes.bind(crypto);
crypto.randomBytes = ((size: number, callback?: never) => {
  if (callback !== undefined) return real(size, callback);
  const bytes = real(size);
  drawn.set(size, (drawn.get(size) ?? new Set()).add(bytes.toString("base64url")));
  return bytes;
}) as typeof crypto.randomBytes;
syncBuiltinESMExports();
const { accountsApp, PASSWORD, person } = await import("./support/app.js");
const { noticesOf, tokenOf } = await import("./support/links.js");
const { enrol } = await import("./support/authenticator.js");

/** The passwords that a person of a new app may choose, out of these. */
async function allowed(
  passwords: readonly string[],
  settings: Parameters<typeof accountsApp>[0] = {},
): Promise<string[]> {
  const app = await accountsApp(settings);
  const found: string[] = [];
  for (const password of passwords) if ((await app.accounts.passwords.check(password)).ok) found.push(password);
  return found;
}

/** Base32 of either alphabet, as bytes in base64url. */
function bytesOf(text: string, alphabet: string): string {
  const bits = [...text].map((char) => alphabet.indexOf(char).toString(2).padStart(5, "0")).join("");
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2))).toString("base64url");
}

/** ASVS 5.0 V6.2 */
describe("passwords", () => {
  test("have fifteen characters, or as few as eight where the settings say so, and never fewer", async () => {
    expect(await allowed(["k8#vQz!pL2@wXm", "k8#vQz!pL2@wXm9"])).toEqual(["k8#vQz!pL2@wXm9"]);
    const eight = { passwords: { minLength: 8, minLengthWithSecondFactor: 8 } };
    expect(await allowed(["k8#vQz!", "k8#vQz!p"], eight)).toEqual(["k8#vQz!p"]);
    for (const passwords of [{ minLength: 7 }, { minLengthWithSecondFactor: 7 }])
      await expect(accountsApp({ passwords })).rejects.toThrow(/createAccounts/);
  });

  test("may have one kind of characters, and 64 characters, of four bytes each", async () => {
    const good = ["583920571846203", "plqmzowkxneicbru", "PLQMZOWKXNEICBRU", "🙃".repeat(64), "ü".repeat(64)];
    expect(await allowed(good)).toEqual(good);
  });

  test("are verified as they were sent: no case is changed, nothing is cut off", async () => {
    const app = await accountsApp();
    const { id } = await person(app);
    const long = `Long ${"0123456789".repeat(20)} Password`;
    await app.accounts.passwords.set(id, long);
    const statuses: number[] = [];
    for (const typed of [long.toLowerCase(), long.slice(0, 72), long.slice(0, -1), `${long} `, ` ${long}`, long])
      statuses.push((await app.client().logIn("ada", typed)).status);
    expect(statuses).toEqual([401, 401, 401, 401, 401, 200]);
  });

  test("do not end: ten years later it is the same", async () => {
    const app = await accountsApp();
    await person(app);
    app.clock.advance(10 * 366 * 86_400_000);
    expect((await app.client().logIn()).json()).toEqual({ status: "done" });
  });

  test("are changed with the one so far and a new one, and with nothing less", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const password = "a password that is new";
    const bodies = [{ password }, { current: "", password }, { current: "wrong", password }, { current: PASSWORD }];
    for (const body of bodies)
      expect((await browser.post("/account/password", body)).status).toBeGreaterThanOrEqual(400);
    expect((await app.client().logIn()).status).toBe(200);
    expect((await browser.post("/account/password", { current: PASSWORD, password })).status).toBe(204);
    expect((await app.client().logIn("ada", password)).status).toBe(200);
  });

  test("are not the name, the address, the service or a word of the settings", async () => {
    const app = await accountsApp(
      {
        baseUrl: "https://engine.example",
        factors: { totp: { issuer: "Difference Engines" } },
        passwords: { blockList: ["analytical society"] },
      },
      { trustedHosts: ["127.0.0.1", "engine.example"] },
    );
    await person(app, "ada.lovelace.1815", { email: "countess-lovelace@example.org" });
    const browser = app.client();
    await browser.logIn("ada.lovelace.1815");
    for (const password of [
      "ada.lovelace.1815",
      "Countess-Lovelace!",
      "engine.example.1",
      "Difference Engines",
      "Analytical Society 1",
    ]) {
      const answer = await browser.post("/account/password", { current: PASSWORD, password });
      expect([password, answer.json()]).toMatchObject([password, { reasons: ["context-word"] }]);
    }
  });
});

/** ASVS 5.0 V6.5 */
describe("second factors", () => {
  test("each recovery code works once", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const { recoveryCodes } = await enrol(app, browser);
    for (const code of recoveryCodes) {
      const statuses: number[] = [];
      for (let times = 0; times < 2; times += 1) {
        const other = app.client();
        await other.logIn();
        statuses.push((await other.post("/account/login/factor", { method: "recovery", code })).status);
      }
      expect(statuses).toEqual([200, 401]);
    }
  });

  test("secrets, recovery codes and links are unchanged bytes of the CSPRNG of node:crypto: 160, 120 and 256 bits", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
    expect(drawn.get(20)).toContain(bytesOf(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
    const { recoveryCodes } = await enrol(app, browser);
    const texts = recoveryCodes.map((code) => bytesOf(code.replaceAll("-", ""), "0123456789ABCDEFGHJKMNPQRSTVWXYZ"));
    expect(texts.filter((text) => drawn.get(15)?.has(text) !== true)).toEqual([]);
    expect(new Set(texts).size).toBe(10);
    await app.client().post("/account/password/forgot", { login: "ada" });
    expect(drawn.get(32)).toContain(tokenOf((await noticesOf(app, "password-reset", 1))[0]));
  });

  test("the time of a code is the server's, whatever the client says of it", async () => {
    const app = await accountsApp();
    await person(app);
    const browser = app.client();
    await browser.logIn();
    const { authenticator } = await enrol(app, browser);
    const old = authenticator.code(app.clock.now());
    const then = new Date(app.clock.now()).toUTCString();
    app.clock.advance(120_000);
    const other = app.client();
    await other.logIn();
    const code = { method: "totp", code: old };
    expect((await other.post("/account/login/factor", code, { date: then })).status).toBe(401);
    expect((await other.post("/account/login/factor", { ...code, now: app.clock.now() - 120_000 })).status).toBe(400);
    const current = { method: "totp", code: authenticator.code(app.clock.now()) };
    expect((await other.post("/account/login/factor", current, { date: then })).status).toBe(200);
  });
});
