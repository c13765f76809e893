import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresDatabase, sharedRedis, uniqueName } from "../support/servers.js";
import { startMember, until, type Member } from "./members.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-end-all-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const settingsOf: Record<string, () => Promise<object>> = {
  "Redis and PostgreSQL": async () => ({
    redis: (await sharedRedis()).url,
    redisPrefix: `${uniqueName()}:`,
    database: await postgresDatabase(),
  }),
  Redis: async () => ({ redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:` }),
  "a SQLite file alone": async () => ({ database: `sqlite:${join(folder, `${uniqueName()}.db`)}` }),
};

interface Credentials {
  readonly session: Record<string, string>;
  readonly token: Record<string, string>;
  readonly key: Record<string, string>;
}

describe.each(Object.keys(settingsOf))("two processes on %s", (kind) => {
  let members: Member[] = [];
  let a: Member;
  let b: Member;
  /** Whether processes share sessions, and keys. */
  const shared = { sessions: kind.startsWith("Redis"), keys: kind !== "Redis" };

  beforeAll(async () => {
    const settings = (await settingsOf[kind]?.()) ?? {};
    members = await Promise.all([startMember(settings), startMember(settings)]);
    [a, b] = members as [Member, Member];
  });

  async function credentials(member: Member, id: string): Promise<Credentials> {
    const { accessToken } = (await member.send("POST", `/tokens/${id}`)).body as { accessToken: string };
    const { key } = (await member.send("POST", `/keys?owner=${id}`)).body as { key: string };
    return {
      session: { cookie: (await member.send("POST", `/in/${id}`)).cookie ?? "" },
      token: { authorization: `Bearer ${accessToken}` },
      key: { "x-api-key": key },
    };
  }

  /** The kinds that a process accepts. */
  async function accepted(member: Member, of: Credentials): Promise<string[]> {
    const who = (await member.send("GET", "/who", of.session)).body as { id: string | null };
    const byToken = await member.send("GET", "/by-token", of.token);
    const byKey = await member.send("GET", "/by-key", of.key);
    return [
      ...(who.id === null ? [] : ["session"]),
      ...(byToken.status === 200 ? ["token"] : []),
      ...(byKey.status === 200 ? ["key"] : []),
    ];
  }

  const ALL = ["session", "token", "key"];

  test("refuse within a second what revokeAll ended in the other, and nothing else", async () => {
    const times: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const id = `user-${round}`;
      // Made where they are used: what the processes do not share is ended in each of them.
      const there = await credentials(b, id);
      const bystander = await credentials(b, `bystander-${round}`);
      expect(await accepted(b, there)).toEqual(ALL);
      expect((await a.send("POST", `/end-all/${id}`)).status).toBe(200);
      const left = shared.keys ? [] : ["key"];
      times.push(await until(async () => (await accepted(b, there)).join() === left.join(), 1000));
      expect(await accepted(b, bystander)).toEqual(ALL);
      // A log-in that follows at once, in the process that did not end anything, holds in both.
      const again = await credentials(b, id);
      expect(await accepted(b, again)).toEqual(ALL);
      await sleep(300);
      expect(await accepted(b, again)).toEqual(ALL);
      const elsewhere = await accepted(a, again);
      expect(elsewhere).toEqual([...(shared.sessions ? ["session"] : []), "token", ...(shared.keys ? ["key"] : [])]);
    }
    expect(Math.max(...times)).toBeLessThan(1000);
  });

  test("keep the session of the caller that ends all others", async () => {
    const mine = await credentials(a, "keeper");
    const other = await credentials(b, "keeper");
    expect((await a.send("POST", "/end-all-but-this/keeper", mine.session)).status).toBe(200);
    await until(async () => !(await accepted(b, other)).includes("session"), 1000);
    await sleep(1000);
    expect(await accepted(a, mine)).toContain("session");
    if (shared.sessions) expect(await accepted(b, mine)).toEqual(["session"]);
  });

  if (shared.keys) {
    test("use the changed scopes of a key within a second, although it was cached for a minute", async () => {
      const { key, record } = (await a.send("POST", "/keys?owner=scoped")).body as {
        key: string;
        record: { id: string };
      };
      const status = async (): Promise<number> => (await b.send("GET", "/orders", { "x-api-key": key })).status;
      for (const [scope, expected] of [
        ["orders:write", 200],
        ["orders:read", 403],
        ["orders:*", 200],
        ["none", 403],
      ] as const) {
        expect((await a.send("POST", `/keys/${record.id}/scopes/${scope}`)).status).toBe(200);
        expect(await until(async () => (await status()) === expected, 1000)).toBeLessThan(1000);
        expect(await status()).toBe(expected);
      }
    });
  }

  test("end or refuse what is made while revokeAll runs: a second later none of it works", async () => {
    const made: Credentials[] = [];
    let isOver = false;
    const first = await credentials(b, "racer");
    // Each is made by whoever still has a credential of the one before, as a thief would.
    const maker = async (member: Member): Promise<void> => {
      while (!isOver) {
        const [{ body: tokens }, { body: key }, { cookie }] = await Promise.all([
          member.send("POST", "/tokens/racer"),
          member.send("POST", "/keys?owner=racer"),
          member.send("POST", "/in/racer"),
        ]);
        // What is answered after the call may have begun after it.
        if (isOver) return;
        made.push({
          session: { cookie: cookie ?? "" },
          token: { authorization: `Bearer ${(tokens as { accessToken: string }).accessToken}` },
          key: { "x-api-key": (key as { key: string }).key },
        });
      }
    };
    const makers = [maker(a), maker(b)];
    await sleep(150);
    const count = made.length;
    expect((await a.send("POST", "/end-all/racer")).status).toBe(200);
    const before = made.slice(0, count);
    isOver = true;
    await Promise.all(makers);
    await sleep(1000);
    for (const of of [first, ...before])
      for (const member of [a, b]) {
        const left = await accepted(member, of);
        // Keys that each process has for itself are ended in the process that was asked.
        expect(shared.keys || member === a ? left : left.filter((name) => name !== "key")).toEqual([]);
      }
  });

  test("report no error in all of this, and end by themselves", async () => {
    for (const member of members)
      expect((await member.send("GET", "/events")).body).not.toEqual(
        expect.arrayContaining([expect.stringMatching(/unavailable|unhandled/)]),
      );
    expect(await Promise.all(members.map((member) => member.end()))).toEqual(members.map(() => 0));
  });
});
