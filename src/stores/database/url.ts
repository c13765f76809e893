import { parseUrl } from "../../settings/parse-url.js";
import { resolve } from "node:path";
import { SettingsError } from "../../settings/errors.js";

/** The location that a `database` URL names. */
export type DatabaseLocation =
  | { readonly engine: "sqlite"; /** An absolute path, or `:memory:`. */ readonly path: string; readonly name: string }
  | { readonly engine: "postgres" | "mysql"; /** Host, port and database; no credentials. */ readonly name: string };

const SQLITE_REMEDY =
  "Write sqlite:path/to/file.db, sqlite:/absolute/path.db, or sqlite::memory: for a database in memory.";
const REMEDY =
  "Write postgres://user:password@host/name, mysql://user:password@host/name, mariadb://… or sqlite:path/to/file.db.";
const SERVER_REMEDY =
  "Write scheme://user:password@host:port/name, with characters such as @ : / # ? % in user and password percent-encoded.";

/** Matches every URL that `parseDatabaseUrl` may accept, by the scheme alone. */
export const DATABASE_URL_PATTERN = /^(?:sqlite|postgres|postgresql|mysql|mariadb):./i;

/**
 * Parses the `database` setting when it is a URL. Messages contain at most the scheme, because a database URL often
 * contains a password.
 *
 * For a `postgres:` URL with parameters that pg does not read, it emits one process warning (`PORTCULLIS_DATABASE_URL`)
 * that names them.
 *
 * @throws SettingsError when it is not a URL of SQLite, PostgreSQL, MySQL or MariaDB, or contradicts a limit that is
 * set here
 */
export function parseDatabaseUrl(url: string): DatabaseLocation {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]{0,31}):/.exec(url)?.[1]?.toLowerCase();
  switch (scheme) {
    case undefined:
      throw wrong("The database is not a URL: it does not begin with a scheme such as postgres: or sqlite:.", REMEDY);
    case "sqlite": {
      const path = sqlitePath(url.slice("sqlite:".length));
      return { engine: "sqlite", path, name: path };
    }
    case "postgres":
    case "postgresql": {
      const name = serverName(url, scheme, 5432);
      checkPostgresParameters(new URL(url));
      return { engine: "postgres", name };
    }
    case "mysql":
    case "mariadb":
      return { engine: "mysql", name: serverName(url, scheme, 3306) };
    default:
      throw wrong("The scheme of the database URL is not supported.", REMEDY);
  }
}

/** @returns the absolute path, or `:memory:` @throws SettingsError when it is not a `sqlite:` URL */
export function parseSqliteUrl(url: string): string {
  const location = parseDatabaseUrl(url);
  if (location.engine !== "sqlite") throw wrong("This is not a sqlite: URL.", SQLITE_REMEDY);
  return location.path;
}

function serverName(url: string, scheme: string, defaultPort: number): string {
  // An @ in the path means that the password contains a /:
  // the parsed host and name are then part of the password.
  const parsed = parseUrl(url);
  if (
    parsed === undefined ||
    !/^[a-z]+:\/\//i.test(url) ||
    parsed.hash !== "" ||
    parsed.pathname.includes("@") ||
    ![parsed.username, parsed.password, parsed.pathname, parsed.hostname].every(isDecodable)
  ) {
    throw wrong(`The ${scheme}: URL is malformed.`, SERVER_REMEDY);
  }
  const name = decodeURIComponent(parsed.pathname.slice(1));
  if (name === "" || name.includes("/")) throw wrong(`The ${scheme}: URL does not name a database.`, SERVER_REMEDY);
  const socket = parsed.searchParams.get("socket") ?? parsed.searchParams.get("host");
  const host =
    socket ?? `${decodeURIComponent(parsed.hostname) || "localhost"}:${parsed.port === "" ? defaultPort : parsed.port}`;
  return `${host}/${name}`;
}

/** Parameters of a URL that pg reads. */
const PG_PARAMETERS: ReadonlySet<string> = new Set([
  "host",
  "port",
  "user",
  "password",
  "ssl",
  "sslmode",
  "sslcert",
  "sslkey",
  "sslrootcert",
  "sslnegotiation",
  "uselibpqcompat",
  "application_name",
  "fallback_application_name",
  "client_encoding",
  "options",
  "lock_timeout",
]);
/** Parameters that would replace the time limits set here. */
const OWN_PARAMETERS = ["statement_timeout", "idle_in_transaction_session_timeout", "query_timeout"];

/**
 * Hosting services and other libraries add their own parameters (`channel_binding`, `schema`, `pgbouncer`), so one that
 * pg does not read is not an error.
 *
 * @throws SettingsError when a parameter contradicts a time limit that is set here
 */
function checkPostgresParameters({ search, searchParams }: URL): void {
  const names = [...new Set(searchParams.keys())];
  const contradicting = OWN_PARAMETERS.find(
    (name) => names.includes(name) || searchParams.getAll("options").some((text) => text.includes(name)),
  );
  if (contradicting !== undefined) {
    throw wrong(
      `The database URL sets ${contradicting}, but portcullis sets that limit itself.`,
      `Remove ${contradicting} from the URL. To change the limit, set apiKeys.storeTimeoutMs or jwt.storeTimeoutMs.`,
    );
  }
  const unread = names.filter((name) => !PG_PARAMETERS.has(name));
  if (unread.length === 0) return;
  // Part of a password with unencoded characters may have been parsed as parameters; then the warning does not name
  // them.
  const named =
    !search.includes("@") && unread.every((name) => /^[A-Za-z_][\w.-]{0,63}$/.test(name))
      ? `: ${unread.join(", ")}`
      : "";
  process.emitWarning(`The postgres: URL has parameters that pg does not read${named}. They have no effect.`, {
    code: "PORTCULLIS_DATABASE_URL",
  });
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

function sqlitePath(rest: string): string {
  if (rest === ":memory:") return rest;
  // As in file: URLs, two slashes begin an authority, which a file does not have; three begin an absolute path.
  const path = rest.startsWith("///") ? rest.slice(2) : rest;
  if (path.startsWith("//"))
    throw wrong(
      "A sqlite: URL cannot have a host, so exactly two slashes after the scheme are not allowed.",
      SQLITE_REMEDY,
    );
  if (/[?#\0]/.test(path)) throw wrong("A sqlite: URL cannot have options or contain '?', '#' or NUL.", SQLITE_REMEDY);
  if (path === "" || path.endsWith("/")) throw wrong("The sqlite: URL does not name a file.", SQLITE_REMEDY);
  // Absolute, so that no driver treats a relative path that begins with `file:` or `http:` as a URL.
  return resolve(path);
}

function wrong(message: string, remedy: string): SettingsError {
  return new SettingsError([{ code: "wrong-value", path: "database", message, remedy }]);
}
