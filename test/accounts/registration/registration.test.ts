import type { AccountUser, AccountUsers } from "portcullis/accounts";
import { describe, expect, test } from "vitest";
import { InvalidInputError } from "../../../src/core/portcullis-error.js";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { accountsApp, type AccountsApp, PASSWORD, person } from "../support/app.js";
import { NEW_PASSWORD, noticesOf, quiet, tokenOf } from "../support/links.js";

const REGISTER = "/account/register";
const VERIFY = "/account/email/verify";
const ADA = "ada@example.com";

/** An app whose `users.create` inserts, and refuses a name that is taken. */
async function registrationApp(
  settings: Parameters<typeof accountsApp>[0] = {},
  security: Parameters<typeof accountsApp>[1] = {},
): Promise<AccountsApp & { readonly created: string[] }> {
  const users = new Map<string, AccountUser>();
  const created: string[] = [];
  const app = await accountsApp(
    {
      users: {
        findByLogin: (login) => [...users.values()].find((user) => user.login === login.toLowerCase()),
        findById: (id) => users.get(id),
        create: ({ login, email }) => {
          if ([...users.values()].some((user) => user.login === login.toLowerCase())) return undefined;
          created.push(login);
          const user = {
            id: `id-${users.size}`,
            login: login.toLowerCase(),
            email,
            emailVerified: email !== undefined,
          };
          users.set(user.id, user);
          return user;
        },
      },
      ...settings,
    },
    security,
  );
  return { ...app, users, created };
}

