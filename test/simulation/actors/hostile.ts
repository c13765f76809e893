import { pause } from "../world/virtual-time.js";
import { KEY_LIMIT } from "../world/process.js";
import type { Exchange } from "../world/world.js";
import type { Caller } from "./caller.js";

type Key = { readonly key: string; readonly record: { readonly id: string } };

/** What one kind of hostile caller does; `mallory` is the account it has. */
type Attack = (mallory: Caller) => Promise<void>;

const logIn = async (mallory: Caller, id = mallory.name): Promise<{ cookie: string }> => {
  const { last } = await mallory.persist(() => mallory.send("log in", "POST", "/login", { body: { id } }));
  return { cookie: last.answer.cookies[0]?.split(";")[0] ?? "" };
};

/** A key that may manage keys and has a limit of its own, `KEY_LIMIT`. */
const limitedKey = async (mallory: Caller): Promise<Key> => {
  const { last } = await mallory.persist(() =>
    mallory.send("get key", "POST", "/keys/issue", { body: { id: mallory.name, name: "k" } }),
  );
  return last.answer.body as unknown as Key;
};

/** Ids as long as the input rules allow, and longer. */
const longIds: Attack = async (mallory) => {
  for (let turn = 0; turn < 8; turn += 1) {
    const id = "m".repeat(mallory.random.between(254, 258));
    if (id.length > 255) mallory.world.faults.add("value-too-long");
    await mallory.send("long id", "POST", "/tokens/issue", { body: { id } });
    await mallory.send("long id", "POST", "/keys/issue", { body: { id, name: "k" } });
    await pause(mallory.random.between(100, 400));
  }
};

/** A record of its own that nobody can read: damaged, or of a newer version. */
const unreadableRecord: Attack = async (mallory) => {
  const { key, record } = await limitedKey(mallory);
  const [column, value] = mallory.random.pick([
    ["hash_algorithm", "future-1"],
    ["scopes", "{broken"],
    ["metadata", "["],
  ]);
  mallory.world.server?.engine.query(`update portcullis_api_keys set ${column} = ?1 where id = ?2`, [value, record.id]);
  for (let turn = 0; turn < 10; turn += 1) {
    mallory.world.faults.add("unreadable-record");
    await mallory.send("unreadable key", "GET", "/me", { headers: { "x-api-key": key } });
    await pause(mallory.random.between(50, 300));
  }
};

/** A key whose record takes long to read, used three times in a row. */
const slowKey: Attack = async (mallory) => {
  const { key, record } = await limitedKey(mallory);
  mallory.world.server?.slowTexts.set(record.id, 600);
  for (let turn = 0; turn < 3; turn += 1) {
    await mallory.send("slow key", "GET", "/me", { headers: { "x-api-key": key } });
    await pause(mallory.random.between(200, 600));
  }
};

/** A cookie whose session file is gone, which the store looks for again and again. */
const missingSession: Attack = async (mallory) => {
  const headers = await logIn(mallory);
  mallory.world.files.loseFilesOf(mallory.name);
  for (let turn = 0; turn < 3; turn += 1) {
    await mallory.send("missing session", "GET", "/me", { headers });
    await pause(mallory.random.between(200, 600));
  }
};

/** A log-in as a renewal that is overtaken by a log-out of the same session. */
const renewalRace: Attack = async (mallory) => {
  // A plain store does not say what its `destroy` found, so only within one process can the second know of the first.
  const isPlain = mallory.world.sessions === "files";
  const at = isPlain ? { at: 0 } : {};
  for (let turn = 0; turn < 10; turn += 1) {
    const headers = await logIn(mallory);
    const renewal = mallory.send("renew", "POST", "/login", { ...at, headers, body: { id: mallory.name } });
    await pause(mallory.random.between(0, 2));
    const end = await mallory.send("log out", "POST", "/logout", { ...at, headers });
    const renewed = await renewal;
    // Calls of the store take 4 ms at most. The log-out came after the renewal had read the session, and before its last
    // call, which ends the old one.
    const wasOvertaken = renewed.answer.body.isRenewal === true && renewed.ended - end.ended > 4;
    if (end.answer.status !== 200 || renewed.answer.status !== 200 || !wasOvertaken) continue;
    if (isPlain && end.process !== renewed.process) continue;
    const cookie = renewed.answer.cookies[0]?.split(";")[0] ?? "";
    const { answer } = await mallory.send("visit", "GET", "/me", { headers: { cookie } });
    if (answer.status === 200)
      mallory.violation(
        "b",
        "renewal race: a log-out was acknowledged, and the renewal under way brought the session back",
      );
  }
};

