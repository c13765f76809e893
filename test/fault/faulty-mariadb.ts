import { type Connection, createConnection, type RowDataPacket } from "mysql2/promise";
import type { RunningServer } from "../support/servers.js";
import { type Fault, SILENT_MS } from "./outage.js";
import type { FaultyDatabase } from "./stack-database.js";

const HELD = 10;

export function faultyMariaDb(server: RunningServer): FaultyDatabase {
  const url = (port: number): string => `mysql://app:app@127.0.0.1:${port}/app`;
  const asAdmin = async (...statements: string[]): Promise<void> => {
    const admin = await connect(server.url);
    for (const statement of statements) await admin.query(statement);
    await admin.end();
  };
  return {
    name: "MariaDB",
    server,
    url,
    prepare: () =>
      asAdmin("create user app identified by 'app'", "create database app", "grant all privileges on app.* to app"),
    faults: [
      exhaustedPool(() => url(server.port)),
      tooManyConnections(() => server.url),
      tooManyOfTheUser(() => server.url),
    ],
    endConnections: async (which) => {
      const admin = await connect(server.url);
      await endConnectionsOfApp(admin, which);
      await admin.end();
    },
    lockRowsOf: async (subject, keyId) => {
      const holder = await connect(url(server.port));
      await holder.query("begin");
      await holder.query("select id from portcullis_api_keys where id = ? for update", [keyId]);
      await holder.query("select id from portcullis_token_families where subject = ? for update", [subject]);
      return { release: () => holder.end() };
    },
    // Holds for whoever lacks READ_ONLY ADMIN, which the app's user does.
    setReadOnly: (isReadOnly) => asAdmin(`set global read_only = ${isReadOnly ? 1 : 0}`),
  };
}

async function connect(url: string): Promise<Connection> {
  const connection = await createConnection(url);
  connection.on("error", () => undefined);
  return connection;
}

async function endConnectionsOfApp(admin: Connection, which: "one" | "all" = "all"): Promise<void> {
  const [rows] = await admin.query<RowDataPacket[]>("select id from information_schema.processlist where user = 'app'");
  for (const row of which === "one" ? rows.slice(0, 1) : rows) {
    // It may have ended by itself since it was listed.
    await admin.query(`kill connection ${Number(row["id"])}`).catch(() => undefined);
  }
}

/** A lock on the tables, as a migration by hand takes it: every statement waits, every connection of the pool is in use. */
function exhaustedPool(url: () => string): Fault {
  let holder: Connection | undefined;
  return {
    name: "exhausted pool (tables locked)",
    begin: async () => {
      holder = await connect(url());
      const [rows] = await holder.query<RowDataPacket[]>(
        "select table_name as name from information_schema.tables where table_name like 'portcullis%'",
      );
      await holder.query(`lock tables ${rows.map((row) => `${String(row["name"])} write`).join(", ")}`);
    },
    end: async () => {
      await holder?.end();
    },
    lastsMs: SILENT_MS,
  };
}

/** Others have all the connections of the server. */
function tooManyConnections(url: () => string): Fault {
  let holders: Connection[] = [];
  return {
    name: "too many connections (1040)",
    begin: async () => {
      holders = await Promise.all(Array.from({ length: HELD }, () => connect(url())));
      const [admin] = holders;
      if (admin === undefined) return;
      await admin.query(`set global max_connections = ${HELD}`);
      await endConnectionsOfApp(admin);
    },
    end: async () => {
      await holders[0]?.query("set global max_connections = 100");
      await Promise.all(holders.map((holder) => holder.end()));
    },
    lastsMs: SILENT_MS,
  };
}

/** The limit of the user's own, as hosts of shared databases set it. */
function tooManyOfTheUser(url: () => string): Fault {
  const set = async (limit: number): Promise<Connection> => {
    const admin = await connect(url());
    await admin.query(`alter user app with max_user_connections ${limit}`);
    return admin;
  };
  return {
    name: "too many connections of the user (1226)",
    begin: async () => {
      // Below zero: the user may not connect at all.
      const admin = await set(-1);
      await endConnectionsOfApp(admin);
      await admin.end();
    },
    end: async () => {
      await (await set(0)).end();
    },
    lastsMs: SILENT_MS,
  };
}
