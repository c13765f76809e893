import type { SqliteDriverName } from "../../src/stores/sql/sqlite-engines.js";

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

/** Node has SQLite of its own, without a flag, from 22.13. */
export const NODE_HAS_SQLITE = major > 22 || (major === 22 && minor >= 13);

/** The drivers the suites run on here. better-sqlite3 has libsql's API and is not installed for the tests. */
export const DRIVERS_HERE: readonly SqliteDriverName[] = NODE_HAS_SQLITE ? ["node:sqlite", "libsql"] : ["libsql"];
