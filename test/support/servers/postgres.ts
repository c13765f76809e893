import { execFile } from "node:child_process";
import { promisify } from "node:util";
import pg from "pg";
import { requireBinary } from "./binaries.js";
import { type RunningServer, startServer } from "./process.js";

const run = promisify(execFile);

/**
 * One PostgreSQL with the superuser `portcullis` and no password. `fsync` is off: a commit is written before it is
 * acknowledged and so outlives SIGKILL of the server, though not of the machine.
 */
export async function startPostgres(options: { args?: readonly string[] } = {}): Promise<RunningServer> {
  const initdb = requireBinary("postgres", "initdb");
  const file = requireBinary("postgres", "postgres");
  const url = (port: number): string => `postgres://portcullis@127.0.0.1:${port}/postgres`;
  const settings = [
    "fsync=off",
    "full_page_writes=off",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
    "max_connections=100",
    "shared_buffers=16MB",
  ];
  return startServer({
    name: "postgres",
    user: "postgres",
    prepare: async (folder, user) => {
      await run(
        initdb,
        [
          "--pgdata",
          folder,
          "--username",
          "portcullis",
          "--auth",
          "trust",
          "--encoding",
          "UTF8",
          "--no-locale",
          "--no-sync",
        ],
        { cwd: folder, ...user },
      );
    },
    command: (folder, port) => ({
      file,
      args: [
        "-D",
        folder,
        "-p",
        String(port),
        ...settings.flatMap((setting) => ["-c", setting]),
        ...(options.args ?? []),
      ],
    }),
    probe: async (port) => {
      await postgresQuery(url(port), "select 1");
    },
    url,
  });
}

/** One statement over a connection of its own. */
export async function postgresQuery(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
  // A server that goes away also breaks the connection outside of a query.
  client.on("error", () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(statement)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}