describe("POST /register with notify", () => {
  test("sends a link, and the browser that registered finishes by it", async () => {
    const app = await registrationApp();
    const browser = app.client();
    expect(await browser.post(REGISTER, { login: ADA, password: PASSWORD })).toMatchObject({
      status: 202,
      text: '{"status":"accepted"}',
    });
    expect((await browser.get("/me")).status).toBe(401);
    expect(app.created).toEqual([]);
    const [notice] = await noticesOf(app, "verify-email", 1);
    expect(notice).toMatchObject({ user: { login: ADA, email: ADA }, expiresAt: app.clock.now() + 86_400_000 });
    expect(notice?.link).toMatch(/^http:\/\/localhost:3000\/verify-email\?token=[\w-]{43}$/);
    expect((await browser.post(VERIFY, { token: tokenOf(notice) })).text).toBe('{"status":"done"}');
    expect((await browser.get("/me")).json()).toMatchObject({ id: "id-0", methods: [{ method: "pwd" }] });
    expect([...browser.cookies.keys()].some((name) => name.includes("register"))).toBe(false);
    expect(app.users.get("id-0")).toMatchObject({ login: ADA, email: ADA, emailVerified: true });
    expect((await app.client().logIn(ADA)).status).toBe(200);
    expect(app.events.filter(({ event }) => event === "user_created")).toMatchObject([{ subject: "id-0" }]);
    expect((await browser.post(VERIFY, { token: tokenOf(notice) })).status).toBe(401);
  });

  test("the cookie is bound to the host, not readable by scripts, and only sent over https", async () => {
    const app = await registrationApp(
      { baseUrl: "https://app.example.com" },
      { debug: false, trustedHosts: ["127.0.0.1", "app.example.com"] },
    );
    const answer = await app
      .client()
      .post(REGISTER, { login: ADA, password: PASSWORD }, { "x-forwarded-proto": "https" });
    expect(answer.headers["set-cookie"]).toEqual([
      expect.stringMatching(
        /^__Host-portcullis_register=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=86400$/,
      ),
    ]);
  });

  test("answers the same for a free and a taken name; the owner is told", async () => {
    const app = await registrationApp();
    app.users.set("id-ada", { id: "id-ada", login: ADA, email: "ada@home.example" });
    app.users.set("id-bob", { id: "id-bob", login: "bob@example.com", email: "bob@example.com", disabled: true });
    const answers = [];
    for (const [index, login] of [ADA, "free@example.com", "bob@example.com"].entries()) {
      const { status, text, rawHeaders } = await app
        .client(`192.0.2.${index}`)
        .post(REGISTER, { login, password: PASSWORD });
      const headers = rawHeaders
        .join("\n")
        .replace(/Date\n.*/, "")
        .replace(/_register=[\w-]{43}/, "_register=…");
      answers.push({ status, text, headers });
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[2]).toEqual(answers[0]);
    await noticesOf(app, "verify-email", 1);
    await quiet();
    expect(app.notices.map(({ kind, user, link }) => [kind, user.email, link === undefined]).sort()).toEqual([
      ["account-exists", "ada@home.example", true],
      ["verify-email", "free@example.com", false],
    ]);
  });

  test("a password against the rules is refused the same for a free and a taken name", async () => {
    const app = await registrationApp();
    app.users.set("id-ada", { id: "id-ada", login: ADA, email: ADA });
    for (const login of [ADA, "free@example.com"]) {
      const answer = await app.client().post(REGISTER, { login, password: "short" });
      expect([answer.status, answer.json()]).toMatchObject([422, { reasons: ["too-short"] }]);
    }
  });

  const badLogins: readonly [string, string][] = [
    ["a header after a line break", "ada@example.com\r\nBcc: eve@example.com"],
    ["a line break alone", "ada@example.com\n"],
    ["two addresses", "ada@example.com,eve@example.com"],
    ["a name beside the address", "Ada <ada@example.com>"],
    ["a quoted part", '"ada eve"@example.com'],
    ["HTML", "<script>alert(1)</script>@example.com"],
    ["two at signs", "ada@eve@example.com"],
    ["no host", "ada@"],
    ["an option of a mail program", "-X/eve.log@example.com"],
    ["a NUL", "ada\u0000@example.com"],
    ["a line separator", "ada\u2028"],
    ["a text direction", "ada\u202e"],
    ["a space at the end", "ada "],
    ["nothing", ""],
    ["256 characters", "a".repeat(256)],
  ];
  test.each(badLogins)("refuses a login with %s, and repeats nothing of it", async (_name, login) => {
    const app = await registrationApp();
    const answer = await app.client().post(REGISTER, { login, password: PASSWORD });
    expect(answer.status).toBe(400);
    for (const part of ["eve", "Bcc", "script", "alert"]) expect(answer.text).not.toContain(part);
    await quiet();
    expect(app.notices).toEqual([]);
  });

  test.each([
    "ada+tag@example.com",
    "ädä@exämple.com",
    "o'neill@example.co.uk",
    "ada lovelace",
    "Ada",
    "a".repeat(255),
  ])("accepts the login %j", async (login) => {
    const app = await registrationApp();
    expect((await app.client().post(REGISTER, { login, password: PASSWORD })).status).toBe(202);
    const [notice] = await noticesOf(app, "verify-email", 1);
    expect(notice?.user).toEqual(login.includes("@") ? { login, email: login } : { login });
  });

  test("is limited: five mails an hour to one name, three of them from one address, and says nothing", async () => {
    const app = await registrationApp();
    const ask = async (address: string): Promise<number> => {
      const { status } = await app.client(address).post(REGISTER, { login: ADA, password: PASSWORD });
      expect(status).toBe(202);
      await quiet();
      return app.notices.length;
    };
    for (let count = 0; count < 4; count++) await ask("192.0.2.1");
    expect(app.notices).toHaveLength(3);
    expect(await ask("198.51.100.1")).toBe(4);
    expect(await ask("198.51.100.2")).toBe(5);
    expect(await ask("198.51.100.3")).toBe(5);
    expect(app.events.filter(({ reason }) => reason === "register-account")).toHaveLength(2);
    app.clock.advance(3_600_000);
    expect(await ask("192.0.2.1")).toBe(6);
  });

  test("registering while the store fails uses up no mail: it is kept when the store is back, and the limit holds then", async () => {
    const store = new MemoryCredentialStore();
    const app = await registrationApp({ stores: { credentials: store } });
    const ask = async (): Promise<number> =>
      (await app.client().post(REGISTER, { login: ADA, password: PASSWORD })).status;
    const change = store.change.bind(store);
    store.change = () => Promise.reject(new Error("down"));
    for (let turn = 0; turn < 6; turn++) expect(await ask()).toBe(503);
    store.change = change;
    for (let turn = 0; turn < 4; turn++) expect(await ask()).toBe(202);
    await quiet();
    expect(app.notices).toHaveLength(3);
  });

  describe("of a name whose mails strangers have used up", () => {
    const STRANGE = "the password of a stranger";

    /** Strangers register the name until no more mail is sent. Returns their links, which are in its mailbox. */
    async function usedUp(): Promise<{ app: AccountsApp; created: readonly string[]; links: string[] }> {
      const app = await registrationApp();
      for (const address of ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"])
        await app.client(address).post(REGISTER, { login: ADA, password: STRANGE });
      return { app, created: app.created, links: (await noticesOf(app, "verify-email", 5)).map(tokenOf) };
    }

    test("the owner's browser finishes its own registration by any link in the mailbox", async () => {
      const { app, links } = await usedUp();
      const owner = app.client("198.51.100.1");
      const answer = await owner.post(REGISTER, { login: ADA, password: PASSWORD });
      expect([answer.status, answer.headers["set-cookie"]?.length]).toEqual([202, 1]);
      await quiet();
      expect(app.notices).toHaveLength(5);
      expect((await owner.post(VERIFY, { token: links[2] ?? "" })).text).toBe('{"status":"done"}');
      expect((await app.client().logIn(ADA, PASSWORD)).status).toBe(200);
      expect((await app.client().logIn(ADA, STRANGE)).status).toBe(401);
    });

    test("another browser still needs the password of the link's registration", async () => {
      const { app, created, links } = await usedUp();
      await app.client("198.51.100.1").post(REGISTER, { login: ADA, password: PASSWORD });
      for (const password of [undefined, PASSWORD]) {
        const answer = await app.client("198.51.100.1").post(VERIFY, { token: links[0] ?? "", password });
        expect(answer.status).toBe(401);
      }
      expect(created).toEqual([]);
    });

    test("a link to another spelling, which may be a stranger's mailbox, finishes nothing of theirs", async () => {
      const app = await registrationApp();
      const stranger = app.client("192.0.2.1");
      const spelling = "\uFF21da@example.com";
      await app.client("192.0.2.2").post(REGISTER, { login: spelling, password: STRANGE });
      const [notice] = await noticesOf(app, "verify-email", 1);
      await stranger.post(REGISTER, { login: ADA, password: STRANGE });
      await noticesOf(app, "verify-email", 2);
      expect((await stranger.post(VERIFY, { token: tokenOf(notice) })).status).toBe(401);
      expect(app.created).toEqual([]);
    });

    test("an address that has used up its own keeps nothing, and gets no cookie", async () => {
      const { app } = await usedUp();
      const answer = await app.client("192.0.2.1").post(REGISTER, { login: ADA, password: PASSWORD });
      expect([answer.status, answer.headers["set-cookie"]]).toEqual([202, undefined]);
    });
  });

  test("a person with many names gets five mails an hour, and no answer tells that they are one", async () => {
    const users = { findById: () => undefined, create: () => undefined };
    const ada = { id: "id-ada", login: "ada", email: ADA };
    const app = await accountsApp({
      users: { ...users, findByLogin: (login) => (login.startsWith("ada") ? ada : undefined) },
    });
    const ask = (name: string, count: number) =>
      app.client(`192.0.2.${count}`).post(REGISTER, { login: `${name}+${count}@example.com`, password: PASSWORD });
    const answers: string[] = [];
    for (let count = 0; count < 8; count++)
      for (const name of ["ada", "free"]) {
        const { status, text, headers } = await ask(name, count);
        answers.push(JSON.stringify([status, text, headers["set-cookie"]?.map((line) => line.replace(/=[^;]*/, ""))]));
      }
    expect(new Set(answers).size).toBe(1);
    await noticesOf(app, "verify-email", 8);
    await quiet();
    expect(app.notices.filter(({ kind }) => kind === "account-exists")).toHaveLength(5);
    expect(app.events.filter(({ reason }) => reason === "register-person")).toHaveLength(3);
  });

  test("keeps at most twenty registrations of a name, the newest", async () => {
    const app = await registrationApp();
    for (let count = 0; count < 30; count++) {
      await app.client().post(REGISTER, { login: ADA, password: PASSWORD });
      app.clock.advance(count % 3 === 2 ? 3_600_000 : 1);
    }
    const sent = await noticesOf(app, "verify-email", 30);
    const reasons: unknown[] = [];
    for (const index of [9, 10, 29]) {
      await app.client(`192.0.2.${index}`).post(VERIFY, { token: tokenOf(sent[index]), password: "wrong" });
      reasons.push(app.events.at(-1)?.reason);
    }
    expect(reasons).toEqual(["registration-link", "registration-password", "registration-password"]);
  });
});

describe("POST /email/verify", () => {
  async function registered(): Promise<{
    app: Awaited<ReturnType<typeof registrationApp>>;
    token: string;
    browser: ReturnType<AccountsApp["client"]>;
  }> {
    const app = await registrationApp();
    const browser = app.client();
    await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    return { app, browser, token: tokenOf((await noticesOf(app, "verify-email", 1))[0]) };
  }

  test.each([
    ["another browser without the password", { password: undefined }, "missing-credentials"],
    ["another browser with an empty password", { password: "" }, "missing-credentials"],
    ["another browser with a wrong password", { password: NEW_PASSWORD }, "invalid-credentials"],
    ["a token that never was", { token: "A".repeat(43), own: true }, "invalid-credentials"],
    ["a token that has ended", { advance: 86_400_000, own: true }, "invalid-credentials"],
  ] as const)("refuses %s, and spends nothing; the allowed twin is accepted", async (_name, given, code) => {
    const { app, browser, token } = await registered();
    const from = "own" in given ? browser : app.client();
    const advance = "advance" in given ? given.advance : 0;
    app.clock.advance(advance);
    const body = {
      token: "token" in given ? given.token : token,
      ...("password" in given ? { password: given.password } : {}),
    };
    const refused = await from.post(VERIFY, body);
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([401, code]);
    expect(app.created).toEqual([]);
    if (advance > 0) return;
    const twin = await app.client().post(VERIFY, { token, password: PASSWORD });
    expect([twin.status, app.created]).toEqual([200, [ADA]]);
  });

  test("one who registers the address of somebody else gets nothing by her click", async () => {
    const app = await registrationApp();
    const attacker = app.client("203.0.113.1");
    await attacker.post(REGISTER, { login: ADA, password: "the attacker's own password" });
    const victim = app.client();
    await victim.post(REGISTER, { login: ADA, password: PASSWORD });
    const [evil, own] = await noticesOf(app, "verify-email", 2);
    expect((await victim.post(VERIFY, { token: tokenOf(evil) })).status).toBe(401);
    expect((await victim.post(VERIFY, { token: tokenOf(evil), password: PASSWORD })).status).toBe(401);
    expect(app.created).toEqual([]);
    expect((await victim.post(VERIFY, { token: tokenOf(own) })).status).toBe(200);
    expect((await attacker.post(VERIFY, { token: tokenOf(evil) })).status).toBe(401);
    expect((await app.client().logIn(ADA, "the attacker's own password")).status).toBe(401);
    expect(app.created).toEqual([ADA]);
  });

  test("of 100 parallel uses of one token one succeeds", async () => {
    const { app, browser, token } = await registered();
    const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const uses = Array.from({ length: 100 }, () => app.client().post(VERIFY, { token }, { cookie }));
    const statuses = (await Promise.all(uses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.every((status) => [200, 401, 409].includes(status))).toBe(true);
    expect(app.created).toEqual([ADA]);
  });

  test("of two registrations of a name, finished at the same time, one makes the person", async () => {
    const app = await registrationApp({ storeTimeoutMs: 2000 });
    const browsers = [app.client(), app.client()];
    for (const browser of browsers) await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    const sent = await noticesOf(app, "verify-email", 2);
    const answers = await Promise.all(
      browsers.map((browser, index) => browser.post(VERIFY, { token: tokenOf(sent[index]) })),
    );
    expect(answers.map(({ status }) => status).filter((status) => status === 200)).toHaveLength(1);
    expect(app.created).toEqual([ADA]);
  });

  test("guesses of the password are limited as log-ins are", async () => {
    const app = await registrationApp({}, { loginLimits: { accountAndAddress: { limit: 3, windowSeconds: 3600 } } });
    await app.client().post(REGISTER, { login: ADA, password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    const guess = async (password: string): Promise<number> =>
      (await app.client("203.0.113.1").post(VERIFY, { token, password })).status;
    expect([await guess("a"), await guess("b"), await guess("c"), await guess("d")]).toEqual([401, 401, 401, 429]);
    expect(await guess(PASSWORD)).toBe(429);
    expect((await app.client("203.0.113.2").post(VERIFY, { token, password: PASSWORD })).status).toBe(200);
  });

  const failures: readonly [string, NonNullable<AccountUsers["create"]>, number][] = [
    [
      "throws",
      () => {
        throw new Error("ada@example.com");
      },
      503,
    ],
    ["rejects", () => Promise.reject(new Error("ada@example.com")), 503],
    ["returns nothing", () => undefined, 409],
  ];
  test.each(failures)("when users.create %s, the token works again", async (_name, failing, status) => {
    let isFailing = true;
    const users = new Map<string, AccountUser>();
    const app = await accountsApp({
      users: {
        findByLogin: (login) => [...users.values()].find((user) => user.login === login),
        findById: (id) => users.get(id),
        create: (account) => {
          const { login } = account;
          if (isFailing) return failing(account);
          users.set("1", { id: "1", login });
          return users.get("1");
        },
      },
    });
    const browser = app.client();
    await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    const refused = await browser.post(VERIFY, { token });
    expect(refused.status).toBe(status);
    expect(refused.text).not.toContain("ada@");
    expect((await browser.get("/me")).status).toBe(401);
    isFailing = false;
    expect((await browser.post(VERIFY, { token })).status).toBe(200);
    expect((await browser.get("/me")).json()).toMatchObject({ id: "1" });
  });

  test.each([1, 2, 3, 4, 5])("when write %i of the store fails, the same call finishes it", async (failing) => {
    const store = new MemoryCredentialStore();
    const app = await registrationApp({ stores: { credentials: store } });
    const browser = app.client();
    await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    const change = store.change.bind(store);
    let writes = 0;
    store.change = (...given) => (++writes === failing ? Promise.reject(new Error("down")) : change(...given));
    const first = await browser.post(VERIFY, { token });
    expect(first.status).toBe(failing <= 3 ? 503 : 200);
    app.clock.advance(10_000);
    if (first.status === 503) expect((await browser.post(VERIFY, { token })).status).toBe(200);
    expect((await browser.get("/me")).status).toBe(200);
    expect(app.created).toEqual([ADA]);
    expect((await browser.post(VERIFY, { token })).status).toBe(401);
    expect((await app.client().logIn(ADA)).status).toBe(200);
  });

  test("the service must be able to deliver the log-in before the person is made", async () => {
    const app = await registrationApp({}, { jwt: false });
    const browser = app.client();
    await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    expect((await browser.post(VERIFY, { token, deliver: "tokens" })).status).toBe(400);
    expect(app.created).toEqual([]);
    expect((await browser.post(VERIFY, { token })).status).toBe(200);
  });

  test("a claim whose process has died ends by itself", async () => {
    const store = new MemoryCredentialStore();
    const app = await registrationApp({ stores: { credentials: store } });
    const browser = app.client();
    await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    const change = store.change.bind(store);
    let writes = 0;
    store.change = (...given) => (++writes > 1 ? Promise.reject(new Error("down")) : change(...given));
    expect((await browser.post(VERIFY, { token })).status).toBe(503);
    store.change = change;
    app.clock.advance(29_999);
    expect((await browser.post(VERIFY, { token })).status).toBe(409);
    app.clock.advance(1);
    expect((await browser.post(VERIFY, { token })).status).toBe(200);
    expect(app.created).toEqual([ADA]);
  });

  test("a person who came to be otherwise is never taken over", async () => {
    const { app, browser, token } = await registered();
    app.users.set("id-other", { id: "id-other", login: ADA, email: ADA });
    const refused = await browser.post(VERIFY, { token });
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([409, "conflict"]);
    expect((await app.client().logIn(ADA)).status).toBe(401);
  });

  test("the new person goes through the gate: a factor that is required is due", async () => {
    const app = await registrationApp({ factors: { required: () => true } });
    const browser = app.client();
    await browser.post(REGISTER, { login: ADA, password: PASSWORD });
    const token = tokenOf((await noticesOf(app, "verify-email", 1))[0]);
    expect((await browser.post(VERIFY, { token })).json()).toMatchObject({ status: "enrolment-required" });
    expect((await browser.get("/me")).status).toBe(401);
  });

  test("delivers tokens to a program, by the password", async () => {
    const { app, token } = await registered();
    const answer = await app.client().post(VERIFY, { token, password: PASSWORD, deliver: "tokens" });
    expect(answer.json()).toMatchObject({ status: "done", tokenType: "Bearer" });
  });

  test("no event has a token, a password or an address", async () => {
    const { app, browser, token } = await registered();
    await app.client().post(VERIFY, { token });
    await app.client().post(`${VERIFY}?token=${token}`, { token, password: NEW_PASSWORD });
    await browser.post(VERIFY, { token });
    const events = JSON.stringify(app.events);
    const secret = [...browser.cookies.values()];
    for (const text of [token, PASSWORD, NEW_PASSWORD, "argon2", "@example", ...secret])
      expect(events).not.toContain(text);
  });
});

describe("POST /register without notify", () => {
  test("makes the person at once", async () => {
    const app = await registrationApp({ notify: undefined });
    const browser = app.client();
    expect((await browser.post(REGISTER, { login: "ada", password: PASSWORD })).text).toBe('{"status":"done"}');
    expect((await browser.get("/me")).json()).toMatchObject({ id: "id-0" });
    expect([...browser.cookies.keys()].some((name) => name.includes("register"))).toBe(false);
    expect(app.users.get("id-0")).toMatchObject({ login: "ada", email: undefined });
    const taken = await app.client().post(REGISTER, { login: "ADA", password: PASSWORD });
    expect([taken.status, (taken.json() as { code: string }).code]).toEqual([409, "conflict"]);
    expect((await app.client().post(VERIFY, { token: "A".repeat(43) })).status).toBe(404);
  });

  test("asks how the log-in is delivered before it makes the person", async () => {
    const app = await registrationApp({ notify: undefined }, { jwt: false });
    const refused = await app.client().post(REGISTER, { login: "ada", password: PASSWORD, deliver: "tokens" });
    expect([refused.status, (refused.json() as { code: string }).code]).toEqual([400, "invalid-request"]);
    expect(app.created).toEqual([]);
    expect((await app.client().post(REGISTER, { login: "ada", password: PASSWORD })).status).toBe(200);
  });

  test.each([
    ["goes on", 86_399_999, "done"],
    ["has ended, so that the name is taken", 86_400_000, "This name is taken"],
  ])("a registration that could not be finished %s", async (_name, ms, answer) => {
    const store = new MemoryCredentialStore();
    const app = await registrationApp({ notify: undefined, stores: { credentials: store } });
    const change = store.change.bind(store);
    let writes = 0;
    store.change = (...given) => (++writes === 3 ? Promise.reject(new Error("down")) : change(...given));
    expect((await app.client().post(REGISTER, { login: "ada", password: PASSWORD })).status).toBe(503);
    expect(app.created).toEqual(["ada"]);
    app.clock.advance(ms);
    expect((await app.client().post(REGISTER, { login: "ada", password: PASSWORD })).text).toContain(answer);
  });

  test.each([
    ["refused, and the app adds somebody of that name", () => Promise.reject(new Error("reserved")), 409, 401],
    ["refused by an error of this library", () => Promise.reject(new InvalidInputError("reserved")), 409, 401],
    ["late, and then made the person", () => new Promise<never>(() => undefined), 200, 200],
    ["answered with something else, and made the person", () => ({}) as AccountUser, 200, 200],
  ] as const)(
    "a registration that users.create %s",
    async (_name, create, status, logIn) => {
      const users = new Map<string, AccountUser>();
      const app = await accountsApp({
        notify: undefined,
        users: { findByLogin: (login) => users.get(login), findById: (id) => users.get(id), create },
      });
      const register = () => app.client().post(REGISTER, { login: "root", password: PASSWORD });
      expect((await register()).status).toBe(503);
      users.set("root", { id: "root", login: "root", roles: ["admin"] });
      expect((await register()).status).toBe(status);
      expect((await app.client().logIn("root")).status).toBe(logIn);
    },
    15_000,
  );

  test("an address that was not verified is not passed as one", async () => {
    const app = await registrationApp({ notify: undefined });
    await app.client().post(REGISTER, { login: ADA, password: PASSWORD });
    expect(app.users.get("id-0")).toMatchObject({ login: ADA, email: undefined, emailVerified: false });
  });

  test("is limited by address, which it says", async () => {
    const limits = { address: { limit: 2, windowSeconds: 60 } };
    const app = await registrationApp({ notify: undefined }, { loginLimits: limits });
    const statuses = [];
    for (const login of ["a", "b", "c"])
      statuses.push((await app.client().post(REGISTER, { login, password: PASSWORD })).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect((await app.client("192.0.2.1").post(REGISTER, { login: "c", password: PASSWORD })).status).toBe(200);
  });

  test("of 100 parallel registrations of one name one succeeds", async () => {
    const app = await registrationApp({ notify: undefined, storeTimeoutMs: 5000 });
    const all = Array.from({ length: 100 }, (_, count) =>
      app.client(`192.0.2.${count}`).post(REGISTER, { login: "ada", password: `${PASSWORD} ${count}` }),
    );
    const statuses = (await Promise.all(all)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.every((status) => [200, 409, 503].includes(status))).toBe(true);
    expect(app.created).toEqual(["ada"]);
    expect((await app.client().logIn("ada", `${PASSWORD} ${statuses.indexOf(200)}`)).status).toBe(200);
  });

  test.each([2, 3, 4])(
    "when write %i of the store fails, the same call finishes it, and no other does",
    async (failing) => {
      const store = new MemoryCredentialStore();
      const app = await registrationApp({ notify: undefined, stores: { credentials: store } });
      const change = store.change.bind(store);
      let writes = 0;
      store.change = (...given) => (++writes === failing ? Promise.reject(new Error("down")) : change(...given));
      const first = await app.client().post(REGISTER, { login: "ada", password: PASSWORD });
      expect(first.status).toBe(503);
      app.clock.advance(10_000);
      if (failing > 2)
        expect((await app.client().post(REGISTER, { login: "ada", password: NEW_PASSWORD })).status).toBe(409);
      const browser = app.client();
      expect((await browser.post(REGISTER, { login: "ada", password: PASSWORD })).status).toBe(200);
      expect((await browser.get("/me")).status).toBe(200);
      expect(app.created).toEqual(["ada"]);
    },
  );
});

test.each([
  ["users.create", { users: { findByLogin: () => undefined, findById: () => undefined } }],
  ["passwords", { passwords: false, factors: { totp: false } }],
] as const)("without %s there is no registration", async (_name, settings) => {
  const app = await registrationApp(settings);
  for (const path of [REGISTER, VERIFY]) expect((await app.client().post(path, { login: "a" })).status).toBe(404);
});

test("an existing person of support/app.ts is left alone", async () => {
  const app = await registrationApp();
  await person(app, "ada");
  await app.client().post(REGISTER, { login: "ada", password: NEW_PASSWORD });
  await noticesOf(app, "account-exists", 1);
  expect((await app.client().logIn("ada")).status).toBe(200);
});
