import { describe, expect, test } from "vitest";
import { accountsApp, type Client, PASSWORD, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";

const WANTED = "/reports?year=2026&tab=a%20b";
const LOGIN = { login: "ada", password: PASSWORD };
const FOREIGN = ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "reports", ""];

/** The path to which a form is sent on. */
async function sentTo(browser: Client, path: string, fields: Record<string, string>): Promise<unknown> {
  const { status, headers } = await browser.form(path, fields);
  return status === 303 ? headers.location : status;
}

/** An app with a page for people, and one that needs a fresh proof. */
async function guarded(settings: Parameters<typeof accountsApp>[0] = {}) {
  const app = await accountsApp({ afterLogin: "/home", ...settings });
  await person(app);
  const loggedIn = app.security.requireSession({ redirectTo: "/login" });
  const fresh = app.accounts.requireFresh({ redirectTo: "/confirm" });
  app.app.get("/reports", loggedIn, (_req, res) => void res.send("reports"));
  app.app.get("/secrets", fresh, (_req, res) => void res.send("secrets"));
  return app;
}

/** The page that a guard sends the browser to, and what it hands on as `returnTo`. */
async function guardedPage(browser: Client, path: string): Promise<{ page: string; returnTo: string }> {
  const { headers } = await browser.get(path, { accept: "text/html" });
  const url = new URL(headers.location ?? "", "http://localhost");
  return { page: url.pathname, returnTo: url.searchParams.get("returnTo") ?? "" };
}

describe("a browser that a guard has sent to log in", () => {
  test("is brought back to the page after the password", async () => {
    const app = await guarded();
    const browser = app.client();
    const { page, returnTo } = await guardedPage(browser, WANTED);
    expect([page, returnTo]).toEqual(["/login", WANTED]);
    expect(await sentTo(browser, "/account/login", { ...LOGIN, returnTo })).toBe(WANTED);
    expect((await browser.get(WANTED)).text).toBe("reports");
    expect(await sentTo(app.client(), "/account/login", LOGIN)).toBe("/home");
  });

  test("keeps the page through a wrong password", async () => {
    const app = await guarded();
    const wrong = await sentTo(app.client(), "/account/login", { ...LOGIN, password: "wrong", returnTo: WANTED });
    expect(wrong).toBe(`/login?returnTo=${encodeURIComponent(WANTED)}&error=invalid-credentials`);
    expect(new URL(String(wrong), "http://localhost").searchParams.get("returnTo")).toBe(WANTED);
  });

  test("is brought back after the second factor, also when the first code was wrong", async () => {
    const app = await guarded();
    const owner = app.client();
    await owner.logIn();
    const { authenticator } = await enrol(app, owner);
    const browser = app.client();
    const code = authenticator.code(app.clock.now());
    expect(await sentTo(browser, "/account/login", { ...LOGIN, returnTo: WANTED })).toBe("/login/factor");
    const wrong = { method: "totp", code: authenticator.wrong(app.clock.now()) };
    expect(await sentTo(browser, "/account/login/factor", wrong)).toBe("/login/factor?error=invalid-credentials");
    expect(await sentTo(browser, "/account/login/factor", { method: "totp", code })).toBe(WANTED);
    app.clock.advance(30_000);
    const next = authenticator.code(app.clock.now());
    const other = app.client();
    expect(await sentTo(other, "/account/login", LOGIN)).toBe("/login/factor");
    expect(await sentTo(other, "/account/login/factor", { method: "totp", code: next })).toBe("/home");
  });

  test.each([undefined, (_codes: readonly string[], _req: unknown, next: string) => `<a href="${next}">Go on</a>`])(
    "finds it on the page of the recovery codes, after a factor that it had to set up: %s",
    async (showRecoveryCodes) => {
      const app = await guarded({ factors: { required: () => true }, showRecoveryCodes });
      const browser = app.client();
      expect(await sentTo(browser, "/account/login", { ...LOGIN, returnTo: "/reports" })).toBe("/login/enrol");
      const { secret } = (await browser.post("/account/totp", {})).json() as { secret: string };
      const code = new Authenticator(secret).code(app.clock.now());
      const page = await browser.form("/account/totp/confirm", { code });
      expect([page.status, page.text.match(/<a href="([^"]+)">Go on/)?.[1]]).toEqual([200, "/reports"]);
    },
  );

  test.each(FOREIGN)("is never sent to another origin: %j", async (returnTo) => {
    const app = await guarded();
    expect(await sentTo(app.client(), "/account/login", { ...LOGIN, returnTo })).toBe("/home");
    const wrong = { ...LOGIN, password: "wrong", returnTo };
    expect(await sentTo(app.client(), "/account/login", wrong)).toBe("/login?error=invalid-credentials");
  });
});

describe("a browser that must prove again who it is", () => {
  test("is brought back to the page, without what came of the form", async () => {
    const app = await guarded();
    const browser = app.client();
    await browser.logIn();
    app.clock.advance(301_000);
    const { page, returnTo } = await guardedPage(browser, "/secrets");
    expect([page, returnTo]).toEqual(["/confirm", "/secrets"]);
    expect(await sentTo(browser, "/account/reauthenticate", { password: PASSWORD, returnTo })).toBe("/secrets");
    expect((await browser.get("/secrets")).text).toBe("secrets");
  });

  test.each(FOREIGN)("is never sent to another origin: %j", async (returnTo) => {
    const app = await guarded();
    const browser = app.client();
    await browser.logIn();
    expect(await sentTo(browser, "/account/reauthenticate", { password: PASSWORD, returnTo })).toBe(
      "/?status=confirmed",
    );
  });
});
