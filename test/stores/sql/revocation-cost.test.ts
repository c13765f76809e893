import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate, openMysql, openPostgres, openSqlite, SqlTokenStore, type PortcullisDatabase } from "portcullis/sql";
import { sampleToken } from "../../../src/testing/samples.js";
import type { JwtManager } from "../../../src/jwt/manager.js";
import { parseRefreshToken } from "../../../src/jwt/refresh/refresh-secrets.js";
import { type Bench, bench, codeOf } from "../../jwt/support.js";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";
import { Steps } from "./steps.js";

// What an attacker can make large: the tokens of a family (by refreshing) and the families of a subject (by logging in).
// Revoking them is done within the time of a request (250 ms a statement), and touches as many rows as for a single token.
const TOKENS = 100_000;
const FAMILIES = 20_000;
const HOUR_MS = 3_600_000;

const TOKEN = "id, hash, family_id, subject, scopes, roles, claims, issued_at, expires_at, family_expires_at, used_at";
const row = (id: string, family: string, subject: string) =>
  `${id}, 'h', ${family}, ${subject}, '[]', '[]', '{}', 1, 4000000000000, 5000000000000, 2`;

interface Opened {
  readonly db: PortcullisDatabase;
  readonly slowDb: PortcullisDatabase;
  close(): Promise<void>;
}

const recursive = (count: number) =>
  `(with recursive s(n) as (select 1 union all select n + 1 from s where n < ${count}) select n from s) numbers`;

const ENGINES = [
  {
    engine: "SQLite",
    open: async (): Promise<Opened> => {
      const opened = await openSqlite("sqlite::memory:");
      return { db: opened.db, slowDb: opened.db, close: () => opened.close() };
    },
    numbers: recursive,
    text: (name: string) => `'${name}-' || n`,
  },
  {
    engine: "PostgreSQL",
    open: async (): Promise<Opened> => openPostgres(await postgresDatabase(), { timeoutMs: 250 }),
    numbers: (count: number) => `generate_series(1, ${count}) n`,
    text: (name: string) => `'${name}-' || n`,
  },
  {
    engine: "MariaDB",
    open: async (): Promise<Opened> => openMysql(await mariaDbDatabase(), { timeoutMs: 250 }),
    numbers: (count: number) => `(select seq n from seq_1_to_${count}) numbers`,
    text: (name: string) => `concat('${name}-', n)`,
  },
];

/** A manager whose clock begins at the time that the database server has too. */
function processOn(store: SqlTokenStore): Bench {
  const made = bench({}, store);
  made.clock.step(Date.now() - made.clock.now());
  return made;
}

