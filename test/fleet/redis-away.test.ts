import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { redisSays, startRedis, type RunningServer } from "../support/servers.js";
import { startMember, until, type Member } from "./members.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-away-"));
let redis: RunningServer;
let settings: object;
let members: Member[] = [];
let a: Member;
let b: Member;

beforeAll(async () => {
  redis = await startRedis();
  settings = {
    redis: redis.url,
    database: `sqlite:${join(folder, "fleet.db")}`,
    session: {},
    apiKeys: { cacheSeconds: 60 },
    jwt: {},
  };
  members = await Promise.all([startMember(settings), startMember(settings)]);
  [a, b] = members as [Member, Member];
});
afterAll(async () => {
  await Promise.all(members.map((member) => member.end()));
  await redis?.close();
  rmSync(folder, { recursive: true, force: true });
});

const issued = async (subject: string): Promise<string> =>
  ((await a.send("POST", `/tokens/${subject}`)).body as { accessToken: string }).accessToken;
const byToken = async (member: Member, token: string): Promise<number> =>
  (await member.send("GET", "/by-token", { authorization: `Bearer ${token}` })).status;
const made = async () => (await a.send("POST", "/keys")).body as { key: string; record: { id: string } };
const byKey = async (member: Member, key: string): Promise<number> =>
  (await member.send("GET", "/by-key", { "x-api-key": key })).status;
/** Until both read and write again: each protection asks its store anew every half second. */
const healed = async () => {
  const token = await issued("somebody");
  return until(async () => {
    const asked = [a, b].flatMap((member) => [
      member.send("POST", "/tokens/nobody/end"),
      member.send("POST", "/in/nobody"),
    ]);
    const states = [
      ...(await Promise.all(asked)).map(({ status }) => status),
      await byToken(a, token),
      await byToken(b, token),
    ];
    return states.every((status) => status === 200);
  }, 8000);
};

test("a process that lost messages reads their revocations in the record within a second", async () => {
  for (let round = 0; round < 3; round += 1) {
    const token = await issued("ada");
    const { key, record } = await made();
    expect([await byToken(b, token), await byKey(b, key)]).toEqual([200, 200]);
    // Both processes lose their subscription; what is told now reaches nobody.
    await redisSays(redis.port, "CLIENT KILL TYPE pubsub");
    await Promise.all([a.send("POST", `/revoke?token=${token}`), a.send("POST", `/keys/${record.id}/revoke`)]);
    expect(
      await until(async () => (await byToken(b, token)) === 401 && (await byKey(b, key)) === 401, 1000),
    ).toBeLessThan(1000);
  }
});

test("when Redis stops answering, no cached credential is accepted for longer than a second, known revocations hold, and service resumes by itself", async () => {
  const [good, bad] = [await issued("ada"), await issued("bob")];
  const { key, record } = await made();
  expect([await byToken(b, good), await byToken(b, bad), await byKey(b, key)]).toEqual([200, 200, 200]);
  await a.send("POST", `/revoke?token=${bad}`);
  await until(async () => (await byToken(b, bad)) === 401, 1000);
  redis.pause();
  try {
    // The database has it, the others cannot be told: not acknowledged.
    const began = performance.now();
    expect((await a.send("POST", `/keys/${record.id}/revoke`)).status).toBe(503);
    expect(performance.now() - began).toBeLessThan(600);
    await until(async () => (await byToken(b, good)) === 503, 1500);
    expect([await byToken(b, bad), await byKey(b, key)]).toEqual([401, 401]);
    // Each answer comes in time, and those after the first at once.
    for (let n = 0; n < 5; n += 1) {
      const asked = performance.now();
      expect(await byToken(b, good)).toBe(503);
      expect(performance.now() - asked).toBeLessThan(600);
    }
  } finally {
    redis.resume();
  }
  await healed();
  expect([await byToken(a, good), await byToken(b, good)]).toEqual([200, 200]);
  expect([await byToken(b, bad), await byKey(b, key)]).toEqual([401, 401]);
});

test("when Redis restarts, sessions and revocations are as before, and new revocations spread", async () => {
  const { cookie = "" } = await a.send("POST", "/in/ada");
  const [early, late] = [await issued("ada"), await issued("ada")];
  await a.send("POST", `/revoke?token=${early}`);
  await redis.restart();
  await healed();
  expect([await byToken(b, early), await byToken(b, late)]).toEqual([401, 200]);
  expect((await b.send("GET", "/who", { cookie })).body).toEqual({ id: "ada" });
  expect((await a.send("POST", `/revoke?token=${late}`)).status).toBe(200);
  expect(await until(async () => (await byToken(b, late)) === 401, 1000)).toBeLessThan(1000);
});

test("when Redis loses its data, revocations hold, also for a process that starts afterwards", async () => {
  const token = await issued("ada");
  const subject = await issued("carol");
  await a.send("POST", `/revoke?token=${token}`);
  await a.send("POST", "/tokens/carol/end");
  await until(async () => (await byToken(b, token)) === 401 && (await byToken(b, subject)) === 401, 1000);
  await redisSays(redis.port, "FLUSHALL");
  await sleep(600);
  expect([await byToken(a, token), await byToken(b, token), await byToken(b, subject)]).toEqual([401, 401, 401]);
  // Put back from what the processes remember: this one has no database to learn it from.
  const c = await startMember({ redis: redis.url });
  members.push(c);
  expect([await byToken(c, token), await byToken(c, subject), await byToken(c, await issued("ada"))]).toEqual([
    401, 401, 200,
  ]);
});

test("every outage and recovery was reported once, and no rejection was left unhandled", async () => {
  for (const member of [a, b]) {
    const events = (await member.send("GET", "/events")).body as string[];
    expect(events.filter((event) => event.startsWith("unhandled"))).toEqual([]);
    // A call may be late before the outage is certain. That is announced, and is no outage.
    const changes = events.filter((event) => /^portcullis_store_(?!late)/.test(event));
    const outages = changes.filter((event) => event.startsWith("portcullis_store_unavailable")).length;
    // One for the server, however many protections keep something on it.
    const onceEach = Array.from({ length: outages }, () => [
      "portcullis_store_unavailable redis",
      "portcullis_store_recovered redis",
    ]);
    expect(changes).toEqual(onceEach.flat());
    // Stopped once; the restart may be over before a second has passed.
    expect(outages).toBeGreaterThanOrEqual(1);
    expect(outages).toBeLessThanOrEqual(2);
  }
});
