import argon2 from "argon2";
import bcrypt from "bcrypt";
import type { AccountUser, Argon2 } from "portcullis/accounts";
import { testSecret } from "portcullis/testing";
import { describe, expect, test } from "vitest";
import type { Answer } from "../../support/serve.js";
import { accountsApp, type AccountsApp, type Client, NO_GUARD, PASSWORD, person } from "../support/app.js";

const WRONG = "not the password at all";

/** What a client sees, without the values of headers that differ from one answer to the next. */
function seen({ status, text, rawHeaders, headers }: Answer): unknown {
  const names = rawHeaders.filter((_one, index) => index % 2 === 0);
  return { status, text, names, cookies: headers["set-cookie"], challenge: headers["www-authenticate"] };
}

async function guess(client: Client, times: number, login = "ada"): Promise<void> {
  for (let i = 0; i < times; i += 1) expect((await client.logIn(login, WRONG)).status).toBe(401);
}

const named = (app: AccountsApp, name: string): unknown[] =>
  app.events.filter(({ event }) => event === name).map(({ reason, subject }) => ({ reason, subject }));

/** The package argon2, with its calls counted: how many comparisons, and with which hashes. */
function counting(): Argon2 & { readonly made: string[]; readonly compared: string[] } {
  const made: string[] = [];
  const compared: string[] = [];
  return {
    made,
    compared,
    hash: async (...given) => {
      const hash = await argon2.hash(...given);
      made.push(hash);
      return hash;
    },
    verify: (...given) => {
      compared.push(given[0]);
      return argon2.verify(...given);
    },
  };
}

describe("failures in a row", () => {
  test("disable the password, once, with one event and one notice; the answer stays that of a wrong password", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    const wrong = await app.client().logIn("ada", WRONG);
    await guess(app.client(), 8);
    expect(named(app, "authn_login_lock")).toEqual([]);
    await guess(app.client(), 3);
    expect(named(app, "authn_login_lock")).toEqual([{ reason: "password-disabled", subject: "id-ada" }]);
    expect(app.notices.map(({ kind }) => kind)).toEqual(["password-disabled"]);
    const right = await app.client().logIn();
    expect(seen(right)).toEqual(seen(wrong));
    await app.accounts.passwords.set("id-ada", PASSWORD);
    expect((await app.client().logIn()).status).toBe(200);
  });

  test("end with a success, which is an event", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    expect((await app.client().logIn()).status).toBe(200);
    expect(named(app, "authn_login_successafterfail")).toEqual([]);
    for (let i = 0; i < 3; i += 1) {
      await guess(app.client(), 9);
      expect((await app.client().logIn()).status).toBe(200);
      expect(named(app, "authn_login_successafterfail")).toHaveLength(i + 1);
    }
    expect(named(app, "authn_login_lock")).toEqual([]);
  });

  test("are counted before the comparison: of 100 parallel guesses at most the cap are compared with the password", async () => {
    const hashing = counting();
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD, undefined, {
      argon2: hashing,
    });
    await person(app);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_one, index) => app.client(`10.0.${index}.1`).logIn("ada", WRONG)),
    );
    // Some find no place in the queue.
    expect(answers.every(({ status }) => status === 401 || status === 503)).toBe(true);
    const compared = hashing.compared.filter((hash) => hash === hashing.made[0]).length;
    expect(compared).toBeGreaterThan(0);
    expect(compared).toBeLessThanOrEqual(10);
    expect(named(app, "authn_login_lock").length).toBeLessThanOrEqual(1);
  });
});

