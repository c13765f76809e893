import { afterAll, beforeAll, expect, test } from "vitest";
import { sharedRedis, uniqueName } from "../support/servers.js";
import { startMember, type Member } from "./members.js";

let members: Member[] = [];
let a: Member;
let b: Member;

beforeAll(async () => {
  const settings = { redis: (await sharedRedis()).url, redisPrefix: `${uniqueName()}:` };
  members = await Promise.all([startMember(settings), startMember(settings)]);
  [a, b] = members as [Member, Member];
});
afterAll(async () => {
  expect(await Promise.all(members.map((member) => member.end()))).toEqual([0, 0]);
});

const logIn = async (member: Member, id: string): Promise<{ cookie: string }> => ({
  cookie: (await member.send("POST", `/in/${id}`)).cookie ?? "",
});
const who = async (member: Member, headers: Record<string, string>) => (await member.send("GET", "/who", headers)).body;

test("a session begun in one process is there in the other, and gone when it is ended there", async () => {
  const ada = await logIn(a, "ada");
  expect(await who(b, ada)).toEqual({ id: "ada" });
  expect((await b.send("POST", "/out", ada)).status).toBe(200);
  expect([await who(a, ada), await who(b, ada)]).toEqual([{ id: null }, { id: null }]);
});

test("a slow request's save in one process does not undo the log-out in the other", async () => {
  for (const pause of [0, 5, 100]) {
    const eve = await logIn(a, "eve");
    const saving = b.says("saving");
    const slow = b.send("POST", `/slow-save/${pause}`, eve);
    await saving;
    expect((await a.send("POST", "/out", eve)).status).toBe(200);
    expect([200, 503]).toContain((await slow).status);
    expect([await who(a, eve), await who(b, eve)]).toEqual([{ id: null }, { id: null }]);
  }
});

test("ending all sessions of a user in one process, while another process saves, leaves none of them and affects no other user", async () => {
  const bob = await Promise.all([a, b, a, b].map((member) => logIn(member, "bob")));
  const cleo = await logIn(b, "cleo");
  expect((await b.send("GET", "/sessions/bob")).body).toHaveLength(4);
  const slow = bob.map((cookie) => b.send("POST", "/slow-save/60", cookie));
  await b.says("saving");
  expect((await a.send("POST", "/out-everywhere/bob")).body).toEqual({ ended: 4 });
  await Promise.all(slow);
  for (const cookie of bob) expect([await who(a, cookie), await who(b, cookie)]).toEqual([{ id: null }, { id: null }]);
  expect((await a.send("GET", "/sessions/bob")).body).toEqual([]);
  expect(await who(a, cleo)).toEqual({ id: "cleo" });
});

test("describe() names the store of each layer and whether it belongs to this process alone", async () => {
  const layers = (await a.send("GET", "/describe")).body as { id: string; store?: string; lostOnRestart?: string }[];
  expect(
    layers.flatMap(({ id, store, lostOnRestart }) => (store === undefined ? [] : [{ id, store, lostOnRestart }])),
  ).toEqual([
    { id: "session", store: "redis", lostOnRestart: undefined },
    { id: "api-key", store: "memory", lostOnRestart: "all API keys; other processes cannot see them" },
    {
      id: "jwt",
      store: "memory; revocations: redis",
      lostOnRestart: "all refresh tokens; other processes cannot see them",
    },
  ]);
});
