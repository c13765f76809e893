import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { createConnection } from "mysql2/promise";
import { requireBinary } from "./binaries.js";
import { type RunningServer, startServer } from "./process.js";

const run = promisify(execFile);

/** One MariaDB with the user `portcullis`, password `portcullis`. A commit is written before it is acknowledged, not synced. */
export async function startMariaDb(options: { args?: readonly string[] } = {}): Promise<RunningServer> {
  const install = requireBinary("mariadb", "mariadb-install-db");
  const file = requireBinary("mariadb", "mariadbd");
  const url = (port: number): string => `mysql://portcullis:portcullis@127.0.0.1:${port}/mysql`;
  return startServer({
    name: "mariadb",
    user: "mysql",
    prepare: async (folder, user) => {
      await run(
        install,
        [
          "--no-defaults",
          `--datadir=${join(folder, "db")}`,
          "--auth-root-authentication-method=normal",
          "--skip-test-db",
        ],
        { cwd: folder, ...user },
      );
      writeFileSync(
        join(folder, "users.sql"),
        "CREATE USER IF NOT EXISTS 'portcullis'@'%' IDENTIFIED BY 'portcullis';\nGRANT ALL PRIVILEGES ON *.* TO 'portcullis'@'%' WITH GRANT OPTION;\n",
        { mode: 0o644 },
      );
    },
    command: (folder, port) => ({
      file,
      args: [
        "--no-defaults",
        `--datadir=${join(folder, "db")}`,
        `--init-file=${join(folder, "users.sql")}`,
        `--socket=${join(folder, "s")}`,
        `--pid-file=${join(folder, "pid")}`,
        "--bind-address=127.0.0.1",
        `--port=${port}`,
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--skip-log-bin",
        "--skip-name-resolve",
        ...(options.args ?? []),
      ],
    }),
    probe: async (port) => {
      await mariaDbQuery(url(port), "select 1");
    },
    url,
  });
}

/** One statement over a connection of its own. */
export async function mariaDbQuery(url: string, statement: string): Promise<unknown> {
  const connection = await createConnection({ uri: url, connectTimeout: 5000 });
  try {
    const [rows] = await connection.query(statement);
    return rows;
  } finally {
    await connection.end().catch(() => undefined);
  }
}