describe("a device that the person has logged in with", () => {
  test("keeps its owner in while strangers guess, in the password and in the counters of log-ins", async () => {
    const app = await accountsApp(
      { passwords: { maxConsecutiveFailures: 10 } },
      { loginLimits: { account: { limit: 10 }, maxConsecutiveFailures: 10 } },
    );
    await person(app);
    const owner = app.client("10.0.0.1");
    expect((await owner.logIn()).status).toBe(200);
    const statuses: number[] = [];
    for (let i = 0; i < 30; i += 1) statuses.push((await app.client(`10.0.1.${i}`).logIn("ada", WRONG)).status);
    expect([statuses[0], statuses.at(-1)]).toEqual([401, 429]);
    expect(named(app, "authn_login_lock")).toHaveLength(1);
    expect((await owner.logIn()).status).toBe(200);
    expect((await app.client("10.0.2.1").logIn()).status).not.toBe(200);
    // What strangers have disabled stays so for strangers.
    expect(named(app, "authn_login_lock")).toHaveLength(1);
  });

  test("has failures of its own, which disable it and nothing else", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    const device = app.client();
    await device.logIn();
    const cookies = [...device.cookies.keys()];
    expect(cookies).toContain("portcullis_device");
    await guess(device, 12);
    expect(named(app, "authn_login_lock")).toEqual([{ reason: "device-disabled", subject: "id-ada" }]);
    expect(app.notices).toEqual([]);
    expect((await device.logIn()).status).toBe(401);
    expect((await app.client().logIn()).status).toBe(200);
  });

  test.each([
    ["upper case", "ADA"],
    ["white space around it", " ada "],
    ["the verified address", "ada@example.com"],
    ["the address in upper case", "ADA@EXAMPLE.COM"],
    ["the same name", "ada"],
  ])("has one count, whatever name it sends: %s", async (_spelling, other) => {
    const users = new Map<string, AccountUser>();
    const app = await accountsApp(
      {
        users: {
          findByLogin: (login) => {
            const name = login.trim().toLowerCase();
            return [...users.values()].find((user) => user.login === name || user.email === name);
          },
          findById: (id) => users.get(id),
        },
      },
      { loginLimits: { account: { limit: 6 }, accountAndAddress: { limit: 6 } } },
    );
    await person({ ...app, users }, "ada", { emailVerified: true });
    await person({ ...app, users }, "bob");
    const device = app.client("10.0.0.1");
    expect((await device.logIn()).status).toBe(200);
    for (const login of ["ada", other]) await guess(device, 3, login);
    expect((await device.logIn("ada", WRONG)).status).toBe(429);
    expect((await device.logIn(other, WRONG)).status).toBe(429);
    // Another person at the same device, and this one elsewhere.
    expect((await device.logIn("bob", WRONG)).status).toBe(401);
    expect((await app.client("10.0.0.2").logIn()).status).toBe(200);
  });

  test("is known by a cookie for this host alone, that scripts cannot read, for 400 days", async () => {
    const app = await accountsApp({}, { debug: false });
    await person(app);
    const answer = await app
      .client()
      .post("/account/login", { login: "ada", password: PASSWORD }, { "x-forwarded-proto": "https" });
    const cookie = answer.headers["set-cookie"]?.find((line) => line.includes("portcullis_device"));
    expect(cookie).toMatch(
      /^__Host-portcullis_device=[\w-]{22}(?:\.[\w-]{43}){3}; Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=34560000$/,
    );
    expect(cookie).not.toContain("ada");
  });

  test.each([
    ["a changed signature", (text: string) => `${text.slice(0, -1)}${text.endsWith("A") ? "B" : "A"}`],
    ["another id", (text: string) => `${text.startsWith("A") ? "B" : "A"}${text.slice(1)}`],
    ["no form", () => "1"],
  ])("a cookie with %s is a stranger's", async (_what, change) => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    const device = app.client();
    await device.logIn();
    await guess(app.client(), 10);
    const forged = app.client();
    forged.cookies.set("portcullis_device", change(device.cookies.get("portcullis_device") ?? ""));
    expect((await forged.logIn()).status).toBe(401);
    expect((await device.logIn()).status).toBe(200);
  });

  test("of another person is a stranger's, and so is one of a former password", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    await person(app, "bob");
    const bob = app.client();
    await bob.logIn("bob");
    const former = app.client();
    await former.logIn();
    await app.accounts.passwords.set("id-ada", PASSWORD);
    await guess(app.client(), 10);
    expect((await bob.logIn("ada")).status).toBe(401);
    expect((await former.logIn("ada")).status).toBe(401);
  });

  test("gives way to newer ones: a person has ten", async () => {
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD);
    await person(app);
    const devices = Array.from({ length: 11 }, () => app.client());
    for (const device of devices) {
      app.clock.advance(1000);
      expect((await device.logIn()).status).toBe(200);
    }
    // One that is known takes no second place.
    expect((await devices[10]?.logIn())?.status).toBe(200);
    await guess(app.client(), 10);
    const statuses = await Promise.all([0, 1, 10].map(async (index) => (await devices[index]?.logIn())?.status));
    expect(statuses).toEqual([401, 200, 200]);
  });
});

