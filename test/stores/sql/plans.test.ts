import { sql, type CompiledQuery, Kysely, MysqlDialect, PostgresDialect } from "kysely";
import mysql from "mysql2";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  migrate,
  SqlApiKeyStore,
  SqlChangeSource,
  SqlCredentialStore,
  SqlSingleUseStore,
  SqlTokenStore,
  type PortcullisTables,
} from "portcullis/sql";
import { sampleKey, sampleToken } from "../../../src/testing/samples.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

// The plans of the statements the stores really send, on tables of a size at which a wrong plan would be chosen if there
// were no right one. The keys are one owner's, the worst case for paging.
const KEYS = 200_000;
const TOKENS = 20_000;

const KEY_COLUMNS =
  "id, owner_id, name, hash_algorithm, hash_digest, scopes, roles, allow_list, metadata, created_at, usage_count, made_at, due_at, idle_at";
const TOKEN_COLUMNS = "id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at";

const keyRow = (id: string) => `${id}, 'owner', 'n', 'argon2id', 'd', '[]', '[]', '[]', '{}', n, 0, n, n, n`;
const tokenRow = (id: string, family: string, subject: string) =>
  `${id}, 'h', ${family}, ${subject}, '[]', '[]', '{}', n, 4000000000000, 5000000000000`;

const CREDENTIAL_COLUMNS = "id, owner_id, kind, name, data, created_at, expires_at, counter, failures, version";
const SINGLE_USE_COLUMNS = "id, kind, owner_id, data, expires_at";
/** Ids of 22 and of 43 characters. */
const credentialId = (n: number) => String(n).padStart(22, "c");
const recordId = (n: number) => String(n).padStart(43, "r");

/** Rows numbered from 1, for MariaDB and MySQL, which have no generate_series. */
function numbers(count: number): string {
  const digits =
    "(select 0 d union all select 1 union all select 2 union all select 3 union all select 4 union all select 5 union all select 6 union all select 7 union all select 8 union all select 9)";
  const places = Array.from({ length: 6 }, (_, place) => `${digits} p${place}`);
  const sum = Array.from({ length: 6 }, (_, place) => `p${place}.d * ${10 ** place}`).join(" + ");
  return `(select * from (select 1 + ${sum} n from ${places.join(", ")}) whole where n <= ${count} order by n) s`;
}

interface Plan {
  readonly statement: string;
  /** One line a step of the plan. */
  readonly steps: readonly string[];
}

