import { connect } from "node:net";
import { requireBinary } from "./binaries.js";
import { freePort, type RunningServer, startServer } from "./process.js";

/**
 * One Redis. The append-only file is written before each reply and not synced: what was acknowledged outlives SIGKILL of
 * the server (not of the machine), at little cost.
 *
 * @param options.args more arguments, as on the command line; the last of a name wins
 */
export async function startRedis(options: { args?: readonly string[] } = {}): Promise<RunningServer> {
  const file = requireBinary("redis", "redis-server");
  // The port of the cluster bus, which would otherwise be port + 10000 and may be taken or beyond 65535.
  const busPort =
    options.args?.includes("--cluster-enabled") === true ? ["--cluster-port", String(await freePort())] : [];
  return startServer({
    name: "redis",
    command: (folder, port) => ({
      file,
      args: [
        "--port",
        String(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        folder,
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "no",
        "--repl-diskless-sync-delay",
        "0",
        ...busPort,
        ...(options.args ?? []),
      ],
    }),
    probe: async (port) => {
      await redisReady(port);
    },
    url: (port) => `redis://127.0.0.1:${port}`,
  });
}

/** Sends commands in Redis' inline form over a connection of its own and gives the first line of each answer. */
export function redisSays(port: number, ...commands: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.setTimeout(5000, () => socket.destroy(new Error("Redis did not answer")));
    socket.on("data", (chunk) => (text += chunk.toString("utf8")));
    socket.on("error", reject);
    socket.on("close", () => resolve(text));
    socket.end(`${[...commands, "QUIT"].join("\r\n")}\r\n`);
  });
}

/** PONG comes only when the data is loaded; a server that wants a password is ready too. */
async function redisReady(port: number): Promise<void> {
  const answer = await redisSays(port, "PING");
  if (!/^(\+PONG|-NOAUTH)/.test(answer)) throw new Error(answer);
}
