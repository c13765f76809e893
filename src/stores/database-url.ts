import { resolve } from "node:path";
import { SettingsError } from "../settings/errors.js";

/** Where a `sqlite:` URL points. */
export interface SqliteLocation {
  /** An absolute path, or `:memory:`. */
  readonly path: string;
}

const REMEDY = "Write sqlite:path/to/file.db, sqlite:/absolute/path.db, or sqlite::memory: for a database that ends with the process.";

/**
 * Reads the `database` setting when it is a URL. Messages name the scheme at most: a database URL often holds a password.
 *
 * @throws SettingsError when it is not a `sqlite:` URL this version can open
 */
export function parseDatabaseUrl(url: string): SqliteLocation {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]{0,31}):/.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined) throw wrong("The database is not a URL: it has no scheme such as sqlite:.");
  if (scheme === "postgres" || scheme === "postgresql" || scheme === "mysql" || scheme === "mariadb") {
    throw wrong(`A ${scheme}: database is not supported in this version, which has SQLite only.`);
  }
  if (scheme !== "sqlite") throw wrong("The scheme of the database URL is not known; this version has SQLite only.");
  return { path: sqlitePath(url.slice("sqlite:".length)) };
}

function sqlitePath(rest: string): string {
  if (rest === ":memory:") return rest;
  // As in file: URLs, two slashes begin an authority, which a file has none of; three begin an absolute path.
  const path = rest.startsWith("///") ? rest.slice(2) : rest;
  if (path.startsWith("//")) throw wrong("A sqlite: URL has no host part, so it cannot begin with exactly two slashes.");
  if (/[?#\0]/.test(path)) throw wrong("A sqlite: URL takes no options, and its path holds no '?', '#' or NUL.");
  if (path === "" || path.endsWith("/")) throw wrong("The sqlite: URL names no file.");
  // Absolute, so that no driver takes a relative path beginning with `file:` or `http:` for a URL of its own.
  return resolve(path);
}

function wrong(message: string): SettingsError {
  return new SettingsError([{ code: "wrong-value", path: "database", message, remedy: REMEDY }]);
}
