import { setTimeout as sleep } from "node:timers/promises";
import { redisSays, type RunningServer } from "../../support/servers.js";
import { startTcpProxy } from "../../support/tcp-proxy.js";
import type { Contender } from "./contenders.js";

/** Requests per second over `ms`, clients taken in turn, with so many limits each and so many under way at any time. */
export async function throughput(
  contender: Contender,
  clients: readonly string[],
  ms: number,
  inFlight: number,
  limits: number,
): Promise<number> {
  let done = 0;
  let next = 0;
  const start = performance.now();
  const end = start + ms;
  const loop = async (): Promise<void> => {
    while (performance.now() < end) {
      const client = clients[(next = (next + 1) % clients.length)]!;
      await (limits === 1 ? contender.decide(client) : contender.decideSeveral(client, limits));
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  return done / ((performance.now() - start) / 1000);
}

/** What Redis did since the last RESETSTAT: commands that came over the wire, and the microseconds they took. */
async function work(server: RunningServer): Promise<{ commands: number; usec: number }> {
  const stats = await redisSays(server.port, "INFO commandstats");
  const all = [...stats.matchAll(/cmdstat_([a-z|]+):calls=(\d+),usec=(\d+)/g)].map(([, name = "", calls, usec]) => ({
    name,
    calls: Number(calls),
    usec: Number(usec),
  }));
  // What a script calls is counted by itself too, and is in the script's time.
  const scripts = all.filter(({ name }) => name === "evalsha" || name === "eval");
  const counted =
    scripts.length > 0
      ? scripts
      : all.filter(({ name }) => !["info", "config|resetstat", "flushall", "quit"].includes(name));
  return {
    commands: counted.reduce((sum, { calls }) => sum + calls, 0),
    usec: counted.reduce((sum, { usec }) => sum + usec, 0),
  };
}

/** Microseconds of Redis' own time for each decision: what the server spends, whatever the client's language and load. */
export async function serverMicroseconds(server: RunningServer, act: () => Promise<number>): Promise<number> {
  await redisSays(server.port, "CONFIG RESETSTAT");
  const decisions = await act();
  const { commands, usec } = await work(server);
  return commands === 0 ? NaN : usec / decisions;
}

/** Commands on the wire and consecutive round trips of one request. */
export async function trips(
  server: RunningServer,
  open: (url: string) => Promise<Contender[]>,
  pick: number,
): Promise<{ one: number; four: number; commandsOfFour: number }> {
  const proxy = await startTcpProxy(server.port);
  const contenders = await open(`redis://127.0.0.1:${proxy.port}`);
  const contender = contenders[pick]!;
  try {
    await contender.decide("trips");
    await contender.decideSeveral("trips", 4);
    await sleep(50);
    const latency = 40;
    proxy.latency(latency);
    const time = async (act: () => unknown): Promise<number> => {
      const start = performance.now();
      for (let i = 0; i < 5; i += 1) await act();
      return Math.floor((performance.now() - start) / 5 / latency);
    };
    const one = await time(() => contender.decide("trips"));
    const four = await time(() => contender.decideSeveral("trips", 4));
    proxy.latency(0);
    await redisSays(server.port, "CONFIG RESETSTAT");
    await contender.decideSeveral("trips", 4);
    return { one, four, commandsOfFour: (await work(server)).commands };
  } finally {
    await Promise.all(contenders.map(({ close }) => close()));
    await proxy.close();
  }
}

/** What one client of that many recorded requests costs in Redis, in bytes. */
export async function bytesOf(server: RunningServer, pattern: string): Promise<number> {
  const keys = (await redisSays(server.port, `KEYS ${pattern}`))
    .split("\r\n")
    .filter((line) => line.startsWith("bench:") || line.startsWith("zset:"));
  let bytes = 0;
  for (const key of keys)
    bytes += Number(/:(\d+)/.exec(await redisSays(server.port, `MEMORY USAGE "${key}" SAMPLES 0`))?.[1] ?? NaN);
  return keys.length === 0 ? NaN : bytes / keys.length;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