describe("nothing tells whether an account exists", () => {
  test("the same answer, byte for byte, and the same work for every way to fail", async () => {
    const hashing = counting();
    const app = await accountsApp({ passwords: { maxConsecutiveFailures: 10 } }, NO_GUARD, undefined, {
      argon2: hashing,
    });
    await person(app);
    await person(app, "bob", { disabled: true });
    await person(app, "eve");
    app.users.set("id-none", { id: "id-none", login: "none" });
    await guess(app.client(), 10, "eve");
    const ways: readonly (readonly [string, string])[] = [
      ["ada", WRONG],
      ["nobody", WRONG],
      ["bob", WRONG],
      ["bob", PASSWORD],
      ["eve", WRONG],
      ["eve", PASSWORD],
      ["none", WRONG],
    ];
    const answers = [];
    for (const [login, password] of ways) {
      const before = hashing.compared.length;
      answers.push(seen(await app.client().logIn(login, password)));
      expect(hashing.compared.length - before).toBe(1);
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    const long = [];
    for (const login of ["ada", "nobody", "eve"]) long.push(seen(await app.client().logIn(login, "x".repeat(5000))));
    for (const answer of long) expect(answer).toEqual(answers[0]);
  });
});

describe("what a log-in does for the password", () => {
  test.each([
    ["argon2", () => argon2.hash(PASSWORD, { type: 1, memoryCost: 1024, timeCost: 2, parallelism: 1 })],
    ["bcrypt", () => bcrypt.hash(PASSWORD, 4)],
  ])("an imported hash of %s lets in, and becomes one of ours", async (_what, make) => {
    const hashing = counting();
    const app = await accountsApp({}, {}, undefined, { argon2: hashing });
    app.users.set("1", { id: 1, login: "ada" });
    expect(await app.accounts.passwords.import(1, await make())).toBe(true);
    await guess(app.client(), 1);
    expect(hashing.made).toHaveLength(0);
    expect((await app.client().logIn()).status).toBe(200);
    expect(hashing.made).toHaveLength(1);
    expect((await app.client().logIn()).status).toBe(200);
    expect(hashing.made).toHaveLength(1);
    expect(hashing.compared.at(-1)).toBe(hashing.made[0]);
    expect(await app.accounts.passwords.import(1, await make())).toBe(false);
  });

  test("12 parallel log-ins with an imported hash all succeed", async () => {
    const app = await accountsApp({}, NO_GUARD);
    app.users.set("1", { id: 1, login: "ada" });
    await app.accounts.passwords.import(1, await bcrypt.hash(PASSWORD, 4));
    const answers = await Promise.all(Array.from({ length: 12 }, (_one, i) => app.client(`10.1.${i}.1`).logIn()));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  });

  test("the password stands in no event, notice or answer", async () => {
    const app = await accountsApp(
      { passwords: { maxConsecutiveFailures: 10, pepper: String(testSecret()) } },
      NO_GUARD,
    );
    const canary = "canary canary canary 31415";
    await person(app);
    const client = app.client();
    await client.logIn();
    const answers = [
      await app.client().logIn("ada", canary),
      await app.client().logIn("nobody", canary),
      await client.post("/account/password", { current: canary, password: canary }),
      await client.post("/account/password", { current: PASSWORD, password: canary.slice(0, 14) }),
      await client.post("/account/password", { current: PASSWORD, password: canary, [canary]: 1 }),
      await client.post("/account/password", { current: PASSWORD, password: canary }),
    ];
    expect(answers.at(-1)?.status).toBe(204);
    await expect(app.accounts.passwords.set("id-ada", "canary canary")).rejects.toThrow(/^(?!.*canary)/);
    await guess(app.client(), 10);
    const all = JSON.stringify([app.events, app.notices, answers.map(({ text, rawHeaders }) => [text, rawHeaders])]);
    expect(all).not.toContain("canary");
    expect(all).not.toContain("argon2");
    expect(all).not.toContain("correct horse");
  });
});
