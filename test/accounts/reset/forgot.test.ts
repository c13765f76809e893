import { describe, expect, onTestFinished, test, vi } from "vitest";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { accountsApp, person } from "../support/app.js";
import { noticesOf, quiet } from "../support/links.js";

const FORGOT = "/account/password/forgot";
const HOUR_MS = 3_600_000;

describe("POST /password/forgot", () => {
  test("answers byte for byte the same to a known, unknown, disabled and unreachable person; one gets mail", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    await person(app, "bob", { disabled: true });
    await person(app, "eve", { email: undefined });
    const answers = [];
    for (const [index, login] of ["ada", "nobody", "bob", "eve", "x".repeat(255), "<b>ada</b>"].entries()) {
      const { status, text, rawHeaders } = await app.client(`192.0.2.${index}`).post(FORGOT, { login });
      answers.push({ status, text, headers: rawHeaders.join("\n").replace(/Date\n.*/, "") });
    }
    expect(answers[0]).toMatchObject({ status: 202, text: '{"status":"accepted"}' });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    await quiet();
    expect(app.notices.map(({ kind, user }) => [kind, user.id])).toEqual([["password-reset", "id-ada"]]);
  });

  test("does the same store calls whoever is named", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    const calls: string[] = [];
    const change = store.change.bind(store);
    store.change = (owner, what) => {
      calls.push(`change ${Object.keys(what).join()}`);
      return change(owner, what);
    };
    await app.client().post(FORGOT, { login: "ada" });
    await app.client().post(FORGOT, { login: "nobody" });
    for (let count = 0; count < 5; count++) await app.client().post(FORGOT, { login: "ada" });
    expect(calls).toHaveLength(7);
    expect(new Set(calls).size).toBe(1);
  });

  test("links nobody gets fill no store", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    const asks = Array.from({ length: 300 }, (_, count) =>
      app.client(`192.0.2.${count % 200}`).post(FORGOT, { login: `nobody${count}` }),
    );
    await Promise.all(asks);
    const held = await Promise.all(
      [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"].map((letter) =>
        store.listOf(`no person ${letter}`),
      ),
    );
    expect(held.flat().length).toBeGreaterThan(30);
    expect(held.flat().length).toBeLessThanOrEqual(64);
  });

  test("links come from baseUrl, whatever the request says of its host", async () => {
    const app = await accountsApp();
    await person(app);
    await app.client().post(FORGOT, { login: "ada" }, { "x-forwarded-host": "evil.example", forwarded: "host=evil" });
    const refused = await app.client().post(FORGOT, { login: "ada" }, { host: "evil.example" });
    expect(refused.status).toBe(400);
    const [notice] = await noticesOf(app, "password-reset", 1);
    expect(notice?.link).toMatch(/^http:\/\/localhost:3000\/reset-password\?token=[\w-]{43}$/);
    expect(notice?.expiresAt).toBe(app.clock.now() + 1_200_000);
    expect(app.notices).toHaveLength(1);
  });

  test("strangers cause five mails an hour, and the owner always holds a link that lives or gets one", async () => {
    const app = await accountsApp();
    await person(app);
    let sent = 0;
    let last = 0;
    for (let minute = 0; minute < 120; minute++) {
      for (const address of ["192.0.2.1", "198.51.100.1", "203.0.113.1"])
        await app.client(address).post(FORGOT, { login: "ada" });
      await quietly();
      if (app.notices.length > sent) last = app.clock.now();
      sent = app.notices.length;
      expect(app.clock.now() - last).toBeLessThan(1_200_000);
      if (minute === 59) expect(sent).toBeLessThanOrEqual(5);
      app.clock.advance(60_000);
    }
    expect(sent).toBeLessThanOrEqual(10);
    expect(app.events.filter(({ reason }) => reason === "password-forgot-account").length).toBeGreaterThan(100);
  });

  test("is limited by address, without a word", async () => {
    const app = await accountsApp({}, { loginLimits: { address: { limit: 2, windowSeconds: 3600 } } });
    for (const login of ["ada", "bob", "eve"]) await person(app, login);
    for (const login of ["ada", "bob", "eve"])
      expect((await app.client("192.0.2.1").post(FORGOT, { login })).status).toBe(202);
    await quiet();
    expect(app.notices).toHaveLength(2);
    expect(app.events.find(({ reason }) => reason === "password-forgot-address")).toMatchObject({
      event: "excess_rate_limit_exceeded",
      sourceIp: "192.0.2.1",
    });
    await app.client("192.0.2.2").post(FORGOT, { login: "eve" });
    await noticesOf(app, "password-reset", 3);
    app.clock.advance(HOUR_MS);
    await app.client("192.0.2.1").post(FORGOT, { login: "eve" });
    await noticesOf(app, "password-reset", 4);
  });

  test("does not exist without notify", async () => {
    const app = await accountsApp({ notify: undefined });
    expect((await app.client().post(FORGOT, { login: "ada" })).status).toBe(404);
    expect((await app.client().post("/account/password/reset", { token: "x", password: "y" })).status).toBe(404);
  });

  test.each([
    ["rejects", () => Promise.reject(new Error("ada@example.com"))],
    [
      "throws",
      () => {
        throw new Error("ada@example.com");
      },
    ],
  ])("a notify that %s changes no answer and is an event", async (_name, notify) => {
    const app = await accountsApp({ notify });
    await person(app);
    expect((await app.client().post(FORGOT, { login: "ada" })).status).toBe(202);
    await quiet();
    const events = app.events.filter(({ event }) => event === "portcullis_notice_failed");
    expect(events).toMatchObject([{ reason: "password-reset-failed", subject: "id-ada" }]);
    expect(JSON.stringify(app.events)).not.toContain("@example.com");
  });

  test("a notify that hangs changes no answer, and the app closes", async () => {
    const timers = vi.spyOn(globalThis, "setTimeout");
    onTestFinished(() => timers.mockRestore());
    const app = await accountsApp({ notify: () => new Promise(() => undefined) });
    await person(app);
    expect((await app.client().post(FORGOT, { login: "ada" })).status).toBe(202);
    await quiet();
    const began = performance.now();
    await app.security.close();
    expect(performance.now() - began).toBeLessThan(8000);
    const failed = app.events.filter(({ event }) => event === "portcullis_notice_failed");
    expect(failed.map(({ reason }) => reason)).toEqual(["password-reset-late"]);
    const timer = timers.mock.results.find((_one, call) => timers.mock.calls[call]?.[1] === 30_000);
    expect((timer?.value as NodeJS.Timeout).hasRef(), "a timer that keeps the process").toBe(false);
  }, 15_000);

  test("a store that fails is a clear answer, the same for all, and nothing is sent", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    store.change = () => Promise.reject(new Error("down"));
    for (const login of ["ada", "nobody"]) {
      const answer = await app.client().post(FORGOT, { login });
      expect([answer.status, answer.headers["retry-after"]]).toEqual([503, "1"]);
    }
    await quiet();
    expect(app.notices).toEqual([]);
  });

  test("asking while the store fails uses up no mail: the owner gets a link when it is back, and the limit holds then", async () => {
    const store = new MemoryCredentialStore();
    const app = await accountsApp({ stores: { credentials: store } });
    await person(app);
    const change = store.change.bind(store);
    store.change = () => Promise.reject(new Error("down"));
    for (let turn = 0; turn < 6; turn++) expect((await app.client().post(FORGOT, { login: "ada" })).status).toBe(503);
    store.change = change;
    for (let turn = 0; turn < 6; turn++) expect((await app.client().post(FORGOT, { login: "ada" })).status).toBe(202);
    await quiet();
    expect(app.notices).toHaveLength(3);
  });
});

async function quietly(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
