import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { migrate, openSqlite, SqlChangeSource, SqlTokenStore } from "portcullis/sql";
import { collectEvents, ManualClock } from "portcullis/testing";
import { createRuntime } from "../../../src/core/runtime.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import type { Change, ChangeBatch, ChangeSource } from "../../../src/stores/revocations/changes.js";
import { ReplicatedTokenStore } from "../../../src/stores/revocations/replicated-token-store.js";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function database() {
  const { db, close } = await openSqlite("sqlite::memory:");
  ends.push(close);
  await migrate(db);
  return db;
}

/** A real record whose calls can be held up or broken on the way, as a network does. */
function onTheWay(
  source: ChangeSource,
  way: { [Call in "load" | "since" | "record" | "restore"]?: () => Promise<void> | void },
): ChangeSource {
  return {
    name: source.name,
    load: async () => (await way.load?.(), source.load()),
    since: async (position): Promise<ChangeBatch> => (await way.since?.(), source.since(position)),
    record: async (changes) => (await way.record?.(), source.record(changes)),
    restore: async (changes) => (await way.restore?.(), source.restore(changes)),
  };
}

const facts = (jti: string) => ({ jti, subject: "ada", issuedAt: Date.UTC(2026, 0, 1) });
const inAnHour = () => Date.now() + 3_600_000;
const token = (name: string): Change => ({ kind: "token", name, endsAt: inAnHour() });

test("a revocation that the database did not accept holds in this process at once, and still reaches the others", async () => {
  const [families, record] = [await database(), await database()];
  const runtime = createRuntime();
  const feeds = [0, 1].map(() => new ChangeFeed(new SqlChangeSource(record), runtime, { pollMs: 20 })) as [
    ChangeFeed,
    ChangeFeed,
  ];
  const here = new ReplicatedTokenStore(new SqlTokenStore(families), feeds[0], true);
  await here.init();
  await feeds[1].start();
  ends.push(...feeds.map((feed) => () => feed.close()));
  await families.schema.dropTable("portcullis_changes").execute();
  const outcomes = [
    here.denyAccessToken("j", inAnHour()),
    here.denyFamily("f", inAnHour()),
    here.revokeSubject("s", inAnHour(), inAnHour()),
  ].map((done) => expect(done).rejects.toThrow());
  const revoked = [facts("j"), { ...facts("k"), familyId: "f" }, { ...facts("k"), subject: "s" }];
  // Before any answer has come.
  expect(revoked.map((each) => here.isKnownRevoked(each))).toEqual([true, true, true]);
  await Promise.all(outcomes);
  await expect
    .poll(() => revoked.map((each) => feeds[1].isKnownRevoked(each)), { timeout: 2000 })
    .toEqual([true, true, true]);
});

test("a change that every process remembers is restored to the record, even when restoring fails at first", async () => {
  const db = await database();
  const runtime = createRuntime();
  let broken = 1;
  const source = onTheWay(new SqlChangeSource(db), { restore: () => void (broken-- > 0 && lost()) });
  const other = new ChangeFeed(new SqlChangeSource(db), runtime, { pollMs: 20 });
  let gap = false;
  const here = new ChangeFeed(
    {
      ...source,
      since: async (position) => (gap ? ((gap = false), { changes: [], position, gap: true }) : source.since(position)),
    },
    runtime,
    { pollMs: 20 },
  );
  ends.push(
    () => here.close(),
    () => other.close(),
  );
  await here.start();
  await other.publish(token("j"));
  await expect.poll(() => here.isKnownRevoked(facts("j"))).toBe(true);
  await other.close();
  // The record is lost, and the connection once more while it is being put back.
  await db.deleteFrom("portcullis_changes").execute();
  gap = true;
  await expect
    .poll(async () => (await db.selectFrom("portcullis_changes").selectAll().execute()).length, { timeout: 2000 })
    .toBe(1);
});