const ENGINES = [
  {
    engine: "PostgreSQL",
    newDatabase: postgresDatabase,
    dialect: (url: string) => new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 2 }) }),
    fill: [
      `insert into portcullis_api_keys (${KEY_COLUMNS}) select ${keyRow("'key-' || n")} from generate_series(1, ${KEYS}) n`,
      `insert into portcullis_token_families (id, subject, expires_at) select 'family-' || n, 'user-' || (n / 5), 5000000000000 from generate_series(1, ${TOKENS}) n`,
      `insert into portcullis_refresh_tokens (${TOKEN_COLUMNS}) select ${tokenRow("'token-' || n", "'family-' || n", "'user-' || (n / 5)")} from generate_series(1, ${TOKENS}) n`,
      `insert into portcullis_subject_marks (subject, mark, revoked_at, ends_at) select 'user-' || n, 'mark-' || n, 0, 5000000000000 from generate_series(10, ${TOKENS}) n`,
      `insert into portcullis_owner_marks (owner_id, mark, revoked_at, reason) select 'owner-' || n, 'mark-' || n, 0, 'x' from generate_series(1, ${TOKENS}) n`,
      `insert into portcullis_changes (kind, name, cut_off, ends_at) select 'token', 'jti-' || n, 0, 5000000000000 from generate_series(1, ${TOKENS}) n`,
      `insert into portcullis_credentials (${CREDENTIAL_COLUMNS}) select lpad(n::text, 22, 'c'), 'person-' || (n / 5), 'password', 'name-' || n, '{}', n, 5000000000000, -1, 0, 0 from generate_series(1, ${TOKENS}) n`,
      `insert into portcullis_single_use (${SINGLE_USE_COLUMNS}) select lpad(n::text, 43, 'r'), 'log-in', 'person-' || (n / 5), '{}', 5000000000000 from generate_series(1, ${TOKENS}) n`,
      "analyze",
    ],
    explain: "explain ",
    stepsOf: (rows: readonly Record<string, unknown>[]) => rows.map((row) => String(row["QUERY PLAN"])),
    wholeTable: /Seq Scan on "?portcullis/,
    sorted: /Sort/,
    byOwner: /Index Scan using portcullis_api_keys_by_owner on portcullis_api_keys/,
    byOrder: /Index Scan (?:Backward )?using portcullis_api_keys_by_(?:creation|expiry|use) on portcullis_api_keys/,
  },
  {
    engine: "MariaDB",
    newDatabase: mariaDbDatabase,
    dialect: (url: string) =>
      new MysqlDialect({ pool: mysql.createPool({ uri: url, charset: "utf8mb4", connectionLimit: 2 }) }),
    fill: [
      `insert into portcullis_api_keys (${KEY_COLUMNS}) select ${keyRow("concat('key-', n)")} from ${numbers(KEYS)}`,
      `insert into portcullis_token_families (id, subject, expires_at) select concat('family-', n), concat('user-', n div 5), 5000000000000 from ${numbers(TOKENS)}`,
      `insert into portcullis_refresh_tokens (${TOKEN_COLUMNS}) select ${tokenRow("concat('token-', n)", "concat('family-', n)", "concat('user-', n div 5)")} from ${numbers(TOKENS)}`,
      `insert into portcullis_subject_marks (subject, mark, revoked_at, ends_at) select concat('user-', n + 9), concat('mark-', n), 0, 5000000000000 from ${numbers(TOKENS)}`,
      `insert into portcullis_owner_marks (owner_id, mark, revoked_at, reason) select concat('owner-', n), concat('mark-', n), 0, 'x' from ${numbers(TOKENS)}`,
      `insert into portcullis_changes (kind, name, cut_off, ends_at) select 'token', concat('jti-', n), 0, 5000000000000 from ${numbers(TOKENS)}`,
      `insert into portcullis_credentials (${CREDENTIAL_COLUMNS}) select lpad(n, 22, 'c'), concat('person-', n div 5), 'password', concat('name-', n), '{}', n, 5000000000000, -1, 0, 0 from ${numbers(TOKENS)}`,
      `insert into portcullis_single_use (${SINGLE_USE_COLUMNS}) select lpad(n, 43, 'r'), 'log-in', concat('person-', n div 5), '{}', 5000000000000 from ${numbers(TOKENS)}`,
      "analyze table portcullis_credentials, portcullis_single_use, portcullis_api_keys, portcullis_token_families, portcullis_refresh_tokens, portcullis_subject_marks, portcullis_owner_marks, portcullis_changes",
    ],
    // As a table: MySQL 9 draws a tree unless told.
    explain: "explain format=traditional ",
    stepsOf: (rows: readonly Record<string, unknown>[]) =>
      rows.map((row) => `${String(row["table"])} ${String(row["type"])} ${String(row["key"])} ${String(row["Extra"])}`),
    wholeTable: /^portcullis\w+ (ALL|index) /,
    sorted: /filesort/,
    byOwner: /^portcullis_api_keys (ref|range) portcullis_api_keys_by_owner/,
    // Without a cursor the first keys of all are read in the order of the index, and no more.
    byOrder: /^portcullis_api_keys (range|index) portcullis_api_keys_by_(creation|expiry|use)/,
  },
];

