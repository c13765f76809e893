import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kysely, SqliteDialect, type CompiledQuery } from "kysely";
import { afterAll, describe, expect, test } from "vitest";
import { openSqlite, SqlApiKeyStore, SqlTokenStore, type PortcullisTables } from "portcullis/sql";
import { DeadlinePassedError } from "../../../src/stores/health/write-call.js";
import { loadSqliteEngine } from "../../../src/stores/sql/sqlite-engines.js";
import { ManualClock } from "../../../src/testing/manual-clock.js";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { DRIVERS_HERE } from "../../contract/drivers.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-sqlite-"));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
const freshPath = () => join(folder, `${(files += 1)}.db`);

describe("query plans", () => {
  /** Stores on a database that notes what is run, so that the plans are of the real statements. */
  async function watched() {
    const database = (await loadSqliteEngine()).open(":memory:");
    const seen: CompiledQuery[] = [];
    const db = new Kysely<PortcullisTables>({
      dialect: new SqliteDialect({ database: async () => database }),
      log: (event) => void seen.push(event.query),
    });
    const plansOf = async (work: () => Promise<unknown>) => {
      seen.length = 0;
      await work();
      const queries = seen.filter(({ sql }) => /^(select|update|delete)/.test(sql) && !sql.includes("max("));
      return queries
        .flatMap(
          ({ sql, parameters }) =>
            database.prepare(`explain query plan ${sql}`).all(parameters) as { detail: string }[],
        )
        .map(({ detail }) => detail);
    };
    const keys = new SqlApiKeyStore(db);
    const tokens = new SqlTokenStore(db);
    await keys.init();
    await tokens.init();
    return { keys, tokens, plansOf, close: () => db.destroy() };
  }

  test("a page of an owner's keys comes from one index, already in order, beginning at the cursor", async () => {
    const { keys, plansOf, close } = await watched();
    await keys.insert(sampleKey());
    expect(await plansOf(() => keys.list("owner", { limit: 10 }))).toEqual([
      "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_owner (owner_id=?)",
      "SEARCH owner USING INDEX sqlite_autoindex_portcullis_owner_marks_1 (owner_id=?) LEFT-JOIN",
    ]);
    const after = await plansOf(() => keys.list("owner", { limit: 10, after: "key-1" }));
    expect(after.slice(-2)).toEqual([
      "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_owner (owner_id=? AND created_at<?)",
      "SEARCH owner USING INDEX sqlite_autoindex_portcullis_owner_marks_1 (owner_id=?) LEFT-JOIN",
    ]);
    expect(after.join()).not.toContain("TEMP B-TREE");
    await close();
  });

  test("a page of all keys comes from the index of its order", async () => {
    const { keys, plansOf, close } = await watched();
    const after = sampleKey();
    for (const [page, plan] of [
      [{}, "SCAN portcullis_api_keys USING INDEX portcullis_api_keys_by_creation"],
      [{ after }, "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_creation (made_at<?)"],
      [
        { expires: { from: 1, before: 9 } },
        "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_expiry (due_at>? AND due_at<?)",
      ],
      [
        { expires: { from: 1, before: 9 }, after },
        "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_expiry (due_at>? AND due_at<?)",
      ],
      [{ unusedSince: 9 }, "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_use (idle_at<?)"],
      [
        { unusedSince: 9, after },
        "SEARCH portcullis_api_keys USING INDEX portcullis_api_keys_by_use (idle_at>? AND idle_at<?)",
      ],
    ] as const) {
      const plans = await plansOf(() => keys.listAll({ limit: 10, ...page }));
      expect(plans[0]).toBe(plan);
      expect(plans.join()).not.toContain("TEMP B-TREE");
    }
    await close();
  });

  test("no statement on keys or tokens reads a whole table", async () => {
    const { keys, tokens, plansOf, close } = await watched();
    const at = Date.now();
    const { hash } = sampleKey();
    const plans = await plansOf(async () => {
      await keys.insert(sampleKey());
      await keys.get("key-1");
      await keys.replaceHash("key-1", hash, hash);
      await keys.addUsage([{ id: "key-1", count: 1, lastUsedAt: 1 }]);
      await keys.update("key-1", { name: "x", expiresAt: 5 });
      await keys.rotate("key-1", sampleKey({ id: "key-2" }), 1);
      await keys.revokeAllOf("owner", 1, "x", { keep: "key-2" });
      await keys.writeEndsOf("owner", () => true);
      await keys.revoke("key-1", 1, "x");
      await tokens.insert(sampleToken());
      await tokens.get("token-1");
      await tokens.rotate("token-1", 1, sampleToken({ id: "token-2" }), "sealed");
      await tokens.revokeFamily("family-1", 1);
      await tokens.revokeSubject("user-1", at, at + 10);
      await tokens.denyAccessToken("jti", at);
      await tokens.denyFamily("family-1", at);
      await tokens.deleteExpired(at + 100);
    });
    expect(plans.length).toBeGreaterThan(15);
    expect(plans.filter((plan) => plan.startsWith("SCAN"))).toEqual([]);
    // Not every token that was ever used, each time it cleans up.
    expect(plans).toContain("SEARCH portcullis_refresh_tokens USING INDEX portcullis_tokens_by_seal (sealed_at<?)");
    await close();
  });
});