test("a change that was not recorded is sent again, even when the first reading after it was too late", async () => {
  const db = await database();
  const runtime = createRuntime();
  let [late, restores, dead] = [false, 0, false];
  const source = onTheWay(new SqlChangeSource(db), {
    record: () => void (dead && lost()),
    since: () => (late ? sleep(150) : undefined),
    // The connection of the late reading breaks.
    restore: () => void (++restores === 1 && lost()),
  });
  const here = new ChangeFeed(source, runtime, { pollMs: 20, staleMs: 100 });
  ends.push(() => here.close());
  await here.start();
  dead = true;
  late = true;
  await expect(here.publish(token("j"))).rejects.toThrow();
  dead = false;
  await expect.poll(() => restores, { timeout: 2000 }).toBe(1);
  late = false;
  await expect
    .poll(async () => (await db.selectFrom("portcullis_changes").selectAll().execute()).length, { timeout: 2000 })
    .toBe(1);
});

test("readings that take longer than a second do not pile up, and the position advances", async () => {
  const db = await database();
  let [running, most, slow] = [0, 0, false];
  const source = onTheWay(new SqlChangeSource(db), {
    since: async () => {
      most = Math.max(most, ++running);
      if (slow) await sleep(600);
      running -= 1;
    },
  });
  const here = new ChangeFeed(source, createRuntime(), { pollMs: 20, staleMs: 50 });
  ends.push(() => here.close());
  await here.start();
  slow = true;
  const asked = Array.from({ length: 20 }, async (_, n) => {
    await sleep(n * 50);
    await Promise.resolve(here.isRevoked(facts("k"))).catch(() => undefined);
  });
  await Promise.all(asked);
  expect(most).toBe(1);
  slow = false;
  await expect.poll(() => here.isCurrent, { timeout: 2000 }).toBe(true);
});

test("a change that no store can hold is refused, and does not keep other changes from being sent again", async () => {
  const db = await database();
  let dead = true;
  const source = onTheWay(new SqlChangeSource(db), { record: () => void (dead && lost()) });
  const here = new ChangeFeed(source, createRuntime(), { pollMs: 20 });
  ends.push(() => here.close());
  await here.start();
  await expect(here.publish({ kind: "api-key", name: "nul\0" })).rejects.toThrow();
  await expect(here.publish(token("j"))).rejects.toThrow();
  dead = false;
  await expect
    .poll(async () => (await db.selectFrom("portcullis_changes").selectAll().execute()).length, { timeout: 2000 })
    .toBe(1);
});

test("close() ends although the record never answers, and nothing starts after it", async () => {
  const db = await database();
  const watched: string[] = [];
  const source: ChangeSource = {
    ...onTheWay(new SqlChangeSource(db), { load: () => new Promise(() => undefined) }),
    watch: async () => {
      watched.push("begun");
      return async () => void watched.push("ended");
    },
  };
  const here = new ChangeFeed(source, createRuntime(), { pollMs: 20, staleMs: 100 });
  here.start().catch(() => undefined);
  await sleep(20);
  const began = performance.now();
  await here.close();
  await here.close();
  expect(performance.now() - began).toBeLessThan(1500);
  await Promise.resolve(here.isRevoked(facts("k"))).catch(() => undefined);
  here.start().catch(() => undefined);
  await sleep(50);
  expect(watched).toEqual(["begun", "ended"]);
});

test("a machine that was suspended does not trust its memory: its monotonic clock stood still", async () => {
  const db = await database();
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const { all } = collectEvents(runtime.events);
  const [here, there] = [0, 1].map(
    () => new ChangeFeed(new SqlChangeSource(db, { clock }), runtime, { pollMs: 3_600_000 }),
  ) as [ChangeFeed, ChangeFeed];
  ends.push(
    () => here.close(),
    () => there.close(),
  );
  await here.start();
  await there.start();
  const told: unknown[] = [];
  here.onKeyChange((id) => told.push(id));
  await there.publish({ kind: "token", name: "j", endsAt: clock.now() + 7_200_000 });
  clock.step(3_600_000);
  expect(here.isCurrent).toBe(false);
  expect(await here.isRevoked(facts("j"))).toBe(true);
  // Changes of keys may have been deleted meanwhile.
  expect([here.isCurrent, told, all]).toEqual([true, [undefined], []]);
});

function lost(): never {
  throw Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
}
