import pg from "pg";
import { postgresQuery, type RunningServer } from "../support/servers.js";
import { type Fault, SILENT_MS } from "./outage.js";
import type { FaultyDatabase } from "./stack-database.js";

const TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'portcullis'";

export function faultyPostgres(server: RunningServer): FaultyDatabase {
  const url = (port: number): string => `postgres://app@127.0.0.1:${port}/app`;
  const asAdmin = async (...statements: string[]): Promise<void> => {
    for (const statement of statements) await postgresQuery(server.url, statement);
  };
  return {
    name: "PostgreSQL",
    server,
    url,
    prepare: () => asAdmin("create role app login", "create database app owner app"),
    faults: [
      exhaustedPool(() => url(server.port)),
      {
        name: "too many connections (53300)",
        begin: () => asAdmin("alter role app connection limit 0", TERMINATE),
        end: () => asAdmin("alter role app connection limit -1"),
        lastsMs: SILENT_MS,
      },
    ],
    endConnections: (which) => asAdmin(which === "one" ? `${TERMINATE} limit 1` : TERMINATE),
    lockRowsOf: async (subject, keyId) => {
      const holder = await connect(url(server.port));
      await holder.query("begin");
      await holder.query("select id from portcullis_api_keys where id = $1 for update", [keyId]);
      await holder.query("select id from portcullis_token_families where subject = $1 for update", [subject]);
      return { release: () => holder.end() };
    },
    setReadOnly: (isReadOnly) =>
      asAdmin(
        `alter system set default_transaction_read_only = ${isReadOnly ? "on" : "off"}`,
        "select pg_reload_conf()",
      ),
  };
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

/** A lock on the tables, as a migration by hand takes it: every statement waits, every connection of the pool is in use. */
function exhaustedPool(url: () => string): Fault {
  let holder: pg.Client | undefined;
  return {
    name: "exhausted pool (tables locked)",
    begin: async () => {
      holder = await connect(url());
      const { rows } = await holder.query<{ name: string }>(
        "select tablename as name from pg_tables where tablename like 'portcullis%'",
      );
      await holder.query(`begin; lock table ${rows.map(({ name }) => name).join(", ")} in access exclusive mode`);
    },
    end: async () => {
      await holder?.end();
    },
    lastsMs: SILENT_MS,
  };
}