describe.each(DRIVERS_HERE)("a file locked by another process, by %s", (driver) => {
  test("a write waits for it without stopping this process, and is done once; reads do not wait", async () => {
    const path = freshPath();
    const { db, close } = await openSqlite(`sqlite:${path}`, { driver });
    const store = new SqlApiKeyStore(db);
    await store.init();
    await store.insert(sampleKey());
    const other = (await loadSqliteEngine(driver)).open(path);
    other.prepare("begin immediate").run([]);

    let ticks = 0;
    const ticking = setInterval(() => (ticks += 1), 10);
    const started = performance.now();
    let isDone = false;
    const writing = store
      .addUsage([{ id: "key-1", count: 1, lastUsedAt: 1_900_000_000_000 }])
      .then(() => (isDone = true));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isDone).toBe(false);
    expect((await store.get("key-1"))?.usageCount).toBe(3);
    expect(ticks).toBeGreaterThan(10);
    // The other process writes too: the view of the file that the waiting connection had is now an old one.
    other.prepare("update portcullis_api_keys set usage_count = usage_count + 100").run([]);
    other.prepare("commit").run([]);
    other.close();
    await writing;
    clearInterval(ticking);
    expect(performance.now() - started).toBeLessThan(2000);
    expect((await store.get("key-1"))?.usageCount).toBe(104);
    await close();
  });
});

describe("the token store's mirror", () => {
  test("isRevoked is answered without a promise once the store is initialised, and waits for that before", async () => {
    const path = freshPath();
    const first = await openSqlite(`sqlite:${path}`);
    const writer = new SqlTokenStore(first.db);
    await writer.init();
    const at = Date.now();
    await writer.denyAccessToken("jti-1", at + 60_000);
    await writer.denyFamily("family-1", at + 60_000);
    await writer.revokeSubject("user-1", at, at + 60_000);
    expect(writer.isRevoked({ jti: "jti-1", subject: "s", issuedAt: at })).toBe(true);
    await first.close();

    const second = await openSqlite(`sqlite:${path}`);
    const reader = new SqlTokenStore(second.db);
    // Asked before anything is loaded, as by a request that comes in while the app starts: never "not revoked".
    const early = reader.isRevoked({ jti: "jti-1", subject: "s", issuedAt: at });
    expect(early).toBeInstanceOf(Promise);
    expect(await early).toBe(true);
    expect(reader.isRevoked({ jti: "j", subject: "s", issuedAt: at, familyId: "family-1" })).toBe(true);
    expect(reader.isRevoked({ jti: "j", subject: "user-1", issuedAt: at - 1 })).toBe(true);
    expect(reader.isRevoked({ jti: "j", subject: "user-1", issuedAt: at })).toBe(false);
    await second.close();
  });

  test("has no effect for a denial that could not be written, and the call rejects", async () => {
    const { db, close } = await openSqlite("sqlite::memory:");
    const store = new SqlTokenStore(db);
    await store.init();
    await db.schema.dropTable("portcullis_changes").execute();
    await expect(store.denyAccessToken("jti-1", 1)).rejects.toThrow("no such table");
    expect(store.isRevoked({ jti: "jti-1", subject: "s", issuedAt: 1 })).toBe(false);
    await close();
  });

  test("does not load expired denials", async () => {
    const clock = new ManualClock();
    const { db, close } = await openSqlite("sqlite::memory:");
    const writer = new SqlTokenStore(db, { clock });
    await writer.init();
    await writer.denyAccessToken("short", clock.now() + 1000);
    await writer.denyAccessToken("long", clock.now() + 5000);
    clock.advance(2000);
    const reader = new SqlTokenStore(db, { clock });
    await reader.init();
    expect(reader.isRevoked({ jti: "short", subject: "s", issuedAt: 0 })).toBe(false);
    expect(reader.isRevoked({ jti: "long", subject: "s", issuedAt: 0 })).toBe(true);
    await close();
  });
});

