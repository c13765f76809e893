import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { postgresDatabase, sharedRedis, uniqueName } from "../support/servers.js";
import { startMember, until, type Member } from "./members.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-fleet-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Kind = "Redis and PostgreSQL" | "a SQLite file alone";

const settingsOf: Record<Kind, () => Promise<object>> = {
  "Redis and PostgreSQL": async () => ({
    redis: (await sharedRedis()).url,
    redisPrefix: `${uniqueName()}:`,
    database: await postgresDatabase(),
  }),
  "a SQLite file alone": async () => ({ database: `sqlite:${join(folder, `${uniqueName()}.db`)}` }),
};

describe.each(Object.keys(settingsOf) as Kind[])("two processes on %s", (kind) => {
  let settings: object;
  let members: Member[] = [];
  let a: Member;
  let b: Member;

  beforeAll(async () => {
    settings = await settingsOf[kind]();
    members = await Promise.all([startMember(settings), startMember(settings)]);
    [a, b] = members as [Member, Member];
  });

  test("refuse an API key that was revoked or rotated in the other within a second, although it was cached for a minute", async () => {
    const times: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const { key, record } = (await a.send("POST", "/keys")).body as { key: string; record: { id: string } };
      const use = () => b.send("GET", "/by-key", { "x-api-key": key });
      expect((await use()).status).toBe(200);
      expect((await use()).status).toBe(200);
      const change = round % 2 === 0 ? "revoke" : "rotate";
      expect((await a.send("POST", `/keys/${record.id}/${change}`)).status).toBe(200);
      times.push(await until(async () => (await use()).status === 401, 1000));
    }
    expect(Math.max(...times)).toBeLessThan(1000);
  });

  test("refuse a token, a family and a subject that were revoked in the other within a second", async () => {
    const times: number[] = [];
    for (const how of ["token", "family", "subject"]) {
      const subject = `user-${how}`;
      const { accessToken, refreshToken } = (await a.send("POST", `/tokens/${subject}`)).body as {
        accessToken: string;
        refreshToken: string;
      };
      const other = (await a.send("POST", "/tokens/somebody-else")).body as { accessToken: string };
      const use = (token: string) => b.send("GET", "/by-token", { authorization: `Bearer ${token}` });
      expect((await use(accessToken)).status).toBe(200);
      const path =
        {
          token: `/revoke?token=${accessToken}`,
          family: `/revoke-family?token=${refreshToken}`,
          subject: `/tokens/${subject}/end`,
        }[how] ?? "";
      expect((await a.send("POST", path)).status).toBe(200);
      times.push(await until(async () => (await use(accessToken)).status === 401, 1000));
      expect((await use(other.accessToken)).status).toBe(200);
      // Issued by the other process after the cut-off.
      const later = (await b.send("POST", `/tokens/${subject}`)).body as { accessToken: string };
      expect((await use(later.accessToken)).status).toBe(200);
    }
    expect(Math.max(...times)).toBeLessThan(1000);
  });

  test("pass earlier revocations on to a process that starts later", async () => {
    const { accessToken } = (await a.send("POST", "/tokens/early")).body as { accessToken: string };
    await a.send("POST", `/revoke?token=${accessToken}`);
    const c = await startMember(settings);
    members.push(c);
    expect((await c.send("GET", "/by-token", { authorization: `Bearer ${accessToken}` })).status).toBe(401);
  });

  test("give the same successor to all of a hundred refreshes of one token", async () => {
    const { refreshToken } = (await a.send("POST", "/tokens/racer")).body as { refreshToken: string };
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        (index % 2 === 0 ? a : b).send("POST", `/refresh?token=${refreshToken}`),
      ),
    );
    const successors = new Set(answers.map(({ body }) => JSON.stringify(body)));
    expect([...successors]).toEqual([expect.stringContaining('{"refreshToken":')]);
  });

  test("create one new key in a hundred rotations of one key", async () => {
    const { record } = (await a.send("POST", "/keys?owner=rotor")).body as { record: { id: string } };
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? a : b).send("POST", `/keys/${record.id}/rotate`)),
    );
    const made = answers.flatMap(({ body }) => (body as { key?: string }).key ?? []);
    const errors = new Set(answers.flatMap(({ body }) => (body as { error?: string }).error ?? []));
    expect([made.length, [...errors]]).toEqual([1, ["rotated"]]);
    expect((await b.send("GET", "/by-key", { "x-api-key": made[0] ?? "" })).status).toBe(200);
  });

  test("report no error in all of this, and end by themselves", async () => {
    for (const member of members)
      expect((await member.send("GET", "/events")).body).not.toEqual(
        expect.arrayContaining([expect.stringMatching(/unavailable|unhandled/)]),
      );
    expect(await Promise.all(members.map((member) => member.end()))).toEqual(members.map(() => 0));
  });
});
