import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canStart, ENGINES, type EngineName, installLines } from "./binaries.js";

/** Where a server that runs already is, from REDIS_URL and DATABASE_URL. The latter may name one of each engine, separated by a space. */
export function givenUrl(
  engine: EngineName,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  if (engine === "redis") return env["REDIS_URL"] || undefined;
  const scheme = engine === "postgres" ? /^postgres(ql)?:/ : /^(mysql|mariadb):/;
  return (env["DATABASE_URL"] ?? "").split(/\s+/).find((url) => scheme.test(url));
}

/** Engines that are neither installed nor given by URL. */
export function missingEngines(): EngineName[] {
  return (Object.keys(ENGINES) as EngineName[]).filter((engine) => givenUrl(engine) === undefined && !canStart(engine));
}

/** @throws Error with the install lines when an engine is neither given nor installed */
export function requireEngines(): void {
  const missing = missingEngines();
  if (missing.length > 0) throw new Error(installLines(missing));
}

const PRIVATE = {
  redis: /\bstartRedis\w*\(/,
  postgres: /\bstartPostgres\(/,
  mariadb: /\bstartMariaDb\(/,
} as const satisfies Record<EngineName, RegExp>;

/**
 * Test files that stop, kill or configure a server, and so cannot use one given by URL, for the engines that are not
 * installed. They are left out of such a run, by name.
 */
export function filesWithoutTheirServer(root: string): { engine: EngineName; file: string }[] {
  const absent = (Object.keys(ENGINES) as EngineName[]).filter(
    (engine) => givenUrl(engine) !== undefined && !canStart(engine),
  );
  if (absent.length === 0) return [];
  const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".test.ts"),
  );
  return files.flatMap((file) => {
    const text = readFileSync(join(root, "test", file), "utf8");
    const engine = absent.find((name) => PRIVATE[name].test(text));
    return engine === undefined ? [] : [{ engine, file: `test/${file}` }];
  });
}
