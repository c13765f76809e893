import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  openMysql,
  openPostgres,
  openSqlite,
  type PortcullisDatabase,
  SqlApiKeyStore,
  SqlTokenStore,
} from "portcullis/sql";
import { DRIVERS_HERE } from "../../contract/drivers.js";
import { mariaDbDatabase, postgresDatabase, startMariaDb, startPostgres } from "../../support/servers.js";
import { runChild } from "../children.js";
import { program } from "../../support/programs.js";

const folder = mkdtempSync(join(tmpdir(), "portcullis-killed-"));
afterAll(() => rmSync(folder, { recursive: true }));

const CHILD = await program("sql/writing-child");

interface Opened {
  readonly db: PortcullisDatabase;
  close(): Promise<void>;
}

const SLOW = { timeoutMs: 10_000 };

/** Kills a process after it has told of `writes` writes, and looks for each of them. */
async function killAndLook(
  url: string,
  driver: string,
  writes: number,
  open: (url: string) => Promise<Opened>,
): Promise<void> {
  const told: string[] = [];
  const child = runChild(CHILD, [url, driver], {
    onLine: (line, process) => {
      told.push(line);
      if (told.length === writes) process.kill("SIGKILL");
    },
  });
  const ended = await child.ended;
  expect(ended.signal, ended.err).toBe("SIGKILL");
  expect(told.length).toBeGreaterThanOrEqual(writes);
  await lookForAll(told, await open(url));
}

async function lookForAll(told: readonly string[], { db, close }: Opened): Promise<void> {
  const keys = new SqlApiKeyStore(db);
  const tokens = new SqlTokenStore(db);
  await keys.init();
  await tokens.init();
  for (const line of told) {
    const [what, n] = line.split(" ");
    expect(await holds(what, `${n}`, keys, tokens), line).toBe(true);
  }
  await close();
}

describe.each(DRIVERS_HERE)("a process killed while it writes by %s", (driver) => {
  // Killed after different writes, since each kind has a transaction of its own.
  test.concurrent.each([63, 148])("loses no acknowledged write, killed after %i writes", async (writes) => {
    await killAndLook(`sqlite:${join(folder, `${driver.replace(":", "-")}-${writes}.db`)}`, driver, writes, openSqlite);
  });
});

const SERVERS = [
  {
    engine: "PostgreSQL",
    start: startPostgres,
    newDatabase: postgresDatabase,
    open: (url: string) => openPostgres(url, SLOW),
  },
  { engine: "MariaDB", start: startMariaDb, newDatabase: mariaDbDatabase, open: (url: string) => openMysql(url, SLOW) },
];

describe.each(SERVERS)("$engine", ({ start, newDatabase, open }) => {
  test.each([63, 148])("a process killed after %i writes loses no acknowledged write", async (writes) => {
    await killAndLook(await newDatabase(), "", writes, open);
  });

  test("a server killed during writes has every acknowledged write when it is back", async () => {
    const server = await start();
    try {
      const told: string[] = [];
      let tellEnough = () => {};
      const enough = new Promise<void>((resolve) => (tellEnough = resolve));
      const child = runChild(CHILD, [server.url, ""], {
        onLine: (line) => {
          told.push(line);
          if (told.length === 105) tellEnough();
        },
      });
      await Promise.race([enough, child.ended]);
      await server.kill();
      child.process.kill("SIGKILL");
      await child.ended;
      await server.restart();
      expect(told.length).toBeGreaterThanOrEqual(105);
      await lookForAll(told, await open(server.url));
    } finally {
      await server.close();
    }
  }, 40_000);
});

async function holds(
  what: string | undefined,
  n: string,
  keys: SqlApiKeyStore,
  tokens: SqlTokenStore,
): Promise<boolean> {
  const now = Date.now();
  switch (what) {
    case "key":
      return (await keys.get(`key-${n}`)) !== undefined;
    case "rotate":
      return (await keys.get(`key-${n}`))?.rotatedTo === `next-${n}` && (await keys.get(`next-${n}`)) !== undefined;
    case "revoke":
      return (await keys.get(`key-${n}`))?.revokedReason === "lost laptop";
    case "usage":
      return (await keys.get(`key-${n}`))?.usageCount === 5;
    case "token":
      return (await tokens.get(`token-${n}`)) !== undefined;
    case "exchange":
      return (
        (await tokens.get(`token-${n}`))?.successorId === `after-${n}` && (await tokens.get(`after-${n}`)) !== undefined
      );
    case "family":
      return (await tokens.get(`token-${n}`))?.revokedAt === 11 && (await tokens.get(`after-${n}`))?.revokedAt === 11;
    case "jti":
      return tokens.isRevoked({ jti: `jti-${n}`, subject: "someone", issuedAt: now });
    case "denied":
      return tokens.isRevoked({ jti: "j", subject: "someone", issuedAt: now, familyId: `denied-${n}` });
    case "subject":
      return tokens.isRevoked({ jti: "j", subject: `user-${n}`, issuedAt: 999_999 });
    default:
      return false;
  }
}
