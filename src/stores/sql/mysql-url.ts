import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { PoolOptions } from "mysql2";
import { SettingsError } from "../../settings/errors.js";

const KNOWN = ["ssl-mode", "ssl-ca", "socket"];
const SSL_MODES = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

/**
 * Parses the address in a `mysql:` or `mariadb:` URL, with the options of MySQL's own clients: `ssl-mode` (DISABLED,
 * REQUIRED, VERIFY_CA, VERIFY_IDENTITY), `ssl-ca` (a PEM file), `socket` (a path). Other options are rejected: mysql2
 * would accept any of its own options in a URL, including `multipleStatements`.
 *
 * @throws SettingsError when an option is not known; the message does not repeat the URL
 */
export function mysqlOptions(url: string): PoolOptions {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  for (const name of searchParams.keys()) {
    if (!KNOWN.includes(name))
      throw wrong("The database URL has an unknown option.", `The options of a mysql: URL are ${KNOWN.join(", ")}.`);
  }
  const socketPath = searchParams.get("socket");
  const host = decodeURIComponent(hostname).replace(/^\[|\]$/g, "") || "localhost";
  return {
    ...(socketPath === null ? { host, port: port === "" ? 3306 : Number(port) } : { socketPath }),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    ...tls(searchParams.get("ssl-mode"), searchParams.get("ssl-ca"), host),
  };
}

function tls(given: string | null, caFile: string | null, host: string): Pick<PoolOptions, "ssl"> {
  const mode = given ?? (caFile === null ? "DISABLED" : "VERIFY_CA");
  if (!SSL_MODES.includes(mode))
    throw wrong("The database URL has an unknown ssl-mode.", `Use one of ${SSL_MODES.join(", ")}.`);
  if (mode === "DISABLED") return {};
  // mysql2 would compare the certificate with "localhost" instead.
  if (mode === "VERIFY_IDENTITY" && isIP(host) !== 0)
    throw wrong(
      "VERIFY_IDENTITY compares the certificate with a host name, but the database URL has an IP address.",
      "Write the server's name as the host, or use ssl-mode=VERIFY_CA with a CA of your own.",
    );
  const ca = caFile === null ? {} : { ca: readCa(caFile) };
  return { ssl: { ...ca, rejectUnauthorized: mode !== "REQUIRED", verifyIdentity: mode === "VERIFY_IDENTITY" } };
}

function readCa(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const code =
      error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown reason";
    throw wrong(
      `The file of ssl-ca cannot be read (${code}).`,
      "Write the path of a PEM file with the certificate of the authority that signed the server's certificate.",
    );
  }
}

function wrong(message: string, remedy: string): SettingsError {
  return new SettingsError([{ code: "wrong-value", path: "database", message, remedy }]);
}
