import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AccountNotice } from "portcullis/accounts";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Authenticator } from "../accounts/support/authenticator.js";
import { mariaDbDatabase, postgresDatabase, sharedRedis, uniqueName } from "../support/servers.js";
import { type Member, type Reply, startMember } from "./members.js";

const MANY = 100;
const PASSWORD = "correct horse battery staple";

const folder = mkdtempSync(join(tmpdir(), "portcullis-account-races-"));
afterAll(() => rmSync(folder, { recursive: true }));

const withRedis = async () => ({ redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:` });
const FLEETS: readonly (readonly [string, () => Promise<object>])[] = [
  ["one SQLite file", async () => ({ database: `sqlite:${join(folder, "shared.db")}` })],
  ["PostgreSQL", async () => ({ database: await postgresDatabase() })],
  ["MariaDB", async () => ({ database: await mariaDbDatabase() })],
  ["PostgreSQL and Redis", async () => ({ database: await postgresDatabase(), ...(await withRedis()) })],
  ["MariaDB and Redis", async () => ({ database: await mariaDbDatabase(), ...(await withRedis()) })],
];

describe.each(FLEETS)(
  "over HTTP, in two processes on %s, of a hundred uses exactly one succeeds:",
  (name, settingsOf) => {
    let members: readonly Member[] = [];
    const first = (): Member => members[0] as Member;
    beforeAll(async () => {
      const users = join(folder, encodeURIComponent(name));
      mkdirSync(users);
      const settings = { ...(await settingsOf()), users };
      members = [
        await startMember(settings, "fleet/accounts-member"),
        await startMember(settings, "fleet/accounts-member"),
      ];
    });
    afterAll(async () => {
      expect(await Promise.all(members.map((member) => member.end()))).toEqual([0, 0]);
    });

    const post = (path: string, json: object, headers: Record<string, string> = {}, member = first()): Promise<Reply> =>
      member.send("POST", `/account${path}`, headers, { ...json });

    async function token(kind: AccountNotice["kind"], login: string): Promise<string> {
      return vi.waitFor(async () => {
        const notices = (await first().send("GET", "/notices")).body as AccountNotice[];
        const found = notices.find((notice) => notice.kind === kind && notice.user.login === login);
        return new URL(found?.link ?? "").searchParams.get("token") ?? "";
      });
    }

    async function registering(login: string): Promise<{ readonly token: string; readonly cookie: string }> {
      const { cookies } = await post("/register", { login, password: PASSWORD });
      return { token: await token("verify-email", login), cookie: cookies };
    }

    /** @returns the header of a client that has just logged in */
    async function registered(login: string): Promise<Record<string, string>> {
      const link = await registering(login);
      const { status, body } = await post(
        "/email/verify",
        { token: link.token, deliver: "tokens" },
        { cookie: link.cookie },
      );
      expect(status).toBe(200);
      return { authorization: `Bearer ${(body as { accessToken: string }).accessToken}` };
    }

    async function enrolled(login: string) {
      const bearer = await registered(login);
      const { secret } = (await post("/totp", {}, bearer)).body as { secret: string };
      const authenticator = new Authenticator(secret);
      const confirmed = await post("/totp/confirm", { code: authenticator.code(Date.now()) }, bearer);
      expect(confirmed.status).toBe(200);
      return { authenticator, recoveryCodes: (confirmed.body as { recoveryCodes: string[] }).recoveryCodes };
    }

    /** Log-ins that are not finished: a person has at most ten. */
    async function pendings(login: string): Promise<readonly string[]> {
      const one = await pending(login);
      return [one, await pending(login), await pending(login), await pending(login)];
    }

    async function pending(login: string): Promise<string> {
      const { status, body } = await post("/login", { login, password: PASSWORD, deliver: "tokens" });
      expect(status).toBe(200);
      return (body as { pending: string }).pending;
    }

    /** Sends a hundred at once, half to each process, and prints one line of the table of races. */
    async function race(what: string, path: string, bodyOf: (count: number) => object, headers = {}): Promise<Reply[]> {
      const answers = await Promise.all(
        Array.from({ length: MANY }, (_, count) => post(path, bodyOf(count), headers, members[count % 2])),
      );
      const counts = new Map<number, number>();
      for (const { status } of answers) counts.set(status, (counts.get(status) ?? 0) + 1);
      const seen = [...counts].sort(([a], [b]) => a - b).map(([status, count]) => `${count} × ${status}`);
      process.stdout.write(`race | ${what} | ${name} | ${seen.join(", ")}\n`);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      // SQLite's file has no queue: 503 says that nothing was done. 429: the factor has failed too often by then.
      for (const { status } of answers) expect([200, 401, 409, 429, 503]).toContain(status);
      return answers;
    }

    test("a code of an authenticator app", async () => {
      const { authenticator } = await enrolled("totp@example.com");
      const under = await pendings("totp@example.com");
      // The code of this step is spent. That of the next one is right already.
      const code = authenticator.code(Date.now(), 1);
      await race("TOTP code", "/login/factor", (count) => ({ method: "totp", code, pending: under[count % 4] }));
    }, 120_000);

    test("a recovery code", async () => {
      const { recoveryCodes } = await enrolled("recovery@example.com");
      const under = await pendings("recovery@example.com");
      const [code] = recoveryCodes;
      const answers = await race("recovery code", "/login/factor", (count) => ({
        method: "recovery",
        code,
        pending: under[count % 4],
      }));
      expect(answers.find(({ status }) => status === 200)?.body).toMatchObject({ recoveryCodesLeft: 9 });
    }, 120_000);

    test("a log-in that is not finished, and it spends one code", async () => {
      const { recoveryCodes } = await enrolled("pending@example.com");
      const one = await pending("pending@example.com");
      const codeOf = (count: number) => recoveryCodes[count % recoveryCodes.length];
      const answers = await race("pending log-in", "/login/factor", (count) => ({
        method: "recovery",
        code: codeOf(count),
        pending: one,
      }));
      const code = codeOf(answers.findIndex(({ status }) => status === 200) + 1);
      const other = await pending("pending@example.com");
      const next = await post("/login/factor", { method: "recovery", code, pending: other });
      expect(next.body).toMatchObject({ status: "done", recoveryCodesLeft: 8 });
    }, 120_000);

    test("a link to a new password", async () => {
      await registered("reset@example.com");
      await post("/password/forgot", { login: "reset@example.com" });
      const link = await token("password-reset", "reset@example.com");
      const passwordOf = (count: number) => `another fine long password ${count}`;
      const answers = await race("reset link", "/password/reset", (count) => ({
        token: link,
        password: passwordOf(count),
        deliver: "tokens",
      }));
      const winner = answers.findIndex(({ status }) => status === 200);
      const logIn = async (password: string) =>
        (await post("/login", { login: "reset@example.com", password, deliver: "tokens" })).status;
      expect([await logIn(passwordOf(winner)), await logIn(passwordOf((winner + 1) % MANY))]).toEqual([200, 401]);
    }, 120_000);

    test("the link of a registration", async () => {
      const made = async () => Promise.all(members.map(async (member) => (await member.send("GET", "/created")).body));
      const before = (await made()) as number[];
      const { token: link, cookie } = await registering("verify@example.com");
      await race("verification link", "/email/verify", () => ({ token: link, deliver: "tokens" }), { cookie });
      const after = (await made()) as number[];
      expect(after.map((count, index) => count - (before[index] ?? 0)).sort()).toEqual([0, 1]);
    }, 120_000);
  },
);
