import { afterEach, expect, test } from "vitest";
import { openSqlite, migrate, SqlChangeSource } from "portcullis/sql";
import { createRuntime } from "../../../src/core/runtime.js";
import { ChangeFeed } from "../../../src/stores/revocations/change-feed.js";
import { collectEvents, ManualClock } from "portcullis/testing";

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Two processes' feeds on one database, on a clock that moves when told to. They read when asked, not by themselves. */
async function twoFeeds(pollMs = 3_600_000) {
  const { db, close } = await openSqlite("sqlite::memory:");
  ends.push(close);
  await migrate(db);
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const collected = collectEvents(runtime.events);
  const [here, there] = [0, 1].map(() => new ChangeFeed(new SqlChangeSource(db, { clock }), runtime, { pollMs })) as [
    ChangeFeed,
    ChangeFeed,
  ];
  ends.push(
    () => here.close(),
    () => there.close(),
  );
  await here.start();
  await there.start();
  return { here, there, clock, db, collected, inAnHour: clock.now() + 3_600_000 };
}

const facts = (jti: string) => ({ jti, subject: "ada", issuedAt: Date.UTC(2026, 0, 1) });

test("the change feed trusts its memory while the last reading began less than a second ago, and not a millisecond longer", async () => {
  const { here, there, clock, inAnHour } = await twoFeeds();
  await there.publish({ kind: "token", name: "j", endsAt: inAnHour });
  clock.advance(999);
  expect([here.isCurrent, here.isRevoked(facts("j"))]).toEqual([true, false]);
  clock.advance(1);
  expect(here.isCurrent).toBe(false);
  // Not current: the record is read before answering.
  const answer = here.isRevoked(facts("j"));
  expect(answer).toBeInstanceOf(Promise);
  expect(await answer).toBe(true);
  expect([here.isCurrent, here.isRevoked(facts("j")), here.isRevoked(facts("k"))]).toEqual([true, true, false]);
});

test("a process refuses at once what it revokes, and notifies its own listeners", async () => {
  const { here, inAnHour } = await twoFeeds();
  const told: (string | undefined)[] = [];
  const stop = here.onKeyChange((change) => told.push(change?.name));
  const published = here.publish(
    { kind: "subject", name: "ada", cutOff: inAnHour, endsAt: inAnHour },
    { kind: "api-key", name: "key-1" },
  );
  expect([here.isRevoked(facts("j")), told]).toEqual([true, ["key-1"]]);
  await published;
  stop();
  await here.publish({ kind: "api-key", name: "key-2" });
  expect(told).toEqual(["key-1"]);
});

test("while the record cannot be read the feed gives no answer, keeps refusing known revocations, acknowledges no write and reports one event", async () => {
  const { here, clock, db, collected, inAnHour } = await twoFeeds();
  await here.publish({ kind: "family", name: "f", endsAt: inAnHour });
  await db.schema.dropTable("portcullis_changes").execute();
  await expect(here.publish({ kind: "token", name: "late", endsAt: inAnHour })).rejects.toMatchObject({
    code: "PORTCULLIS_STORE_UNAVAILABLE",
  });
  clock.advance(1000);
  for (let n = 0; n < 3; n += 1) await expect(here.isRevoked(facts("j"))).rejects.toThrow();
  expect(here.isCurrent).toBe(false);
  expect([here.isRevoked({ ...facts("j"), familyId: "f" }), here.isRevoked(facts("late"))]).toEqual([true, true]);
  expect(collected.all.map(({ event, source }) => [event, source])).toEqual([
    ["portcullis_store_unavailable", "revocations"],
  ]);
});

test("a change that could not be recorded is recorded later", async () => {
  const { here, there, db, inAnHour } = await twoFeeds(20);
  await db.schema.alterTable("portcullis_changes").renameTo("elsewhere").execute();
  await expect(here.publish({ kind: "token", name: "late", endsAt: inAnHour })).rejects.toThrow();
  await db.schema.alterTable("elsewhere").renameTo("portcullis_changes").execute();
  await expect.poll(() => there.isKnownRevoked(facts("late")), { timeout: 2000 }).toBe(true);
});

test("the change feed starts without a second call after a start that failed", async () => {
  const { db, close } = await openSqlite("sqlite::memory:");
  ends.push(close);
  const feed = new ChangeFeed(new SqlChangeSource(db), createRuntime(), { pollMs: 20 });
  ends.push(() => feed.close());
  await expect(feed.start()).rejects.toThrow();
  expect(feed.isCurrent).toBe(false);
  await migrate(db);
  await expect.poll(() => feed.isCurrent, { timeout: 2000 }).toBe(true);
});
