import { readFileSync } from "node:fs";
import type { PoolOptions } from "mysql2";
import { SettingsError } from "../../settings/errors.js";

const KNOWN = ["ssl-mode", "ssl-ca", "socket"];
const SSL_MODES = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

/**
 * The address in a `mysql:` or `mariadb:` URL, with the options of MySQL's own clients: `ssl-mode` (DISABLED, REQUIRED,
 * VERIFY_CA, VERIFY_IDENTITY), `ssl-ca` (a PEM file), `socket` (a path). Others are refused: mysql2 would take any of its
 * own from a URL, `multipleStatements` among them.
 *
 * @throws SettingsError when an option is not known; the URL is not repeated
 */
export function mysqlOptions(url: string): PoolOptions {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  for (const name of searchParams.keys()) {
    if (!KNOWN.includes(name)) throw wrong("The database URL has an option that is not known.", `Options of a mysql: URL are ${KNOWN.join(", ")}.`);
  }
  const socketPath = searchParams.get("socket");
  return {
    ...(socketPath === null ? { host: decodeURIComponent(hostname).replace(/^\[|\]$/g, "") || "localhost", port: port === "" ? 3306 : Number(port) } : { socketPath }),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    ...tls(searchParams.get("ssl-mode"), searchParams.get("ssl-ca")),
  };
}

function tls(given: string | null, caFile: string | null): Pick<PoolOptions, "ssl"> {
  const mode = given ?? (caFile === null ? "DISABLED" : "VERIFY_CA");
  if (!SSL_MODES.includes(mode)) throw wrong("The ssl-mode of the database URL is not known.", `Use one of ${SSL_MODES.join(", ")}.`);
  if (mode === "DISABLED") return {};
  const ca = caFile === null ? {} : { ca: readFileSync(caFile) };
  return { ssl: { ...ca, rejectUnauthorized: mode !== "REQUIRED", verifyIdentity: mode === "VERIFY_IDENTITY" } };
}

function wrong(message: string, remedy: string): SettingsError {
  return new SettingsError([{ code: "wrong-value", path: "database", message, remedy }]);
}
