import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { EngineName } from "./binaries.js";
import { startMariaDb } from "./mariadb.js";
import { startPostgres } from "./postgres.js";
import type { RunningServer } from "./process.js";
import { startRedis } from "./redis.js";

/** Where the test files of a run ask for a shared server. */
const VARIABLE = "TEST_SERVERS";

const START: Readonly<Record<EngineName, () => Promise<RunningServer>>> = {
  redis: startRedis,
  postgres: startPostgres,
  mariadb: startMariaDb,
};

/**
 * Lets all test files of a run share one server of each engine. It starts when the first file asks for it, so a run that
 * needs none starts none. Returns what stops them.
 */
export async function openBroker(): Promise<() => Promise<void>> {
  // Each project of a run asks for it.
  if (process.env[VARIABLE] !== undefined) return () => Promise.resolve();
  const started = new Map<EngineName, Promise<RunningServer>>();
  const start = (engine: EngineName): Promise<RunningServer> => {
    const server = started.get(engine) ?? START[engine]();
    started.set(engine, server);
    return server;
  };
  const broker = createServer((req, res) => {
    start(req.url?.slice(1) as EngineName).then(
      ({ url }) => res.end(url),
      (error: unknown) => res.writeHead(500).end(String(error)),
    );
  }).listen(0, "127.0.0.1");
  await once(broker, "listening");
  process.env[VARIABLE] = `http://127.0.0.1:${(broker.address() as AddressInfo).port}`;
  return async () => {
    delete process.env[VARIABLE];
    broker.close();
    for (const server of await Promise.allSettled(started.values()))
      if (server.status === "fulfilled") await server.value.close();
  };
}

/** The URL of the run's server, or `undefined` outside of a run. @throws Error when it does not start */
export async function askBroker(engine: EngineName): Promise<string | undefined> {
  const broker = process.env[VARIABLE];
  if (broker === undefined) return undefined;
  const answer = await fetch(`${broker}/${engine}`);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}
