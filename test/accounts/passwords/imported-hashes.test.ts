import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import argon2 from "argon2";
import bcrypt from "bcrypt";
import { sql } from "kysely";
import { openSqlite } from "portcullis/sql";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { HashQueue, HashUnavailableError } from "../../../src/api-key/keys/hash-queue.js";
import { MemoryCredentialStore } from "../../../src/stores/memory/credential-store.js";
import { accountsApp, type AccountsApp, NO_GUARD, PASSWORD, person } from "../support/app.js";

const WRONG = "not the password at all";
/** NFKC makes another text of it, so that an imported hash is compared with both. */
const WRONG_IN_TWO_FORMS = "ﬁne, not the password";
/** Owns the records of the costs. */
const OWNER = "no person, imported hashes";
const OURS = "$argon2id$v=19$m=19456,t=2,p=1$";
const ARGON2 = "$argon2i$v=19$m=1024,t=2,p=1$";

/** The parameters of each hash that a password was compared with. */
let compared: string[] = [];
const counted = {
  hash: argon2.hash,
  verify: (...given: Parameters<typeof argon2.verify>) => {
    compared.push(given[0].split("$").slice(0, 4).join("$") + "$");
    return argon2.verify(...given);
  },
};

beforeEach(() => {
  const used: { compare(text: string, hash: string): Promise<boolean> } = bcrypt;
  const { compare } = bcrypt;
  vi.spyOn(used, "compare").mockImplementation((text, hash) => {
    compared.push(hash.slice(0, 7));
    return compare(text, hash);
  });
});
afterEach(() => void vi.restoreAllMocks());

async function start(store = new MemoryCredentialStore()): Promise<AccountsApp> {
  const settings = { passwords: { maxConsecutiveFailures: 10 }, stores: { credentials: store } };
  return accountsApp(settings, NO_GUARD, undefined, { argon2: counted });
}

/** The costs of the comparisons of a log-in, and its status. */
async function costs(app: AccountsApp, login: string, password: string): Promise<{ status: number; work: string[] }> {
  compared = [];
  const { status } = await app.client().logIn(login, password);
  return { status, work: compared.toSorted() };
}

const hashes = {
  argon2: () => argon2.hash(PASSWORD, { type: 1, memoryCost: 1024, timeCost: 2, parallelism: 1 }),
  bcrypt4: () => bcrypt.hash(PASSWORD, 4),
  bcrypt5: async () => (await bcrypt.hash(PASSWORD, 5)).replace("$2b$", "$2y$"),
};

async function imported(app: AccountsApp, login: string, hash: string, user = {}): Promise<void> {
  app.users.set(`id-${login}`, { id: `id-${login}`, login, ...user });
  expect(await app.accounts.passwords.import(`id-${login}`, hash)).toBe(true);
}

