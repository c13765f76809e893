// The harness of the tests, which finds the installed servers, runs them in a temporary folder, and ends them with this
// process however it ends. Examples are not part of the package, so this one may use it; an app gets two URLs.
import { installLines, canStart, type EngineName } from "../../test/support/servers/binaries.js";
import { givenUrl } from "../../test/support/servers/needed.js";
import { startPostgres, startRedis } from "../../test/support/servers.js";
import { startTcpProxy } from "../../test/support/tcp-proxy.js";

/** A server the fleet keeps things on. */
export interface FleetServer {
  readonly url: string;
  /** What it is, for people. */
  readonly what: string;
  /** Undefined when it is not ours. */
  readonly pid?: number;
  /** How `kill` takes it away, for people. */
  readonly killedBy: string;
  kill(): Promise<void>;
  /** Brings it back with its data. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A Redis and a PostgreSQL. The demo uses those of REDIS_URL and DATABASE_URL when they are set. The tour, which kills,
 * prefers private ones, and only where they are not installed uses given ones; it does not kill those but cuts the connection to Redis.
 *
 * @throws Error (rejects) with the install lines when neither is there
 */
export async function startServer(engine: "redis" | "postgres", forTour: boolean): Promise<FleetServer> {
  const given = givenUrl(engine);
  const isInstalled = canStart(engine);
  if (given !== undefined && !(forTour && isInstalled)) return givenServer(engine, given, forTour);
  const started = await (engine === "redis" ? startRedis() : startPostgres());
  return {
    url: started.url,
    what: "a private one in a temporary folder",
    get pid() {
      return started.pid;
    },
    killedBy: "SIGKILL",
    kill: () => started.kill(),
    restart: () => started.restart(),
    close: () => started.close(),
  };
}

async function givenServer(engine: "redis" | "postgres", given: string, forTour: boolean): Promise<FleetServer> {
  const nothing = (): Promise<void> => Promise.resolve();
  const what = `the one of ${engine === "redis" ? "REDIS_URL" : "DATABASE_URL"}`;
  if (!forTour || engine === "postgres")
    return { url: given, what, killedBy: "nobody", kill: nothing, restart: nothing, close: nothing };
  const url = new URL(given);
  if (url.protocol !== "redis:" || !["127.0.0.1", "localhost"].includes(url.hostname)) {
    throw new Error(
      `The tour takes Redis away and brings it back, which it can do with an installed redis-server, or a REDIS_URL of the form redis://127.0.0.1:6379.\n${installLines(["redis"])}`,
    );
  }
  const cut = await startTcpProxy(Number(url.port || 6379));
  url.host = `127.0.0.1:${cut.port}`;
  return {
    url: url.href,
    what,
    killedBy: "cutting every connection to it",
    kill: () => cut.refuse(),
    restart: () => cut.heal(),
    close: () => cut.close(),
  };
}

/** @throws Error with the install lines */
export function requireServers(): void {
  const missing = (["redis", "postgres"] satisfies EngineName[]).filter(
    (engine) => givenUrl(engine) === undefined && !canStart(engine),
  );
  if (missing.length > 0)
    throw new Error(`The fleet runs on a real Redis and a real PostgreSQL.\n${installLines(missing)}`);
}
