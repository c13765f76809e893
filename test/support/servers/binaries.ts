import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A kind of server the tests need, and how to come by one. */
export interface Engine {
  readonly name: string;
  readonly binaries: readonly string[];
  readonly variable: string;
  readonly debian: string;
  readonly brew: string;
  readonly docker: string;
}

export const ENGINES = {
  redis: {
    name: "Redis",
    binaries: ["redis-server"],
    variable: "REDIS_URL",
    debian: "redis-server",
    brew: "redis",
    docker: "docker run -d -p 6379:6379 redis:7 && export REDIS_URL=redis://127.0.0.1:6379",
  },
  postgres: {
    name: "PostgreSQL",
    binaries: ["initdb", "postgres"],
    variable: "DATABASE_URL",
    debian: "postgresql",
    brew: "postgresql@16",
    docker:
      'docker run -d -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres:16 && export DATABASE_URL="$DATABASE_URL postgres://postgres@127.0.0.1:5432/postgres"',
  },
  mariadb: {
    name: "MariaDB",
    binaries: ["mariadbd", "mariadb-install-db"],
    variable: "DATABASE_URL",
    debian: "mariadb-server",
    brew: "mariadb",
    docker:
      'docker run -d -p 3306:3306 -e MARIADB_ROOT_PASSWORD=test mariadb:11 && export DATABASE_URL="$DATABASE_URL mysql://root:test@127.0.0.1:3306/mysql"',
  },
} as const satisfies Record<string, Engine>;

export type EngineName = keyof typeof ENGINES;

/** The path of an installed program. Debian keeps PostgreSQL's servers, and Homebrew its versioned formulas, off the PATH. */
export function findBinary(name: string): string | undefined {
  const folders = [
    ...(process.env["PATH"] ?? "").split(delimiter),
    "/usr/sbin",
    "/usr/local/sbin",
    ...versioned("/usr/lib/postgresql", ""),
    ...homebrew(),
  ];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function homebrew(): string[] {
  return ["/opt/homebrew", "/usr/local"].flatMap((prefix) => [
    join(prefix, "bin"),
    ...versioned(join(prefix, "opt"), "postgresql@"),
    ...versioned(join(prefix, "opt"), "mariadb"),
  ]);
}

function versioned(folder: string, prefix: string): string[] {
  if (!existsSync(folder)) return [];
  const versions = readdirSync(folder).filter((entry) => entry.startsWith(prefix));
  return versions
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
    .map((version) => join(folder, version, "bin"));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error with the install line when one is missing */
export function requireBinary(engine: EngineName, name: string): string {
  const path = findBinary(name);
  if (path === undefined) throw new Error(installLines([engine]));
  return path;
}

export function canStart(engine: EngineName): boolean {
  return ENGINES[engine].binaries.every((name) => findBinary(name) !== undefined);
}

export function installLines(engines: readonly EngineName[]): string {
  const wanted: Engine[] = engines.map((name) => ENGINES[name]);
  return [
    `The tests run on real servers and do not find ${wanted.map(({ name }) => name).join(", ")}.`,
    "They start private ones by themselves (free ports, a temporary folder) from what is installed:",
    `  Debian, Ubuntu:  sudo apt-get update && sudo apt-get install -y ${wanted.map(({ debian }) => debian).join(" ")}`,
    `  macOS:           brew install ${wanted.map(({ brew }) => brew).join(" ")}`,
    ...wanted.map(({ docker }) => `  Docker:          ${docker}`),
    "`npm run setup` installs what is missing on Debian and Ubuntu.",
  ].join("\n");
}
