import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { startPrograms } from "../programs.js";
import type { EngineName } from "./binaries.js";
import { startMariaDb } from "./mariadb.js";
import { startPostgres } from "./postgres.js";
import { startRedis } from "./redis.js";

/** Where the test files of a run ask for what they share. */
const VARIABLE = "TEST_SERVERS";

interface Shared {
  readonly url: string;
  close(): Promise<void>;
}
type SharedName = EngineName | "programs";

const START: Readonly<Record<SharedName, () => Promise<Shared>>> = {
  redis: startRedis,
  postgres: startPostgres,
  mariadb: startMariaDb,
  programs: startPrograms,
};

/**
 * Lets all test files of a run share one server of each engine, and the programs they start. Each starts when the first file
 * asks for it, so a run that needs none starts none. Returns what stops them.
 */
export async function openBroker(): Promise<() => Promise<void>> {
  // Each project of a run asks for it.
  if (process.env[VARIABLE] !== undefined) return () => Promise.resolve();
  const started = new Map<SharedName, Promise<Shared>>();
  const start = (name: SharedName): Promise<Shared> => {
    const shared = started.get(name) ?? START[name]();
    started.set(name, shared);
    return shared;
  };
  const broker = createServer((req, res) => {
    start(req.url?.slice(1) as SharedName).then(
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

/** The URL of the run's server, or the folder of its programs; `undefined` outside of a run. @throws Error when it does not start */
export async function askBroker(name: SharedName): Promise<string | undefined> {
  const broker = process.env[VARIABLE];
  if (broker === undefined) return undefined;
  const answer = await fetch(`${broker}/${name}`);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}