describe.each(ENGINES)(
  "on $engine, with a family of 100 000 tokens and a subject of 20 000 families",
  ({ open, numbers, text }) => {
    const steps = new Steps();
    let opened: Opened;
    let store: SqlTokenStore;
    const run = (statement: string) => sql.raw(statement).execute(opened.slowDb);

    /** 100 000 used tokens of one family, in slices, as a statement may take this server's five seconds. */
    async function fill(family: string, subject: string, name: string): Promise<void> {
      for (let part = 0; part < 10; part += 1) {
        await run(
          `insert into portcullis_refresh_tokens (${TOKEN}) select ${row(text(`${name}${part}`), `'${family}'`, `'${subject}'`)} from ${numbers(TOKENS / 10)}`,
        );
      }
    }

    beforeAll(async () => {
      opened = await open();
      const { db, slowDb } = opened;
      await migrate(slowDb);
      await run(
        "insert into portcullis_token_families (id, subject, expires_at) values ('large', 'mallory', 5000000000000), ('other', 'ada', 5000000000000)",
      );
      await run(
        `insert into portcullis_token_families (id, subject, expires_at) select ${text("family")}, 'bot', 5000000000000 from ${numbers(FAMILIES)}`,
      );
      await fill("large", "mallory", "t");
      await run(
        `insert into portcullis_refresh_tokens (${TOKEN}) select ${row(text("b"), text("family"), "'bot'")} from ${numbers(FAMILIES)}`,
      );
      store = new SqlTokenStore(db.withPlugin(steps), { slowDb });
      await store.init();
      await store.insert(sampleToken({ id: "newest", familyId: "large", subject: "mallory" }));
      await store.insert(sampleToken({ id: "small", familyId: "small", subject: "small" }));
      await store.insert(sampleToken({ id: "lone", familyId: "lone", subject: "lone" }));
    });
    afterAll(() => opened.close());

    test("revoking the family touches as few rows as revoking a family of one token, and ends all its tokens", async () => {
      const small = await steps.of(() => store.revokeFamily("small", 7));
      const large = await steps.of(() => store.revokeFamily("large", 7));
      const again = await steps.of(async () => expect(await store.revokeFamily("large", 8)).toBe(false));
      expect(large).toEqual(small);
      expect(again[0]).toBe(small[0]);
      expect(again[1]).toBeLessThanOrEqual(small[1]);
      for (const id of ["newest", "t0-1", "t9-10000"]) expect((await store.get(id))?.revokedAt, id).toBe(7);
      expect(
        await store.rotate("newest", 9, sampleToken({ id: "next", familyId: "large", subject: "mallory" }), "sealed"),
      ).toBe(false);
      expect(await store.get("next")).toBeUndefined();
    });

    test("revoking the subject touches as few rows as revoking one with a single family, and ends all earlier families", async () => {
      const end = Date.now() + HOUR_MS;
      const one = await steps.of(() => store.revokeSubject("lone", 7, end));
      const many = await steps.of(() => store.revokeSubject("bot", 7, end));
      expect(many).toEqual(one);
      for (const id of ["b-1", `b-${FAMILIES}`, "lone"]) expect((await store.get(id))?.revokedAt, id).toBe(7);
      await store.insert(sampleToken({ id: "fresh", familyId: "fresh", subject: "bot" }));
      expect((await store.get("fresh"))?.revokedAt).toBeNull();
      // A second one ends what began since, and still all of before.
      await store.revokeSubject("bot", 8, end);
      for (const id of ["b-1", "fresh"]) expect((await store.get(id))?.revokedAt, id).toBe(8);
    });

    test("reading, inserting and rotating touch as few rows in the large ones as in small ones", async () => {
      // One end for all: a token that ends later would also move the end of its family.
      const familyExpiresAt = Date.now() + HOUR_MS;
      const expiresAt = familyExpiresAt;
      // The same moment for all, or a tick of the clock would move a step from one call to the next.
      const issuedAt = Date.now();
      await store.insert(
        sampleToken({ id: "a1", familyId: "a", subject: "alone", familyExpiresAt, expiresAt, issuedAt }),
      );
      await store.insert(
        sampleToken({ id: "b1", familyId: "b", subject: "bot", familyExpiresAt, expiresAt, issuedAt }),
      );
      const costs = async (id: string, familyId: string, subject: string) => [
        await steps.of(() => store.get(id)),
        await steps.of(() =>
          store.rotate(
            id,
            issuedAt + 1000,
            sampleToken({ id: `${id}-next`, familyId, subject, familyExpiresAt, expiresAt, issuedAt }),
            "sealed",
          ),
        ),
        await steps.of(() =>
          store.insert(sampleToken({ id: `${id}-more`, familyId, subject, familyExpiresAt, expiresAt, issuedAt })),
        ),
      ];
      expect(await costs("b1", "b", "bot")).toEqual(await costs("a1", "a", "alone"));
    });

    test("a mark is deleted when no family needs it any more, and not earlier", async () => {
      const marks = async () =>
        (await opened.slowDb.selectFrom("portcullis_subject_marks").select("subject").execute())
          .map(({ subject }) => Buffer.from(subject).toString())
          .sort();
      await store.revokeSubject("nobody", 7, Date.now() - 1);
      await store.revokeSubject("lone", 7, Date.now() - 1);
      expect(await marks()).toEqual(["bot", "lone", "nobody"]);
      await store.deleteExpired(Date.now());
      expect(await marks()).toEqual(["bot", "lone"]);
      expect((await store.get("lone"))?.revokedAt).toBe(7);
    });

    /** A log-in whose refresh token was copied: the owner went on to `second`, and the thief has `first`. */
    async function stolen(manager: JwtManager, subject: string) {
      const first = await manager.issue(subject);
      const second = await manager.refresh(first.refreshToken);
      const family = (await store.get(parseRefreshToken(first.refreshToken)!.id))!.familyId;
      return { first, second, family };
    }

    test("a used token that is presented again ends its whole family in as many steps as a family of two tokens takes", async () => {
      const { manager, clock, events } = processOn(store);
      const [small, large, other] = [
        await stolen(manager, "eve"),
        await stolen(manager, "eve"),
        await manager.issue("eve"),
      ];
      await fill(large.family, "eve", "stolen");
      clock.advance(60_000);
      const theft = (token: string) =>
        steps.of(async () => expect(await codeOf(manager.refresh(token))).toBe("reused"));
      expect(await theft(large.first.refreshToken)).toEqual(await theft(small.first.refreshToken));
      expect(events.filter(({ event, level }) => event === "authn_token_reuse" && level === "CRITICAL")).toHaveLength(
        2,
      );
      // Another process on this database, which has seen nothing.
      for (const one of [manager, processOn(store).manager]) {
        for (const { first, second } of [small, large]) {
          for (const { refreshToken } of [second, first])
            expect(await codeOf(one.refresh(refreshToken))).toBe("revoked");
          for (const { accessToken } of [second, first])
            expect(await codeOf(one.verifyAccessToken(accessToken))).toBe("revoked");
        }
        expect(await codeOf(one.verifyAccessToken(other.accessToken))).toBe("fulfilled");
      }
      expect(await codeOf(manager.refresh(other.refreshToken))).toBe("fulfilled");
    });

    test.each(["its family", "its subject"])(
      "a log-in whose family is large is ended by %s, and another user's goes on",
      async (what) => {
        const { manager } = processOn(store);
        const owner = `owner of ${what}`;
        const [mine, other] = [await stolen(manager, owner), await manager.issue("somebody else")];
        await fill(mine.family, owner, what);
        if (what === "its family") expect(await manager.revokeFamily(mine.second.refreshToken)).toBe(true);
        else await manager.revokeSubject(owner);
        for (const { refreshToken, accessToken } of [mine.first, mine.second]) {
          expect(await codeOf(manager.refresh(refreshToken))).toBe("revoked");
          expect(await codeOf(manager.verifyAccessToken(accessToken))).toBe("revoked");
        }
        expect(await codeOf(manager.verifyAccessToken(other.accessToken))).toBe("fulfilled");
        expect(await codeOf(manager.refresh(other.refreshToken))).toBe("fulfilled");
      },
    );
  },
);