test("deleteExpired() deletes more sealed successors than one batch holds", async () => {
  const { db, close } = await openSqlite("sqlite::memory:");
  const store = new SqlTokenStore(db);
  await store.init();
  const usedAt = Date.now();
  for (let index = 0; index < 1001; index += 1)
    await store.insert(sampleToken({ id: `t${index}`, usedAt, successorId: "x", sealedSuccessor: "sealed" }));
  expect(await store.deleteExpired(usedAt + 60_001)).toBe(0);
  const left = await db
    .selectFrom("portcullis_refresh_tokens")
    .select("id")
    .where("sealed_successor", "is not", null)
    .execute();
  expect(left).toEqual([]);
  await close();
});

test("deleteExpired() deletes more records than one batch holds", async () => {
  const { db, close } = await openSqlite("sqlite::memory:");
  const store = new SqlTokenStore(db);
  await store.init();
  const now = Date.now();
  await Promise.all(
    Array.from({ length: 1100 }, (_, index) =>
      store.insert(sampleToken({ id: `t${index}`, familyId: `f${index}`, expiresAt: now, familyExpiresAt: now })),
    ),
  );
  await store.insert(sampleToken());
  expect(await store.deleteExpired(now + 1)).toBe(1100);
  const count = (table: "portcullis_refresh_tokens" | "portcullis_token_families") =>
    db.selectFrom(table).select("id").execute();
  expect(await count("portcullis_refresh_tokens")).toEqual([{ id: "token-1" }]);
  expect(await count("portcullis_token_families")).toEqual([{ id: "family-1" }]);
  await close();
});

test("a stored key with a hash algorithm of the future is an error, never a key without a check", async () => {
  const { db, close } = await openSqlite("sqlite::memory:");
  const store = new SqlApiKeyStore(db);
  await store.init();
  await store.insert(sampleKey());
  await db.updateTable("portcullis_api_keys").set({ hash_algorithm: "none" }).execute();
  await expect(store.get("key-1")).rejects.toMatchObject({ code: "PORTCULLIS_UNREADABLE_RECORD" });
  expect(await store.list("owner", { limit: 10 })).toEqual([]);
  await close();
});

test("a write whose deadline is past, or whose caller was refused before the commit, has changed nothing", async () => {
  const { db, close } = await openSqlite("sqlite::memory:");
  const [keys, tokens] = [new SqlApiKeyStore(db), new SqlTokenStore(db)];
  await keys.init();
  await tokens.init();
  await keys.insert(sampleKey());
  await tokens.insert(sampleToken());
  const past = { deadline: performance.now() - 1, beginCommit: () => true, commitEnded: () => undefined };
  const refused = { deadline: performance.now() + 60_000, beginCommit: () => false, commitEnded: () => undefined };
  for (const call of [past, refused]) {
    await expect(keys.insert(sampleKey({ id: "key-2" }), call)).rejects.toBeInstanceOf(DeadlinePassedError);
    await expect(keys.rotate("key-1", sampleKey({ id: "key-2" }), 0, call)).rejects.toBeInstanceOf(DeadlinePassedError);
    await expect(tokens.insert(sampleToken({ id: "token-2" }), call)).rejects.toBeInstanceOf(DeadlinePassedError);
    await expect(tokens.rotate("token-1", 1, sampleToken({ id: "token-2" }), "sealed", call)).rejects.toBeInstanceOf(
      DeadlinePassedError,
    );
  }
  expect([await keys.get("key-2"), await tokens.get("token-2")]).toEqual([undefined, undefined]);
  expect([(await keys.get("key-1"))?.rotatedTo, (await tokens.get("token-1"))?.usedAt]).toEqual([null, null]);
  const inTime = { deadline: performance.now() + 60_000, beginCommit: () => true, commitEnded: () => undefined };
  expect(await keys.rotate("key-1", sampleKey({ id: "key-2" }), 0, inTime)).toBe(true);
  expect(await tokens.rotate("token-1", 1, sampleToken({ id: "token-2" }), "sealed", inTime)).toBe(true);
  await close();
});
