/**
 * `npm run bench:stores`: decisions per second, round trips and memory of the limiters, in one interleaved run on one Redis.
 * Prints the tables of README.md in this folder.
 */
import { redisSays, startRedis } from "../../support/servers.js";
import {
  type Contender,
  flexibleMemory,
  LIMIT,
  memory,
  throughIoRedis,
  throughNodeRedis,
  WINDOW_MS,
} from "./contenders.js";
import { bytesOf, median, serverMicroseconds, throughput, trips } from "./measure.js";

/** Multiplies the number of rounds; 0.1 for a first look. */
const EFFORT = Number(process.env["BENCH_EFFORT"] ?? 1);
const WARM_ROUNDS = 3;
/**
 * What is measured: so many clients that a slice nearly fills their logs, or so few that nearly all is refused. Slices are
 * short and many: on a busy machine the two sides of a ratio are then disturbed alike more often.
 */
const MIXES = [
  {
    title: "64 decisions under way, accepted: logs from empty to full",
    clients: addresses(200),
    inFlight: 64,
    limits: 1,
    sliceMs: 150,
    rounds: 41,
  },
  {
    title: "64 decisions under way, refused: logs full",
    clients: addresses(5),
    inFlight: 64,
    limits: 1,
    sliceMs: 150,
    rounds: 41,
  },
  {
    title: "One decision at a time, accepted",
    clients: addresses(25),
    inFlight: 1,
    limits: 1,
    sliceMs: 60,
    rounds: 81,
  },
  {
    title: "One request with three limits at a time, accepted",
    clients: addresses(15),
    inFlight: 1,
    limits: 3,
    sliceMs: 60,
    rounds: 81,
  },
];

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const server = await startRedis({ args: ["--appendonly", "no"] });
try {
  const redisVersion = /redis_version:(\S+)/.exec(await redisSays(server.port, "INFO server"))?.[1] ?? "?";
  print(`Node ${process.versions.node}, Redis ${redisVersion}, limit ${LIMIT} in ${WINDOW_MS / 1000} s\n`);
  const contenders = [
    memory(),
    flexibleMemory(),
    ...(await throughNodeRedis(server.url)),
    ...(await throughIoRedis(server.url)),
  ];
  for (const mix of MIXES) await compare(contenders, mix);
  for (const { close } of contenders) await close();
  await roundTrips();
  await memoryPerClient();
} finally {
  await server.close();
}

function addresses(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `203.0.${index >> 8}.${index & 255}`);
}

async function compare(
  contenders: readonly Contender[],
  { title, clients, inFlight, limits, sliceMs, rounds }: (typeof MIXES)[number],
): Promise<void> {
  const count = Math.max(3, Math.round(rounds * EFFORT));
  print(`### ${title}\n\n${count} interleaved rounds of ${sliceMs} ms.\n`);
  const results = new Map(
    contenders.map((contender) => [contender, { perSecond: [] as number[], usec: [] as number[] }]),
  );
  for (let round = -WARM_ROUNDS; round < count; round += 1) {
    // Every other round in the opposite order: what comes later in a round finds a warmer machine.
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      await redisSays(server.port, "FLUSHALL");
      let perSecond = 0;
      const usec = await serverMicroseconds(server, async () => {
        perSecond = await throughput(contender, clients, sliceMs, inFlight, limits);
        return (perSecond * sliceMs) / 1000;
      });
      if (round < 0) continue;
      results.get(contender)?.perSecond.push(perSecond);
      results.get(contender)?.usec.push(usec);
    }
  }
  const unit = limits === 1 ? "decision" : "request";
  print(`| limiter | algorithm | ${unit}s/s | of rate-limit-redis | Redis µs/${unit} |`);
  print("|---|---|--:|--:|--:|");
  for (const [{ name, algorithm }, { perSecond, usec }] of results) {
    const library = name.split(", ")[1];
    const peer = [...results].find(([other]) => other.name === `rate-limit-redis, ${library ?? ""}`)?.[1].perSecond;
    // Round by round: what disturbs the machine disturbs both.
    const ratio =
      peer === undefined ? "" : median(perSecond.map((value, index) => value / (peer[index] ?? NaN))).toFixed(2);
    const spent = median(usec);
    print(
      `| ${name} | ${algorithm} | ${Math.round(median(perSecond)).toLocaleString("en")} | ${ratio} | ${Number.isNaN(spent) ? "" : spent.toFixed(1)} |`,
    );
  }
  print("");
}

async function roundTrips(): Promise<void> {
  print("### Round trips\n\n| limiter (node-redis) | round trips, one limit | four limits | commands, four limits |");
  print("|---|--:|--:|--:|");
  for (const [pick, name] of ["portcullis", "rate-limit-redis", "rate-limiter-flexible"].entries()) {
    const { one, four, commandsOfFour } = await trips(server, throughNodeRedis, pick);
    print(`| ${name} | ${one} | ${four} | ${commandsOfFour} |`);
  }
}

async function memoryPerClient(): Promise<void> {
  print(
    "\n### Memory of one client\n\n| recorded requests | portcullis, bytes | per request | sorted set, bytes | fixed window, bytes |",
  );
  print("|--:|--:|--:|--:|--:|");
  const { RedisSlidingWindowStore } = await import("../../../src/stores/redis/sliding-window/store.js");
  const store = new RedisSlidingWindowStore({ redis: server.url, prefix: "bench:", maxRecords: 10_000 });
  for (const requests of [1, 10, 100, 1000, 10_000]) {
    await redisSays(server.port, "FLUSHALL");
    const policy = { name: "default", limit: requests, windowMs: WINDOW_MS };
    for (let index = 0; index < requests; index += 1) await store.consume(policy, "203.0.113.7", 1);
    // The usual members: the time and something that makes it unique (redis/redis#13927).
    const now = Date.now();
    for (let from = 0; from < requests; from += 500) {
      const members = Array.from(
        { length: Math.min(500, requests - from) },
        (_, index) => `${now + from + index} ${now + from + index}-${(from + index).toString(36).padStart(8, "0")}`,
      );
      await redisSays(server.port, `ZADD zset:203.0.113.7 ${members.join(" ")}`, "PEXPIRE zset:203.0.113.7 60000");
    }
    const ours = await bytesOf(server, "bench:*");
    const zset = await bytesOf(server, "zset:*");
    await redisSays(server.port, `SET bench:rlr:203.0.113.7 ${requests} PX 60000`);
    const fixed = await bytesOf(server, "bench:rlr:*");
    print(
      `| ${requests.toLocaleString("en")} | ${ours.toLocaleString("en")} | ${(ours / requests).toFixed(1)} | ${zset.toLocaleString("en")} | ${fixed} |`,
    );
  }
  await store.close();
}
