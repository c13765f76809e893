import { openMysql, openPostgres, openSqlite, type PortcullisDatabase } from "portcullis/sql";
import { mariaDbDatabase, postgresDatabase } from "../../support/servers.js";

/** A new database; whoever opened it closes it. */
export interface OpenedDatabase {
  readonly db: PortcullisDatabase;
  readonly slowDb: PortcullisDatabase;
  close(): Promise<void>;
}

/** The three engines, with what a statement needs that fills a table: rows with a number `n`, and a text made of it. */
export const FILLED_ENGINES = [
  {
    engine: "SQLite",
    open: async (): Promise<OpenedDatabase> => {
      const { db, close } = await openSqlite("sqlite::memory:");
      return { db, slowDb: db, close };
    },
    numbers: (from: number, to: number) =>
      `(with recursive s(n) as (select ${from} union all select n + 1 from s where n < ${to}) select n from s) numbers`,
    text: (name: string) => `'${name}-' || n`,
  },
  {
    engine: "PostgreSQL",
    open: async (): Promise<OpenedDatabase> => openPostgres(await postgresDatabase(), { timeoutMs: 2000 }),
    numbers: (from: number, to: number) => `generate_series(${from}, ${to}) n`,
    text: (name: string) => `'${name}-' || n`,
  },
  {
    engine: "MariaDB",
    open: async (): Promise<OpenedDatabase> => openMysql(await mariaDbDatabase(), { timeoutMs: 2000 }),
    numbers: (from: number, to: number) => `(select seq n from seq_${from}_to_${to}) numbers`,
    text: (name: string) => `concat('${name}-', n)`,
  },
];