/** Many calls at once that all want the database. */
const burst: Attack = async (mallory) => {
  await pause(mallory.random.between(200, 1500));
  const calls = Array.from({ length: 120 }, (_, turn) =>
    mallory.send("burst", "POST", "/tokens/issue", { address: `203.0.113.${turn}`, at: 0, body: { id: mallory.name } }),
  );
  await Promise.all(calls);
};

/** A family of many used tokens; its owner must be able to end it, however large it is. */
const hugeFamily: Attack = async (mallory) => {
  const { last } = await mallory.persist(() =>
    mallory.send("get tokens", "POST", "/tokens/issue", { body: { id: mallory.name } }),
  );
  const { refreshToken, accessToken } = last.answer.body as { refreshToken: string; accessToken: string };
  const id = /^rt_([^.]+)\./.exec(refreshToken)?.[1];
  mallory.world.server?.engine.query(
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < 90)
     insert into portcullis_refresh_tokens (id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at, used_at)
     select id || i, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at, issued_at from portcullis_refresh_tokens, n where id = ?1`,
    [id],
  );
  const revoked = await mallory.outlastFlood(() =>
    mallory.send("revoke huge family", "POST", "/tokens/revoke", { body: { refreshToken } }),
  );
  if (revoked.last.answer.status !== 204) {
    mallory.violation(
      "b",
      `revoke huge family: ${revoked.last.answer.status}, tried ${revoked.refused.length + 1} times: it can never be revoked`,
    );
    return;
  }
  await pause(1000);
  const used = await mallory.send("token of huge family", "GET", "/me", {
    headers: { authorization: `Bearer ${accessToken}` },
  });
  const refreshed = await mallory.persist(() =>
    mallory.send("refresh huge family", "POST", "/tokens/refresh", { body: { refreshToken } }),
  );
  if (used.answer.status === 200 || refreshed.last.answer.status === 200)
    mallory.violation("b", "huge family: works a second after its revocation was acknowledged");
};

/** Invariant (a) for keys. A process that was replaced meanwhile gives way to one that begins anew. */
const checkKeyLimit = (mallory: Caller, what: string, served: readonly Exchange[]): void => {
  const { together, times } = mallory.world.counting;
  const uses = new Map<string, number>();
  for (const exchange of served) {
    const counter = together ? "all processes" : exchange.process;
    uses.set(counter, (uses.get(counter) ?? 0) + 1);
  }
  for (const [counter, count] of uses) {
    if (count > KEY_LIMIT.limit * times)
      mallory.violation(
        "a",
        `${what}: ${count} uses accepted by ${counter} under a limit of ${KEY_LIMIT.limit} in ${KEY_LIMIT.windowSeconds} s`,
      );
  }
};

/** Uses up a key's own limit, and rotates the key to begin anew. */
const rotationLoop: Attack = async (mallory) => {
  let { key, record } = await limitedKey(mallory);
  const served: Exchange[] = [];
  for (let turn = 0; turn < 4; turn += 1) {
    for (let use = 0; use < 3; use += 1) {
      const used = await mallory.send("use limited key", "GET", "/me", { at: 0, headers: { "x-api-key": key } });
      if (used.answer.status === 200) served.push(used);
    }
    const rotated = await mallory.send("rotate limited key", "POST", `/api-keys/${record.id}/rotate`, {
      at: 0,
      headers: { "x-api-key": key },
      body: {},
    });
    if (rotated.answer.status !== 201) break;
    served.push(rotated);
    ({ key, record } = rotated.answer.body as unknown as Key);
  }
  checkKeyLimit(mallory, "limited key", served);
};

/** Uses up a key's own limit, and makes other keys with it. */
const mintingLoop: Attack = async (mallory) => {
  const { key } = await limitedKey(mallory);
  const keys = [key];
  const served: Exchange[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    const minted = await mallory.send("mint", "POST", "/api-keys", {
      at: 0,
      headers: { "x-api-key": key },
      body: { name: `child ${turn}`, scopes: ["orders:read"] },
    });
    if (minted.answer.status !== 201) continue;
    served.push(minted);
    keys.push((minted.answer.body as unknown as Key).key);
  }
  for (const one of keys) {
    for (let use = 0; use < 3; use += 1) {
      const used = await mallory.send("use minted key", "GET", "/me", { at: 0, headers: { "x-api-key": one } });
      if (used.answer.status === 200) served.push(used);
    }
  }
  checkKeyLimit(mallory, "minted keys", served);
};

/** Many addresses of one network. */
const addressFlood: Attack = async (mallory) => {
  const network = mallory.random.between(0, 0xffff).toString(16);
  // Enough for the room of one process, which is what there is in memory.
  const flood = Array.from({ length: mallory.world.weather === "memory" ? 320 : 160 }, (_, turn) =>
    mallory.send("flood", "GET", "/", {
      address: `2001:db8:${(turn >> 2).toString(16)}:${(turn & 3).toString(16)}${network.slice(0, 2)}::1`,
      at: turn & 1,
    }),
  );
  await Promise.all(flood);
};

/** Log-in names that nobody has, each counted for itself; then clients that use much of their limit. */
const nameFlood: Attack = async (mallory) => {
  for (let turn = 0; turn < 100; turn += 1)
    await mallory.send("guess", "POST", "/guess", {
      address: `203.0.113.${turn % 8}`,
      at: 0,
      body: { name: `nobody-${turn}` },
    });
  const busy = Array.from({ length: 160 }, (_, turn) =>
    mallory.send("be busy", "GET", "/", { address: `100.64.${turn % 8}.1`, at: 0 }),
  );
  await Promise.all(busy);
};

/** One client under several spellings of its address. */
const spellings: Attack = async (mallory) => {
  for (let turn = 0; turn < 70; turn += 1) {
    const spelt = mallory.random.pick([
      mallory.address,
      `${mallory.address}:${1024 + turn}`,
      `::ffff:${mallory.address}`,
      `[::ffff:${mallory.address}]:${2048 + turn}`,
    ]);
    // A proxy that is trusted may be written with a port, too.
    const address = mallory.random.pick([spelt, `${spelt}, 10.0.0.9:${4096 + turn}`]);
    await mallory.send("spelling", "GET", "/", { address, at: 0, client: mallory.address });
  }
};

/** A short token of narrow scope makes itself a key. */
const narrowToken: Attack = async (mallory) => {
  const { last } = await mallory.persist(() =>
    mallory.send("get tokens", "POST", "/tokens/issue", { body: { id: mallory.name } }),
  );
  const { accessToken } = last.answer.body as { accessToken: string };
  const made = await mallory.send("make key", "POST", "/api-keys", {
    headers: { authorization: `Bearer ${accessToken}` },
    body: { name: "k" },
  });
  if (made.answer.status === 201)
    mallory.violation("b", "a token without api-keys:manage made a key, which outlives its revocation");
};

/** Guesses at somebody's keys, from many addresses. */
const guesses: Attack = async (mallory) => {
  for (let turn = 0; turn < 30; turn += 1) {
    await mallory.send("guess a key", "GET", "/me", {
      address: `203.0.113.${turn}`,
      headers: { "x-api-key": `mcp_${"A".repeat(12)}${"b".repeat(38)}` },
    });
  }
};

/** Keys until the store takes no more. */
const fillKeys: Attack = async (mallory) => {
  for (let turn = 0; turn < 75; turn += 1) {
    const { answer } = await mallory.send("fill with keys", "POST", "/keys/issue", {
      address: `203.0.113.${turn}`,
      body: { id: mallory.name, name: `${turn}` },
    });
    if (answer.status !== 201) mallory.world.faults.add("store-full");
    await pause(mallory.random.between(5, 60));
  }
};

/** One refresh token rotated until the store takes no more. */
const fillTokens: Attack = async (mallory) => {
  const issued = await mallory.send("get tokens", "POST", "/tokens/issue", { body: { id: mallory.name } });
  let { refreshToken } = issued.answer.body as { refreshToken: string };
  for (let turn = 0; turn < 130; turn += 1) {
    const { answer } = await mallory.send("fill with tokens", "POST", "/tokens/refresh", {
      address: `203.0.113.${turn}`,
      body: { refreshToken },
    });
    if (answer.status === 200) ({ refreshToken } = answer.body as { refreshToken: string });
    else mallory.world.faults.add("store-full");
    if (turn % 20 === 0) await pause(mallory.random.between(5, 200));
  }
};

/** One session after the other, for one account and for nobody. */
const fillSessions: Attack = async (mallory) => {
  for (let turn = 0; turn < 120; turn += 1) {
    const { answer } = await mallory.send("fill with sessions", "POST", "/login", {
      address: `203.0.113.${turn}`,
      body: { id: `${mallory.name}-${turn % 3}` },
    });
    if (answer.status !== 200) mallory.world.faults.add("store-full");
    if (turn % 10 === 0) await pause(mallory.random.between(5, 300));
  }
};

/** Keys of its own in Redis that hold something else: its window, and its session. */
const otherType: Attack = async (mallory) => {
  const headers = await logIn(mallory);
  const { redis } = mallory.world;
  const windows = (redis?.keys ?? []).filter((key) => key.includes(mallory.address));
  for (const key of [...windows, ...sessionsIn(redis?.keys ?? [], headers.cookie)]) {
    mallory.world.faults.add("redis-unreadable");
    if (mallory.random.chance(0.5)) redis?.run(["SET", key, "damaged"]);
    else {
      redis?.run(["DEL", key]);
      redis?.run(["RPUSH", key, "something else"]);
    }
  }
  for (let turn = 0; turn < 8; turn += 1) {
    await mallory.send("other type", "GET", "/me", { headers });
    await pause(mallory.random.between(20, 200));
  }
};

/** Requests that write into a session while it is logged out. */
const saveRace: Attack = async (mallory) => {
  for (let turn = 0; turn < 8; turn += 1) {
    const headers = await logIn(mallory);
    const saves = Array.from({ length: 4 }, (_, save) =>
      mallory.send("save", "POST", "/notes", { headers, body: { note: `${save}` } }),
    );
    await pause(mallory.random.between(0, 3));
    const end = await mallory.send("log out", "POST", "/logout", { headers });
    await Promise.all(saves);
    // A plain store does not say what its `destroy` found.
    if (end.answer.status !== 200 || mallory.world.sessions === "files") continue;
    await pause(1000);
    const { answer } = await mallory.send("visit", "GET", "/me", { headers });
    if (answer.status === 200)
      mallory.violation("b", "save race: a log-out was acknowledged, and a request under way brought the session back");
  }
};

const sessionsIn = (keys: readonly string[], cookie: string): string[] => {
  const value = decodeURIComponent(cookie.split("=")[1] ?? "");
  return keys.filter((key) => key.includes("session:") && value.includes(key.slice(key.lastIndexOf(":") + 1)));
};

/** More requests than a limit allows, of both processes at the same time. */
const bothProcesses: Attack = async (mallory) => {
  const { key } = await limitedKey(mallory);
  const headers = { "x-api-key": key };
  const uses = await Promise.all(
    Array.from({ length: 4 * KEY_LIMIT.limit }, (_, turn) =>
      mallory.send("use key in both", "GET", "/me", { at: turn & 1, headers, address: `203.0.113.${turn}` }),
    ),
  );
  checkKeyLimit(
    mallory,
    "key in both processes",
    uses.filter(({ answer }) => answer.status === 200),
  );
  await Promise.all(Array.from({ length: 80 }, (_, turn) => mallory.send("flood both", "GET", "/", { at: turn & 1 })));
};

const SHARED = {
  longIds,
  unreadableRecord,
  slowKey,
  missingSession,
  renewalRace,
  burst,
  hugeFamily,
  rotationLoop,
  mintingLoop,
  addressFlood,
  nameFlood,
  spellings,
  narrowToken,
  guesses,
};
const IN_MEMORY = {
  fillKeys,
  fillTokens,
  fillSessions,
  rotationLoop,
  mintingLoop,
  addressFlood,
  nameFlood,
  narrowToken,
};

export const ATTACKS: Readonly<Record<"calm" | "storm" | "memory", Readonly<Record<string, Attack>>>> = {
  calm: SHARED,
  storm: SHARED,
  memory: IN_MEMORY,
};

/** Where limits and sessions are in Redis. */
export const ATTACKS_ON_REDIS: Readonly<Record<string, Attack>> = { otherType, bothProcesses, saveRace };
