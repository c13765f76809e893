import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate, SqlApiKeyStore } from "portcullis/sql";
import { sampleKey } from "../../../src/testing/samples.js";
import { FILLED_ENGINES, type OpenedDatabase } from "./filled-engines.js";
import { Steps } from "./steps.js";

// An owner may have any number of keys. Ending them all is done within the time of a request, and takes as many steps as
// for a single key.
const KEYS = 100_000;
const COLUMNS =
  "id, owner_id, name, hash_algorithm, hash_digest, scopes, roles, allow_list, metadata, created_at, usage_count, made_at, due_at, idle_at";
const row = (id: string) => `${id}, 'large', 'n', 'argon2id', 'd', '[]', '[]', '[]', '{}', n, 0, n, null, n`;

describe.each(FILLED_ENGINES)("on $engine, with 100 000 keys of one owner", ({ engine, open, numbers, text }) => {
  const steps = new Steps();
  let opened: OpenedDatabase;
  let store: SqlApiKeyStore;

  beforeAll(async () => {
    opened = await open();
    await migrate(opened.slowDb);
    for (let part = 0; part < 10; part += 1) {
      const from = (part * KEYS) / 10;
      await sql
        .raw(
          `insert into portcullis_api_keys (${COLUMNS}) select ${row(text("key"))} from ${numbers(from + 1, from + KEYS / 10)}`,
        )
        .execute(opened.slowDb);
    }
    store = new SqlApiKeyStore(opened.db.withPlugin(steps), { slowDb: opened.slowDb });
    await store.insert(sampleKey({ id: "one", ownerId: "small" }));
  });
  afterAll(() => opened.close());

  test("a page of all keys takes as many statements and rows wherever it begins", async () => {
    const at = (n: number) => ({ id: `key-${n}`, createdAt: n, expiresAt: null, lastUsedAt: null });
    const page = (more: object) =>
      steps.of(async () => expect(await store.listAll({ limit: 50, ...more })).toHaveLength(50));
    const first = await page({ unusedSince: KEYS * 2 });
    expect(first[1]).toBeLessThanOrEqual(50 + 5);
    for (const more of [{}, { after: at(KEYS / 2) }, { after: at(60) }, { unusedSince: KEYS * 2, after: at(KEYS / 2) }])
      expect([more, ...(await page(more))]).toEqual([more, ...first]);
  });

  test("ending them all takes as many statements and rows as ending one", async () => {
    const small = await steps.of(() => store.revokeAllOf("small", 1000, "over"));
    const began = performance.now();
    const large = await steps.of(() => store.revokeAllOf("large", 1000, "over"));
    process.stdout.write(`${engine}: ${KEYS} keys ended by one mark in ${(performance.now() - began).toFixed(1)} ms\n`);
    expect(large).toEqual(small);
    for (const id of ["one", "key-1", `key-${KEYS}`]) expect((await store.get(id))?.revokedReason).toBe("over");
    const kept = await steps.of(() => store.revokeAllOf("large", 1001, "over", { keep: "key-7" }));
    expect(kept[0]).toBe(small[0] + 1);
    // What an earlier call has ended stays ended.
    expect((await store.get("key-7"))?.revokedReason).toBe("over");
  });

  test("keys are refused before their records say so, and the records are completed in turns", async () => {
    await store.insert(sampleKey({ id: "later", ownerId: "large" }));
    let turns = 0;
    let served = 0;
    let isOver = false;
    const others = (async () => {
      while (!isOver) {
        expect((await store.get("later"))?.revokedAt).toBeNull();
        served += 1;
        await sleep(1);
      }
    })();
    let count = 0;
    await store.writeEndsOf("large", (more) => {
      turns += 1;
      count += more;
      return count < 20_000;
    });
    isOver = true;
    await others;
    expect([count, turns]).toEqual([20_000, 40]);
    expect(served).toBeGreaterThan(5);
    // Ended, but not written yet: the rest of the records.
    expect((await store.get("key-1"))?.revokedAt).toBe(1001);
    expect((await store.get(`key-${KEYS}`))?.revokedAt).toBe(1001);
    expect((await store.get("later"))?.revokedAt).toBeNull();
  });
});