describe.each(ENGINES)(
  `$engine with ${KEYS} keys of one owner`,
  ({ engine, newDatabase, dialect, fill, explain, stepsOf, wholeTable, sorted, byOwner, byOrder }) => {
    const seen: CompiledQuery[] = [];
    let db: Kysely<PortcullisTables>;
    let keys: SqlApiKeyStore;
    let tokens: SqlTokenStore;

    beforeAll(async () => {
      db = new Kysely<PortcullisTables>({
        dialect: dialect(await newDatabase()),
        log: (event) => void seen.push(event.query),
      });
      await migrate(db);
      for (const statement of fill) await sql.raw(statement).execute(db);
      keys = new SqlApiKeyStore(db);
      tokens = new SqlTokenStore(db);
      await tokens.init();
    });
    afterAll(() => db.destroy());

    async function plansOf(work: () => Promise<unknown>): Promise<Plan[]> {
      seen.length = 0;
      await work();
      // The parts of one statement are explained by its whole; `insert` and transaction control read nothing.
      const queries = seen
        .filter(({ sql: text }) => /^(select|update|delete)/.test(text))
        .filter(({ sql: text }, index, all) => all.findIndex((other) => other.sql === text) === index);
      const plans: Plan[] = [];
      for (const query of queries) {
        const { rows } = await db.executeQuery<Record<string, unknown>>({ ...query, sql: `${explain}${query.sql}` });
        plans.push({ statement: query.sql, steps: stepsOf(rows) });
      }
      return plans;
    }

    test("a page comes from one index, already in order, beginning at the cursor", async () => {
      for (const after of [undefined, `key-${KEYS}`, `key-${KEYS / 2}`, "key-10"]) {
        const plans = await plansOf(() => keys.list("owner", { limit: 50, after }));
        const page = plans.at(-1);
        expect(
          page?.steps.some((step) => byOwner.test(step)),
          page?.steps.join("\n"),
        ).toBe(true);
        expect(page?.steps.filter((step) => sorted.test(step) || wholeTable.test(step))).toEqual([]);
      }
    });

    test("a page of all keys comes from the index of its order, beginning at the cursor", async () => {
      const at = (n: number) => ({ id: `key-${n}`, createdAt: n, expiresAt: n, lastUsedAt: n });
      const middle = { from: 1, before: KEYS / 2 };
      for (const page of [
        {},
        { after: at(KEYS / 2) },
        { expires: middle },
        { expires: middle, after: at(KEYS / 4) },
        { unusedSince: KEYS / 2 },
        { unusedSince: KEYS / 2, after: at(KEYS / 4) },
      ]) {
        const plans = await plansOf(async () => expect(await keys.listAll({ limit: 50, ...page })).toHaveLength(50));
        const steps = plans.at(-1)?.steps ?? [];
        expect(
          steps.some((step) => byOrder.test(step)),
          steps.join("\n"),
        ).toBe(true);
        const others = steps.filter((step) => !byOrder.test(step));
        expect(others.filter((step) => sorted.test(step) || wholeTable.test(step))).toEqual([]);
        expect(steps.filter((step) => sorted.test(step))).toEqual([]);
      }
    });

    test("the last page is as fast as the first", async () => {
      const time = async (after: string | undefined, length: number) => {
        const times: number[] = [];
        for (let n = 0; n < 7; n += 1) {
          const started = performance.now();
          expect(await keys.list("owner", { limit: 50, after })).toHaveLength(length);
          times.push(performance.now() - started);
        }
        return times.sort((a, b) => a - b)[3] ?? 0;
      };
      const first = await time(undefined, 50);
      const middle = await time(`key-${KEYS / 2}`, 50);
      const last = await time("key-51", 50);
      process.stdout.write(
        `${engine}, ${KEYS} keys of one owner, a page of 50: first ${first.toFixed(1)} ms, middle ${middle.toFixed(1)} ms, last ${last.toFixed(1)} ms\n`,
      );
      // Reading all keys before the last page takes hundreds.
      expect(Math.max(middle, last)).toBeLessThan(first * 5 + 25);
    });

    test("no statement of accounts reads a whole table", async () => {
      const at = Date.now();
      const credentials = new SqlCredentialStore(db);
      const singleUse = new SqlSingleUseStore(db);
      const record = { id: recordId(30_000), kind: "log-in", ownerId: "person-7", data: {}, expiresAt: at + 1000 };
      const plans = await plansOf(async () => {
        expect(await credentials.listOf("person-7")).toHaveLength(5);
        expect(await credentials.find("password", "name-9")).toBeDefined();
        expect(await credentials.advance(credentialId(40), 5, at)).toBe(true);
        expect(await credentials.addFailure(credentialId(40))).toBe(1);
        await credentials.clearFailures(credentialId(40));
        const update = [{ id: credentialId(46), version: 0, data: { a: 1 } }];
        const change = { remove: [credentialId(45)], removeKinds: ["totp"], update };
        expect(await credentials.change("person-9", change)).toBe(true);
        await credentials.deleteExpired(at);
        await singleUse.put(record);
        expect(await singleUse.get("log-in", recordId(9), at)).toBeDefined();
        expect(await singleUse.take("log-in", recordId(9), at)).toBeDefined();
        await singleUse.deleteExpired(at);
      });
      expect(plans.length).toBeGreaterThan(10);
      expect(plans.filter(({ steps }) => steps.some((step) => wholeTable.test(step)))).toEqual([]);
    });

    test("no statement reads a whole table", async () => {
      const at = Date.now();
      const { hash } = sampleKey();
      const batch = Array.from({ length: 500 }, (_, index) => ({
        id: `key-${index * 7 + 1}`,
        count: 1,
        lastUsedAt: at,
      }));
      const started = performance.now();
      await keys.addUsage(batch);
      process.stdout.write(`${engine}: a usage batch of 500 keys ${(performance.now() - started).toFixed(1)} ms\n`);
      const plans = await plansOf(async () => {
        await keys.get("key-1");
        await keys.replaceHash("key-1", hash, hash);
        await keys.addUsage(batch.slice(0, 100));
        await keys.update("key-1", { name: "x", expiresAt: at });
        await keys.rotate("key-1", sampleKey({ id: "next" }), 1);
        await keys.revokeAllOf("owner-7", at, "x", { keep: "key-3" });
        await keys.writeEndsOf("owner-7", () => true);
        await keys.revoke("key-2", 1, "x");
        await tokens.insert(sampleToken({ id: "new", familyId: "new" }));
        await tokens.get("token-1");
        await tokens.rotate("token-1", 1, sampleToken({ id: "token-1b", familyId: "family-1" }), "sealed");
        await tokens.revokeFamily("family-2", 1);
        await tokens.familiesOf("user-8", at, { limit: 50 });
        await tokens.revokeSubject("user-9", at, at + 10_000);
        await tokens.familiesOf("user-9", at, { limit: 50, after: "family-45" });
        await tokens.deleteExpired(at);
        await new SqlChangeSource(db).record([{ kind: "token", name: "jti-7", endsAt: at + 1000 }]);
        await tokens.changes.since((await tokens.changes.load()).position);
      });
      expect(plans.length).toBeGreaterThan(14);
      expect(plans.filter(({ steps }) => steps.some((step) => wholeTable.test(step)))).toEqual([]);
    });
  },
);
