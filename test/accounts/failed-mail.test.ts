import type { AccountNotice, AccountUser } from "portcullis/accounts";
import { describe, expect, test } from "vitest";
import { type AccountsApp, accountsApp, PASSWORD } from "./support/app.js";
import { quiet } from "./support/links.js";

const ADA: AccountUser = { id: "id-ada", login: "ada@example.com", email: "ada@example.com" };
const BOB: AccountUser = { id: "id-bob", login: "bob@example.com", email: "bob@example.com", disabled: true };

/** An app whose `notify` fails until `mend`. */
async function failing(how: () => unknown): Promise<AccountsApp & { mend(): void; readonly sent: AccountNotice[] }> {
  const sent: AccountNotice[] = [];
  let isFailing = true;
  const people = [ADA, BOB];
  const app = await accountsApp({
    storeTimeoutMs: 5000,
    notify: (notice) => (isFailing ? how() : void sent.push(notice)),
    users: {
      findByLogin: (login) => people.find((user) => user.login === login),
      findById: (id) => people.find((user) => user.id === id),
      create: () => undefined,
    },
  });
  return { ...app, sent, mend: () => void (isFailing = false) };
}

const WAYS: readonly [string, () => unknown][] = [
  ["rejects", () => Promise.reject(new Error("down"))],
  [
    "throws",
    () => {
      throw new Error("down");
    },
  ],
];

describe.each(WAYS)("a notify that %s uses up no mail", (_name, how) => {
  test("of a reset: the owner gets a link when it works again, and the limit holds then", async () => {
    const app = await failing(how);
    const ask = async () => {
      expect((await app.client().post("/account/password/forgot", { login: ADA.login })).status).toBe(202);
      await quiet();
    };
    for (let turn = 0; turn < 6; turn++) await ask();
    app.mend();
    for (let turn = 0; turn < 6; turn++) await ask();
    expect(app.sent).toHaveLength(3);
  });

  test.each([
    ["of a new name", "grace@example.com", "verify-email"],
    ["of a name that is taken", ADA.login, "account-exists"],
  ])("of a registration %s, whoever asks, and the limit holds then", async (_which, login, kind) => {
    const app = await failing(how);
    const register = async (address: number) => {
      const answer = await app.client(`192.0.2.${address}`).post("/account/register", { login, password: PASSWORD });
      expect(answer.status).toBe(202);
      await quiet();
    };
    for (let address = 0; address < 7; address++) await register(address);
    app.mend();
    for (let address = 10; address < 17; address++) await register(address);
    expect(app.sent.map((notice) => notice.kind)).toEqual(Array(5).fill(kind));
  });
});

test("a notify that fails tells no client which names exist", async () => {
  const app = await failing(() => Promise.reject(new Error("down")));
  const answers = async (login: string) => {
    const client = app.client();
    const cookies = [];
    for (let turn = 0; turn < 5; turn++) {
      const { status, headers } = await client.post("/account/register", { login, password: PASSWORD });
      expect(status).toBe(202);
      cookies.push(headers["set-cookie"]?.length ?? 0);
      await quiet();
    }
    return cookies;
  };
  const free = await answers("grace@example.com");
  expect(free).toEqual([1, 1, 1, 0, 0]);
  for (const { login } of [ADA, BOB]) expect(await answers(login)).toEqual(free);
});

test("what became of a notice that is late nobody knows, so it counts as a mail", async () => {
  let release = (): void => undefined;
  const hanging = new Promise<void>((resolve) => (release = resolve));
  const app = await failing(() => hanging);
  for (let turn = 0; turn < 6; turn++) await app.client().post("/account/password/forgot", { login: ADA.login });
  app.mend();
  await app.client().post("/account/password/forgot", { login: ADA.login });
  await quiet();
  expect(app.sent).toEqual([]);
  release();
});
