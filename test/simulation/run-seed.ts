import { ATTACKS, ATTACKS_ON_REDIS } from "./actors/hostile.js";
import { Caller } from "./actors/caller.js";
import { HonestCaller } from "./actors/honest.js";
import type { FaultCounts } from "./world/faults.js";
import { Random } from "./world/random.js";
import type { RedisServer } from "./world/redis-server.js";
import { inVirtualTime, pause } from "./world/virtual-time.js";
import { type Shared, type Weather, World } from "./world/world.js";

/** What a seed decides before anything happens. */
export interface Plan extends Shared {
  readonly seed: number;
  readonly weather: Weather;
  readonly attacks: readonly string[];
}

/** One run, told in full: the same seed gives the same text. */
export interface Run {
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  /** The answers that count, for each honest caller. */
  readonly results: ReadonlyMap<string, readonly string[]>;
  readonly faults: FaultCounts;
}

const PEOPLE = ["ada", "bob"];
const STEPS = 7;
const SEEDS_WITH_REDIS = 0.3;

export function planOf(seed: number): Plan {
  const random = new Random(`${seed}/plan`);
  const weather = random.pick<Weather>(["calm", "calm", "storm", "storm", "memory"]);
  const names = Object.keys(ATTACKS[weather]) as [string];
  const attacks = random.chance(0.3) ? [random.pick(names), random.pick(names)] : [random.pick(names)];
  const sessions = attacks.includes("missingSession") || random.chance(0.5) ? "files" : "shared";
  const onRedis = new Random(`${seed}/redis`);
  const redis = weather !== "memory" && onRedis.chance(SEEDS_WITH_REDIS);
  if (redis && onRedis.chance(0.3)) attacks.push(onRedis.pick(Object.keys(ATTACKS_ON_REDIS) as [string]));
  return { seed, weather, attacks: [...new Set(attacks)], sessions, redis };
}

/** Runs one seed, with its hostile callers or without them. */
export function runOnce(plan: Plan, { hostile }: { readonly hostile: boolean }): Promise<Run> {
  return inVirtualTime(async () => {
    const world = new World(plan.seed, plan.weather, plan);
    await world.open();
    const people = PEOPLE.map((name, at) => new HonestCaller(world, name, `192.0.2.${at + 1}`));
    // Somebody who was never here before comes in the middle of it all.
    const newcomer = new HonestCaller(world, "newcomer", "198.51.100.7");
    const work = people.map((person) => person.live(STEPS));
    work.push(pause(2000).then(() => newcomer.live(2)));
    if (hostile)
      for (const [at, name] of plan.attacks.entries())
        work.push(
          (ATTACKS[plan.weather][name] ?? ATTACKS_ON_REDIS[name])?.(
            new Caller(world, `mallory-${name}`, `203.0.113.${200 + at}`),
          ) ?? Promise.resolve(),
        );
    if (plan.weather === "storm") work.push(storm(world), partition(world));
    if (plan.weather === "storm" && world.redis !== undefined) work.push(stormOnRedis(world, world.redis));
    await Promise.all(work);
    world.checkMainLimit();
    await world.close();
    return {
      violations: world.violations,
      trace: world.exchanges.map(
        ({ actor, step, process, began, ended, answer }) =>
          `${began} ${ended} ${process} ${actor} ${step} ${answer.status}`,
      ),
      results: new Map([...people, newcomer].map(({ name, results }) => [name, results])),
      faults: world.faults,
    };
  });
}

/** What goes wrong for everybody, and when: decided by the seed, whoever is there. */
async function storm(world: World): Promise<void> {
  const random = new Random(`${world.seed}/storm`);
  for (let blow = random.between(0, 2); blow > 0; blow -= 1) {
    await pause(random.between(300, 2500));
    const kind = random.pick(["restart", "fail-over", "disk-full", "no-connections", "process-restart"] as const);
    if (kind === "process-restart") {
      await world.replaceProcess(random.between(0, 1));
      continue;
    }
    world.faults.add(kind);
    if (kind === "restart") world.server?.restart(random.between(100, 600));
    else if (kind === "fail-over") world.server?.restart(random.between(600, 2000));
    else if (kind === "disk-full") world.server?.fillDisk(random.between(200, 1500));
    else world.server?.refuseConnections(random.between(200, 1500));
  }
}

/** The same for Redis. Sessions that are in it would be gone with its data. */
async function stormOnRedis(world: World, redis: RedisServer): Promise<void> {
  const random = new Random(`${world.seed}/storm on redis`);
  for (let blow = random.between(0, 2); blow > 0; blow -= 1) {
    await pause(random.between(300, 2500));
    const isLost = world.sessions === "files" && random.chance(0.4);
    world.faults.add(isLost ? "redis-data-lost" : "redis-restart");
    redis.restart(random.between(100, 2000), { data: isLost ? "lost" : "kept" });
    // A process that begins then knows only what the others have told Redis again.
    if (isLost && random.chance(0.5)) await pause(3000).then(() => world.replaceProcess(random.between(0, 1)));
  }
}

/** The network splits: one process no longer reaches a server that the other one reaches. */
async function partition(world: World): Promise<void> {
  const random = new Random(`${world.seed}/partition`);
  if (!random.chance(0.5)) return;
  const isOfRedis = random.chance(0.6) && world.redis !== undefined;
  await pause(random.between(300, 4000));
  world.faults.add(isOfRedis ? "redis-partition" : "partition");
  const cutOff = world.processes[random.between(0, 1)]?.name ?? "";
  (isOfRedis ? world.redis : world.server)?.cutOff(cutOff, random.between(1500, 3500));
}

/** Runs a seed with its hostile callers and, where nothing else goes wrong, without them; says what was violated. */
export async function runSeed(
  seed: number,
): Promise<{ readonly plan: Plan; readonly violations: readonly string[]; readonly faults: FaultCounts }> {
  const plan = planOf(seed);
  const full = await runOnce(plan, { hostile: true });
  const violations = [...full.violations];
  if (plan.weather !== "storm") {
    const alone = await runOnce(plan, { hostile: false });
    violations.push(...alone.violations.map((violation) => `${violation} (without hostile callers)`));
    for (const [name, results] of alone.results) {
      const changed = results.findIndex((result, at) => full.results.get(name)?.[at] !== result);
      if (changed >= 0)
        violations.push(
          `(d) ${name}: "${full.results.get(name)?.[changed] ?? "nothing"}" instead of "${results[changed]}" because of ${plan.attacks.join(", ")}`,
        );
    }
  }
  return { plan, violations, faults: full.faults };
}
