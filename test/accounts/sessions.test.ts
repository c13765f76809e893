import { logIn } from "portcullis";
import { describe, expect, test } from "vitest";
import { accountsApp, person } from "./support/app.js";

const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
const PHONE =
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";

type Listed = { sessions: { handle: string; kind: string; label?: string; isCurrent: boolean }[] };

describe("GET /sessions", () => {
  test("lists the sessions and the tokens of a person, and says which one asks", async () => {
    const app = await accountsApp();
    await person(app);
    await person(app, "eve");
    const laptop = app.client();
    await laptop.post(
      "/account/login",
      { login: "ada", password: "correct horse battery staple" },
      { "user-agent": FIREFOX },
    );
    const phone = app.client();
    await phone.post(
      "/account/login",
      { login: "ada", password: "correct horse battery staple", deliver: "tokens" },
      { "user-agent": PHONE },
    );
    await app.client().logIn("eve");
    const { sessions } = (await laptop.get("/account/sessions")).json() as Listed;
    expect(sessions.map(({ kind, label, isCurrent }) => [kind, label, isCurrent])).toEqual(
      expect.arrayContaining([
        ["session", "Firefox on Linux", true],
        ["tokens", "Safari on iPhone", false],
      ]),
    );
    expect(sessions).toHaveLength(2);
  });

  test("needs a person: nobody, and a program with a key, are refused", async () => {
    const app = await accountsApp();
    await person(app);
    expect((await app.client().get("/account/sessions")).status).toBe(401);
    const made = await app.security.apiKeys?.create({ ownerId: "id-ada", name: "k" });
    expect((await app.client().get("/account/sessions", { "x-api-key": made?.key ?? "" })).status).toBe(403);
  });
});

describe("DELETE /sessions/:handle", () => {
  test("ends a session and a family of tokens of the person, and no one else's", async () => {
    const app = await accountsApp();
    await person(app);
    await person(app, "eve");
    const ada = app.client();
    await ada.logIn();
    const other = app.client();
    await other.logIn();
    const program = app.client();
    const { accessToken } = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as {
      accessToken: string;
    };
    const useToken = () => program.get("/me", { authorization: `Bearer ${accessToken}` });
    const eve = app.client();
    await eve.logIn("eve");
    const { sessions } = (await ada.get("/account/sessions")).json() as Listed;
    for (const { handle } of sessions) expect((await eve.delete(`/account/sessions/${handle}`)).status).toBe(404);
    expect((await other.get("/me")).status).toBe(200);
    expect((await useToken()).status).toBe(200);
    for (const { handle, isCurrent } of sessions)
      if (!isCurrent) expect((await ada.delete(`/account/sessions/${handle}`)).status).toBe(204);
    expect((await other.get("/me")).status).toBe(401);
    expect((await useToken()).status).toBe(401);
    expect((await ada.get("/me")).status).toBe(200);
    for (const handle of ["x", "%00", "a".repeat(22), "a".repeat(5000)])
      expect((await ada.delete(`/account/sessions/${handle}`)).status).toBe(404);
  });
});

describe("POST /logout", () => {
  test("ends the tokens of a client without cookies", async () => {
    const app = await accountsApp();
    await person(app);
    const program = app.client();
    const { accessToken } = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as {
      accessToken: string;
    };
    const bearer = { authorization: `Bearer ${accessToken}` };
    expect((await program.get("/me", bearer)).status).toBe(200);
    expect((await program.post("/account/logout", undefined, bearer)).status).toBe(204);
    expect((await program.get("/me", bearer)).status).toBe(401);
  });
});

describe("a browser that has logged out", () => {
  test("is a known device still: strangers who guess do not lock its owner out", async () => {
    const app = await accountsApp({}, { loginLimits: { account: { limit: 5 } } });
    await person(app);
    const ada = app.client("192.0.2.1");
    await ada.logIn();
    const out = await ada.post("/account/logout");
    expect([out.status, out.headers["clear-site-data"]]).toEqual([204, '"cache", "storage"']);
    expect((await ada.get("/me")).status).toBe(401);
    for (let i = 0; i < 5; i++) await app.client(`198.51.100.${i}`).logIn("ada", "not the password at all");
    expect((await app.client("192.0.2.2").logIn()).status).toBe(429);
    expect((await ada.logIn()).status).toBe(200);
  });
});

describe("someone who acts for a person", () => {
  test("ends none of the person's sessions", async () => {
    const app = await accountsApp({}, {}, (to) =>
      to.post("/act", (req, res, next) => {
        logIn(req, { id: "id-ada", actor: { id: "id-admin" } }).then(() => res.end(), next);
      }),
    );
    await person(app);
    await person(app, "admin");
    const [ada, admin] = [app.client(), app.client()];
    await ada.logIn();
    await admin.logIn("admin");
    expect((await admin.post("/act")).status).toBe(200);
    expect((await admin.get("/me")).json()).toMatchObject({ id: "id-ada", actor: { id: "id-admin" } });
    const { sessions } = (await ada.get("/account/sessions")).json() as Listed;
    const own = sessions.find(({ isCurrent }) => isCurrent)?.handle ?? "";
    expect((await admin.delete(`/account/sessions/${own}`)).status).toBe(403);
    expect((await ada.get("/me")).status).toBe(200);
  });
});