describe("the time of a refused log-in does not tell whose hash was imported", () => {
  const all = ["$2b$04$", "$2b$05$", ARGON2, OURS];
  test.each([
    ["a password", WRONG, all],
    ["a password with two forms", WRONG_IN_TWO_FORMS, [...all.slice(0, 3).flatMap((one) => [one, one]), OURS]],
  ])("%s costs the same work for every way to fail", async (_what, wrong, work) => {
    const app = await start();
    await person(app);
    await person(app, "bob", { disabled: true });
    await person(app, "eve");
    for (let i = 0; i < 10; i += 1) await app.client().logIn("eve", WRONG);
    app.users.set("id-none", { id: "id-none", login: "none" });
    await imported(app, "argon", await hashes.argon2());
    await imported(app, "four", await hashes.bcrypt4());
    await imported(app, "five", await hashes.bcrypt5());
    await imported(app, "gone", await hashes.bcrypt4(), { disabled: true });
    for (const login of ["ada", "nobody", "bob", "eve", "none", "argon", "four", "five", "gone"])
      expect({ login, ...(await costs(app, login, wrong)) }).toEqual({ login, status: 401, work: work.toSorted() });
    for (const login of ["bob", "eve", "gone"])
      expect({ login, ...(await costs(app, login, PASSWORD)) }).toEqual({ login, status: 401, work: all.toSorted() });
    // A right one costs its own comparison, and the new hash.
    expect(await costs(app, "ada", PASSWORD)).toEqual({ status: 200, work: [OURS] });
    expect(await costs(app, "five", PASSWORD)).toEqual({ status: 200, work: ["$2b$05$"] });
    expect(await costs(app, "five", PASSWORD)).toEqual({ status: 200, work: [OURS] });
  });

  test("without an import a refusal costs one comparison", async () => {
    const app = await start();
    await person(app);
    expect(await costs(app, "ada", WRONG)).toEqual({ status: 401, work: [OURS] });
    expect(await costs(app, "nobody", WRONG)).toEqual({ status: 401, work: [OURS] });
  });

  test("what one process imports, another one knows at once", async () => {
    const store = new MemoryCredentialStore();
    const [one, other] = [await start(store), await start(store)];
    await imported(one, "four", await hashes.bcrypt4());
    expect(await costs(other, "nobody", WRONG)).toEqual({ status: 401, work: ["$2b$04$", OURS].toSorted() });
    await imported(other, "also", await hashes.bcrypt4());
  });

  test("a right password of someone disabled costs what a wrong one does, in all its forms", async () => {
    const app = await start();
    const twoForms = "ﬁne, and the password";
    await imported(app, "gone", await bcrypt.hash(twoForms, 4), { disabled: true });
    const work = ["$2b$04$", "$2b$04$", OURS].toSorted();
    expect(await costs(app, "gone", twoForms)).toEqual({ status: 401, work });
    expect(await costs(app, "nobody", twoForms)).toEqual({ status: 401, work });
  });

  test("a refusal is one job of the queue, whose work is what others wait for", async () => {
    const app = await start();
    await person(app);
    await imported(app, "four", await hashes.bcrypt4());
    const run = vi.spyOn(HashQueue.prototype, "run");
    for (const login of ["ada", "nobody", "four"]) {
      run.mockClear();
      expect((await app.client().logIn(login, WRONG)).status).toBe(401);
      expect({ login, jobs: run.mock.calls.length }).toEqual({ login, jobs: 1 });
    }
  });

  test("a record that is gone is made anew by the next import", async () => {
    const store = new MemoryCredentialStore();
    const app = await start(store);
    await imported(app, "four", await hashes.bcrypt4());
    // As after a restore from a backup.
    const records = await store.listOf(OWNER);
    await store.change(OWNER, { remove: records.map(({ id }) => id) });
    expect(await costs(app, "nobody", WRONG)).toEqual({ status: 401, work: [OURS] });
    await imported(app, "also", await hashes.bcrypt4());
    expect(await store.listOf(OWNER)).toEqual(records);
    expect(await costs(app, "nobody", WRONG)).toEqual({ status: 401, work: ["$2b$04$", OURS].toSorted() });
  });

  test("a hash that is not taken over leaves no record", async () => {
    const store = new MemoryCredentialStore();
    const app = await start(store);
    await person(app);
    expect(await app.accounts.passwords.import("id-ada", await hashes.bcrypt4())).toBe(false);
    expect(await store.listOf(OWNER)).toEqual([]);
  });

  test("20 different costs can be imported, and the 21st is refused", async () => {
    const app = await start();
    const tag = (await hashes.argon2()).slice(ARGON2.length);
    const hash = (memory: number): string => `$argon2id$v=19$m=${memory},t=1,p=1$${tag}`;
    for (let index = 0; index < 20; index += 1) await imported(app, `user-${index}`, hash(64 + index));
    app.users.set("id-last", { id: "id-last", login: "last" });
    await expect(app.accounts.passwords.import("id-last", hash(99))).rejects.toMatchObject({ code: "invalid-input" });
    expect(await app.accounts.passwords.import("id-last", hash(64))).toBe(true);
  });

  test("a damaged record is an event, and refuses nobody", async () => {
    const folder = mkdtempSync(join(tmpdir(), "portcullis-imported-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const app = await accountsApp({}, { database: `sqlite:${join(folder, "app.db")}` });
    await person(app);
    await imported(app, "four", await hashes.bcrypt4());
    const { db, close } = await openSqlite(`sqlite:${join(folder, "app.db")}`);
    await sql`update portcullis_credentials set data = '[' where kind = 'imported-hash'`.execute(db);
    await close();
    for (const login of ["ada", "nobody", "four"])
      expect((await app.client().logIn(login, WRONG)).status, login).toBe(401);
    expect((await app.client().logIn("ada", PASSWORD)).status).toBe(200);
    expect(app.events.filter(({ event }) => event === "portcullis_misconfigured")).toMatchObject(
      Array(4).fill({ level: "CRITICAL", source: "accounts", reason: "imported-hash-unreadable" }),
    );
  });
});

test("a full queue at the failure that disables a password hides neither the event nor the notice", async () => {
  const app = await start();
  await person(app);
  for (let i = 0; i < 9; i += 1) await app.client().logIn("ada", WRONG);
  vi.spyOn(HashQueue.prototype, "run").mockRejectedValueOnce(new HashUnavailableError());
  expect((await app.client().logIn("ada", WRONG)).status).toBe(503);
  expect((await app.client().logIn("ada", PASSWORD)).status).toBe(401);
  expect(app.events.filter(({ event }) => event === "authn_login_lock")).toMatchObject([
    { reason: "password-disabled", subject: "id-ada" },
  ]);
  expect(app.notices.map(({ kind }) => kind)).toEqual(["password-disabled"]);
});
