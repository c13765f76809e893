import { createConnection } from "node:net";
import { once } from "node:events";
import { ENGINES, type EngineName } from "./servers/binaries.js";
import { openBroker } from "./servers/broker.js";
import { givenUrl, requireEngines } from "./servers/needed.js";

const PORTS = { redis: 6379, postgres: 5432, mariadb: 3306 } as const satisfies Record<EngineName, number>;

/** Opens the way to the servers that test files share. Stops a run at its start when a server it needs is neither installed nor reachable, with the line that installs it. */
export async function setup(): Promise<() => Promise<void>> {
  requireEngines();
  for (const engine of Object.keys(ENGINES) as EngineName[]) {
    const url = givenUrl(engine);
    if (url !== undefined) await reach(engine, url);
  }
  return openBroker();
}

async function reach(engine: EngineName, url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = createConnection({
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port) || PORTS[engine],
    timeout: 5000,
  });
  socket.on("timeout", () => socket.destroy(new Error("no answer within 5 s")));
  try {
    await once(socket, "connect");
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unknown";
    throw new Error(
      `${ENGINES[engine].variable} names a ${ENGINES[engine].name} that cannot be reached (${reason}). Start it, or unset the variable to have the tests start one of their own.`,
    );
  } finally {
    socket.destroy();
  }
}
