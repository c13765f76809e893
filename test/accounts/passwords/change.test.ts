import { logIn } from "portcullis";
import { describe, expect, test } from "vitest";
import { accountsApp, type AccountsApp, type Client, NO_GUARD, PASSWORD, person } from "../support/app.js";

const NEW = "another pass phrase of mine";
const WRONG = "not the password at all";

async function loggedIn(app: AccountsApp, login = "ada"): Promise<Client> {
  const client = app.client();
  expect((await client.logIn(login)).status).toBe(200);
  return client;
}

const eventsOf = (app: AccountsApp, name: string): unknown[] =>
  app.events.filter(({ event }) => event === name).map(({ reason, subject, status }) => ({ reason, subject, status }));

describe("POST /password", () => {
  test("changes the password, renews this session and its device, and ends the others and the tokens", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    const [own, other] = [await loggedIn(app), await loggedIn(app)];
    const tokens = (await app.client().logIn("ada", PASSWORD, { deliver: "tokens" })).json() as { accessToken: string };
    const before = new Map(own.cookies);
    app.clock.advance(600_000);
    const answer = await own.post("/account/password", { current: PASSWORD, password: NEW });
    expect([answer.status, answer.text]).toEqual([204, ""]);
    for (const [name, value] of before) expect([name, own.cookies.get(name)]).not.toEqual([name, value]);
    expect((await own.get("/me")).json()).toMatchObject({ methods: [{ method: "pwd", at: app.clock.now() }] });
    expect((await other.get("/me")).status).toBe(401);
    const bearer = { authorization: `Bearer ${tokens.accessToken}` };
    expect((await app.client().get("/me", bearer)).status).toBe(401);
    expect((await app.client().logIn()).status).toBe(401);
    expect((await app.client().logIn("ada", NEW)).status).toBe(200);
    expect(eventsOf(app, "authn_password_change").at(-1)).toMatchObject({ subject: "id-ada" });
    expect(app.notices).toMatchObject([{ kind: "password-changed", user: { id: "id-ada" } }]);
    // The device's cookie is one for the new password.
    for (let i = 0; i < 10; i += 1) await app.client().logIn("ada", WRONG);
    expect((await own.logIn("ada", NEW)).status).toBe(200);
    expect((await app.client().logIn("ada", NEW)).status).toBe(401);
  });

  test.each([
    ["a wrong password", { current: WRONG, password: NEW }, 401, "invalid-credentials", "wrong-password"],
    ["none", { password: NEW }, 401, "invalid-credentials", "wrong-password"],
    ["a new one that is too short", { current: PASSWORD, password: "short one" }, 422, "password-refused", "too-short"],
    ["a field too many", { current: PASSWORD, password: NEW, more: 1 }, 400, "invalid-request", "form"],
  ])("refuses %s, and nothing changes", async (_what, body, status, code, reason) => {
    const app = await accountsApp();
    await person(app);
    const [own, other] = [await loggedIn(app), await loggedIn(app)];
    const answer = await own.post("/account/password", body);
    expect([answer.status, (answer.json() as { code: string }).code]).toEqual([status, code]);
    if (status !== 400)
      expect(eventsOf(app, "authn_password_change_fail")).toEqual([{ reason, status, subject: "id-ada" }]);
    for (const client of [own, other]) expect((await client.get("/me")).status).toBe(200);
    expect((await app.client().logIn()).status).toBe(200);
  });

  test("says why a password is refused", async () => {
    const app = await accountsApp({ passwords: { blockList: ["Engine"] } });
    await person(app);
    const own = await loggedIn(app);
    for (const [password, reasons] of [
      ["ada@example.com", ["context-word"]],
      ["ENGINE12", ["too-short", "context-word"]],
      ["1234567890", ["too-short", "common"]],
      ["x".repeat(1025), ["too-long"]],
    ] as const) {
      const answer = await own.post("/account/password", { current: PASSWORD, password });
      expect(answer.json()).toMatchObject({ code: "password-refused", reasons });
    }
  });

  test("needs the person: no stranger, no key, nobody who acts for them", async () => {
    const app = await accountsApp({}, {}, (express) =>
      express.post("/act", async (req, res) => {
        await logIn(req, { id: "id-ada", actor: { id: "admin" } });
        res.sendStatus(204);
      }),
    );
    await person(app);
    const body = { current: PASSWORD, password: NEW };
    expect((await app.client().post("/account/password", body)).status).toBe(401);
    const made = await app.security.apiKeys?.create({ ownerId: "id-ada", name: "mine" });
    const headers = { authorization: `Bearer ${made?.key}` };
    expect((await app.client().post("/account/password", body, headers)).status).toBe(403);
    const admin = app.client();
    await admin.post("/act");
    expect((await admin.get("/me")).json()).toMatchObject({ id: "id-ada", actor: { id: "admin" } });
    expect((await admin.post("/account/password", body)).status).toBe(403);
    expect((await app.client().logIn()).status).toBe(200);
  });

  test("counts failures as a log-in does: after the cap the right password is refused too", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    const own = await loggedIn(app);
    for (let i = 0; i < 10; i += 1)
      expect((await own.post("/account/password", { current: WRONG, password: NEW })).status).toBe(401);
    expect((await own.post("/account/password", { current: PASSWORD, password: NEW })).status).toBe(401);
    expect(eventsOf(app, "authn_login_lock")).toHaveLength(1);
  });

  test("of 8 parallel changes one is done, and the others change nothing", async () => {
    const app = await accountsApp({}, NO_GUARD);
    await person(app);
    const own = await loggedIn(app);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_one, i) =>
        own.post("/account/password", { current: PASSWORD, password: `${NEW} ${i}` }),
      ),
    );
    const done = answers.flatMap(({ status }, i) => (status === 204 ? [i] : []));
    expect(done).toHaveLength(1);
    expect((await app.client().logIn("ada", `${NEW} ${done[0]}`)).status).toBe(200);
  });

  test("lists the API keys that live on, or ends them", async () => {
    for (const revokeKeys of [false, true]) {
      const app = await accountsApp();
      await person(app);
      await app.security.apiKeys?.create({ ownerId: "id-ada", name: "mine" });
      const own = await loggedIn(app);
      await own.post("/account/password", { current: PASSWORD, password: NEW, revokeKeys });
      expect(app.notices.at(-1)?.apiKeys?.map(({ name }) => name)).toEqual(revokeKeys ? undefined : ["mine"]);
      const keys = await app.security.apiKeys?.list("id-ada");
      expect(keys?.map(({ revokedAt }) => revokedAt !== null)).toEqual([revokeKeys]);
    }
  });

  test("a person without a password sets one soon after proving who they are, not later", async () => {
    for (const [later, status] of [
      [299_000, 204],
      [301_000, 401],
    ] as const) {
      const app = await accountsApp({}, {}, (express) =>
        express.post("/enter", async (req, res) => {
          await logIn(req, { id: "id-eve", methods: ["federated"] });
          res.sendStatus(204);
        }),
      );
      app.users.set("id-eve", { id: "id-eve", login: "eve" });
      const eve = app.client();
      expect((await eve.post("/enter")).status).toBe(204);
      app.clock.advance(later);
      const answer = await eve.post("/account/password", { password: NEW });
      expect(answer.status).toBe(status);
      if (status === 401)
        expect(answer.json()).toMatchObject({
          code: "reauthentication-required",
          anyOf: expect.arrayContaining([["pwd"]]) as unknown,
        });
      expect((await app.client().logIn("eve", NEW)).status).toBe(status === 204 ? 200 : 401);
    }
  });
});
