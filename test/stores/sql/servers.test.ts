import { inspect } from "node:util";
import { sql } from "kysely";
import { afterEach, describe, expect, test } from "vitest";
import { migrate, openMysql, openPostgres, SqlApiKeyStore, SqlChangeSource, SqlTokenStore } from "portcullis/sql";
import { createRuntime } from "../../../src/core/runtime.js";
import type { Change } from "../../../src/stores/revocations/changes.js";
import { openDatabase } from "../../../src/stores/database/open-database.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { mariaDbDatabase, postgresDatabase, startMariaDb, startPostgres } from "../../support/servers.js";

const HOUR = 3_600_000;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const ENGINES = [
  { engine: "PostgreSQL", newDatabase: postgresDatabase, open: openPostgres, start: startPostgres },
  { engine: "MariaDB", newDatabase: mariaDbDatabase, open: openMysql, start: startMariaDb },
];

describe.each(ENGINES)("$engine", ({ newDatabase, open, start }) => {
  const opened = async (timeoutMs = 5000) => {
    const { db, close } = await open(await newDatabase(), { timeoutMs });
    ends.push(close);
    await migrate(db);
    return db;
  };

  test("a change is read even if another change had its number before a failover", async () => {
    const db = await opened();
    const [writer, reader] = [new SqlChangeSource(db), new SqlChangeSource(db)];
    const change = (name: string): Change => ({ kind: "token", name, endsAt: Date.now() + HOUR });
    await writer.record([change("kept")]);
    let { position } = await reader.load();
    await writer.record([change("lost")]);
    ({ position } = await reader.since(position));
    // The standby that takes over had not got the last row, nor that its number was given.
    const { seq } = await db
      .selectFrom("portcullis_changes")
      .select("seq")
      .where("name", "=", "lost" as never)
      .executeTakeFirstOrThrow();
    await db.deleteFrom("portcullis_changes").where("seq", "=", seq).execute();
    await sql`insert into portcullis_changes (seq, kind, name, cut_off, ends_at) ${sql.raw(engineOverride(open))} values (${Number(seq)}, 'token', 'new', 0, ${Date.now() + HOUR})`.execute(
      db,
    );
    expect((await reader.since(position)).changes.map(({ name }) => name)).toEqual(["new"]);
  });

  test("a subject that was revoked ten thousand times is as cheap to check as any other", async () => {
    const db = await opened();
    const source = new SqlChangeSource(db);
    const at = Date.now();
    const rows = Array.from({ length: 10_000 }, (_, n) => ({
      kind: "subject" as const,
      name: "ada",
      cut_off: at - n,
      ends_at: at + HOUR - n,
    }));
    for (let from = 0; from < rows.length; from += 1000)
      await db
        .insertInto("portcullis_changes")
        .values(rows.slice(from, from + 1000))
        .execute();
    let read = 0;
    const count = async (changes: Change[]) => {
      const before = (
        await db
          .selectFrom("portcullis_changes")
          .select((eb) => eb.fn.countAll().as("n"))
          .executeTakeFirstOrThrow()
      ).n;
      const began = performance.now();
      for (let n = 0; n < 10; n += 1) await source.record(changes);
      read = performance.now() - began;
      const after = (
        await db
          .selectFrom("portcullis_changes")
          .select((eb) => eb.fn.countAll().as("n"))
          .executeTakeFirstOrThrow()
      ).n;
      return Number(after) - Number(before);
    };
    // What is held as strictly by one row is not written again; what two rows hold only together is.
    expect(await count([{ kind: "subject", name: "ada", cutOff: at - 5, endsAt: at + HOUR - 5 }])).toBe(0);
    expect(read, "ms for ten").toBeLessThan(300);
    await db
      .deleteFrom("portcullis_changes")
      .where("ends_at", ">", at + HOUR - 100)
      .where("cut_off", "=", at)
      .execute();
    expect(await count([{ kind: "subject", name: "ada", cutOff: at + 1, endsAt: at }])).toBe(1);
  });

  test("rotations, revocations, log-ins and cleaning up at once neither deadlock nor leave a living token in an ended family", async () => {
    const db = await opened();
    const store = new SqlTokenStore(db);
    await store.init();
    const failures: unknown[] = [];
    const noted = (work: Promise<unknown>) => work.catch((error: unknown) => failures.push(error));
    const past = Date.now() - HOUR;
    for (let round = 0; round < 6; round += 1) {
      const families = Array.from({ length: 6 }, (_, n) => `f${round}-${n}`);
      await Promise.all(
        families.map((familyId) => store.insert(sampleToken({ id: `${familyId}-0`, familyId, subject: `s${round}` }))),
      );
      await Promise.all(
        families.flatMap((familyId, n) => [
          noted(
            store.rotate(
              `${familyId}-0`,
              Date.now(),
              sampleToken({ id: `${familyId}-1`, familyId, subject: `s${round}` }),
              "seal",
            ),
          ),
          noted(store.insert(sampleToken({ id: `${familyId}-2`, familyId, subject: `s${round}` }))),
          noted(
            store.insert(
              sampleToken({
                id: `old-${familyId}`,
                familyId: `old-${familyId}`,
                subject: `s${round}`,
                expiresAt: past,
                familyExpiresAt: past,
              }),
            ),
          ),
          noted(
            n % 2 === 0
              ? store.revokeSubject(`s${round}`, Date.now(), Date.now() + HOUR)
              : store.revokeFamily(familyId, Date.now()),
          ),
          noted(store.deleteExpired(Date.now())),
        ]),
      );
    }
    expect(failures.map((error) => inspect(error))).toEqual([]);
    // Each of these families began before a revocation of its subject.
    const rows = await db
      .selectFrom("portcullis_refresh_tokens")
      .select("id")
      .where("family_id", "like", "f%")
      .execute();
    const tokens = await Promise.all(rows.map(({ id }) => store.get(Buffer.from(id).toString())));
    expect(tokens.length).toBeGreaterThan(71);
    const alive = tokens.filter((token) => token?.revokedAt === null);
    expect(alive).toEqual([]);
  });

  test("concurrent batches of usage in opposite orders add up, and no time of last use goes back", async () => {
    const db = await opened();
    const store = new SqlApiKeyStore(db);
    const ids = Array.from({ length: 50 }, (_, n) => `key-${n}`);
    await Promise.all(ids.map((id) => store.insert(sampleKey({ id, usageCount: 0, lastUsedAt: null }))));
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => {
        const batch = ids.map((id) => ({ id, count: 1, lastUsedAt: 1000 + ((n * 7) % 20) }));
        return store.addUsage(n % 2 === 0 ? batch : batch.reverse());
      }),
    );
    for (const id of ids) expect(await store.get(id)).toMatchObject({ usageCount: 20, lastUsedAt: 1019 });
  });

  test("close() while a server that does not answer is being opened ends soon", async () => {
    const server = await start();
    ends.push(() => server.close());
    server.pause();
    const stores = openDatabase(server.url, createRuntime(), { timeoutMs: 250 });
    const ready = stores.ready().catch((error: unknown) => error);
    const began = performance.now();
    await Promise.all([stores.close(), stores.close()]);
    expect(performance.now() - began).toBeLessThan(1500);
    server.resume();
    // Whatever became of the attempt, nothing of it is left.
    await ready;
    await expect(stores.apiKeys.get("key")).rejects.toThrow();
  });
});

function engineOverride(open: unknown): string {
  return open === openPostgres ? "overriding system value" : "";
}
