import { describe, expect, test } from "vitest";
import { accountsApp, person } from "../support/app.js";
import { Authenticator, enrol } from "../support/authenticator.js";

describe("POST /login/factor", () => {
  test("a code finishes the log-in, a wrong one leaves it as it is", async () => {
    const app = await accountsApp();
    await person(app);
    const first = app.client();
    await first.logIn();
    const { authenticator } = await enrol(app, first);

    const browser = app.client();
    const begun = await browser.logIn();
    expect(begun.json()).toEqual({ status: "factor-required", factors: ["totp", "recovery"] });
    expect((await browser.get("/me")).status).toBe(401);
    const wrong = await browser.post("/account/login/factor", {
      method: "totp",
      code: authenticator.wrong(app.clock.now()),
    });
    expect([wrong.status, (await browser.get("/me")).status]).toEqual([401, 401]);
    const right = await browser.post("/account/login/factor", {
      method: "totp",
      code: authenticator.code(app.clock.now()),
    });
    expect([right.status, right.text]).toEqual([200, '{"status":"done"}']);
    const me = (await browser.get("/me")).json() as { methods: { method: string }[] };
    expect(me.methods.map(({ method }) => method)).toEqual(["pwd", "totp"]);
  });

  test("a right password counts as no failed log-in, though a code is owed", async () => {
    const three = { limit: 3 };
    const app = await accountsApp({}, { loginLimits: { address: three, accountAndAddress: three, account: three } });
    await person(app);
    const first = app.client();
    await first.logIn();
    await enrol(app, first);
    for (let time = 0; time < 6; time += 1) expect((await app.client().logIn()).status).toBe(200);
    const failed = [];
    for (let time = 0; time < 4; time += 1) failed.push((await app.client().logIn("ada", "wrong")).status);
    expect(failed).toEqual([401, 401, 401, 429]);
  });

  test("without a log-in, in another browser, or for an unknown method nothing opens", async () => {
    const app = await accountsApp();
    await person(app);
    const first = app.client();
    await first.logIn();
    const { authenticator, recoveryCodes } = await enrol(app, first);
    const code = authenticator.code(app.clock.now());
    await app.client().logIn();
    const stranger = app.client();
    for (const body of [
      { method: "totp", code },
      { method: "recovery", code: recoveryCodes[0] },
      { method: "totp", code, pending: "x".repeat(43) },
    ])
      expect((await stranger.post("/account/login/factor", body)).status).toBe(401);
    const browser = app.client();
    await browser.logIn();
    for (const method of ["sms", "pwd", "webauthn", ""])
      expect((await browser.post("/account/login/factor", { method, code })).status).toBe(400);
    // The same code and the same recovery code are still good: none of these calls has spent them.
    expect((await browser.post("/account/login/factor", { method: "totp", code })).status).toBe(200);
    const other = app.client();
    await other.logIn();
    const recovered = await other.post("/account/login/factor", { method: "recovery", code: recoveryCodes[0] });
    expect(recovered.json()).toEqual({ status: "done", recoveryCodesLeft: 9 });
  });

  test("a code works once, the confirming one included, and one step earlier or later", async () => {
    const app = await accountsApp();
    await person(app);
    const first = app.client();
    await first.logIn();
    const begun = (await first.post("/account/totp", {})).json() as { secret: string };
    const authenticator = new Authenticator(begun.secret);
    const code = authenticator.code(app.clock.now());
    expect((await first.post("/account/totp/confirm", { code })).status).toBe(200);
    const tryCode = async (typed: string): Promise<number> => {
      const browser = app.client();
      await browser.logIn();
      return (await browser.post("/account/login/factor", { method: "totp", code: typed })).status;
    };
    expect(await tryCode(code)).toBe(401);
    const next = authenticator.code(app.clock.now(), 1);
    expect(await tryCode(next)).toBe(200);
    expect(await tryCode(next)).toBe(401);
    app.clock.advance(90_000);
    expect(await tryCode(authenticator.code(app.clock.now(), -2))).toBe(401);
    expect(await tryCode(authenticator.code(app.clock.now(), -1))).toBe(200);
    expect(await tryCode(authenticator.code(app.clock.now(), 1))).toBe(200);
    // A step that was passed over is spent too.
    expect(await tryCode(authenticator.code(app.clock.now()))).toBe(401);
  });

  test.each(["memory", "sqlite"])("100 parallel uses of one code make one session (%s)", async (kind) => {
    const app = await accountsApp({ storeTimeoutMs: 5000 }, kind === "sqlite" ? { database: "sqlite::memory:" } : {});
    await person(app);
    const first = app.client();
    await first.logIn();
    const { authenticator, recoveryCodes } = await enrol(app, first);
    for (const [method, code] of [
      ["totp", authenticator.code(app.clock.now())],
      ["recovery", recoveryCodes[0]],
    ]) {
      const browsers = [app.client(), app.client(), app.client(), app.client()];
      for (const browser of browsers) await browser.logIn();
      const answers = await Promise.all(
        Array.from({ length: 100 }, async (_, index) =>
          browsers[index % 4]?.post("/account/login/factor", { method, code }),
        ),
      );
      expect(answers.filter((answer) => answer?.status === 200)).toHaveLength(1);
      expect(answers.every((answer) => [200, 401, 429].includes(answer?.status ?? 0))).toBe(true);
    }
  });

  test("locks after five failures over all log-ins, says so once, and lets a recovery code in", async () => {
    const app = await accountsApp();
    await person(app);
    const first = app.client();
    await first.logIn();
    const { authenticator, recoveryCodes } = await enrol(app, first);
    const statuses: number[] = [];
    for (let tries = 0; tries < 7; tries += 1) {
      const thief = app.client();
      await thief.logIn();
      const code = authenticator.wrong(app.clock.now());
      statuses.push((await thief.post("/account/login/factor", { method: "totp", code })).status);
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
    expect(app.events.filter(({ event }) => event === "authn_login_lock")).toHaveLength(1);
    expect(app.notices.filter(({ kind }) => kind === "factor-locked")).toHaveLength(1);
    const owner = app.client();
    await owner.logIn();
    const locked = await owner.post("/account/login/factor", {
      method: "totp",
      code: authenticator.code(app.clock.now()),
    });
    expect([locked.status, locked.headers["retry-after"]]).toEqual([429, "60"]);
    expect(locked.json()).toMatchObject({ code: "too-many-failures" });
    const spelled = ` ${(recoveryCodes[0] ?? "").toLowerCase().replaceAll("-", " ").replaceAll("0", "o")}`;
    const recovered = await owner.post("/account/login/factor", { method: "recovery", code: spelled });
    expect(recovered.status).toBe(200);
    app.clock.advance(60_000);
    const later = app.client();
    await later.logIn();
    const code = authenticator.code(app.clock.now());
    expect((await later.post("/account/login/factor", { method: "totp", code })).status).toBe(200);
  });

  test("a client without cookies goes on with what the answer gave it, and not by a cookie", async () => {
    const app = await accountsApp();
    await person(app);
    const first = app.client();
    await first.logIn();
    const { authenticator } = await enrol(app, first);
    const program = app.client();
    const begun = (await program.logIn("ada", undefined, { deliver: "tokens" })).json() as { pending: string };
    const code = authenticator.code(app.clock.now());
    expect((await program.post("/account/login/factor", { method: "totp", code })).status).toBe(401);
    const done = await program.post("/account/login/factor", { method: "totp", code, pending: begun.pending });
    expect(done.json()).toMatchObject({ status: "done", tokenType: "Bearer" });
    const again = { method: "totp", code: authenticator.code(app.clock.now(), 1), pending: begun.pending };
    expect((await program.post("/account/login/factor", again)).status).toBe(401);
  });

  test("no secret and no code is in an event, a notice or a refusal", async () => {
    const app = await accountsApp();
    await person(app);
    const first = app.client();
    await first.logIn();
    const { authenticator, recoveryCodes } = await enrol(app, first);
    const browser = app.client();
    await browser.logIn();
    const used = [authenticator.code(app.clock.now()), authenticator.wrong(app.clock.now()), recoveryCodes[0] ?? ""];
    const refused = await browser.post("/account/login/factor", { method: "totp", code: used[1] });
    await browser.post("/account/login/factor", { method: "recovery", code: used[2] });
    await first.post("/account/reauthenticate", { method: "totp", code: used[0] });
    await first.post("/account/recovery-codes");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(app.notices.map(({ kind }) => kind)).toEqual([
      "recovery-codes-made",
      "factor-added",
      "recovery-code-used",
      "recovery-codes-made",
    ]);
    const told = JSON.stringify([app.events, app.notices, refused.text]);
    for (const secret of [...used, ...recoveryCodes]) expect(told).not.toContain(`"${secret}"`);
    for (const secret of recoveryCodes) expect(told).not.toContain(secret);
  });
});
