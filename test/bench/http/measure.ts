import { setTimeout as sleep } from "node:timers/promises";
import { expectedStatus, faults, prepare, send } from "./answers.js";
import type { Contender } from "./contenders.js";
import type { LoadTool } from "./load.js";
import type { Ask, Scenario } from "./scenarios.js";
import { type ServerProcess, startServer, type StartOptions } from "./server-process.js";

/** One window under load. */
export interface Sample {
  /** Processor time of the server for each request, microseconds. */
  readonly cpu: number;
  readonly perSecond: number;
}

/** Samples of a scenario, round by round, by the id of the contender. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

export interface Windows {
  readonly rounds: number;
  /** Requests before the first window. By requests, not by time: on a busy machine a second is over before the compilers have seen the code. */
  readonly warm: number;
  /** Length of one window. */
  readonly seconds: number;
  readonly node: string;
  readonly tool: LoadTool;
}

export interface Plan extends Windows {
  readonly contenders: readonly Contender[];
  /** Told before each window. */
  readonly progress: (round: number, contender: Contender) => void;
}

/** What wrk does before and after the window: its connections are not all there in the first moments, nor in the last. */
const SETTLE_MS = 250;
const WARM_WINDOWS = 8;

export interface Running {
  readonly contender: Contender;
  readonly server: ServerProcess;
  readonly ask: Ask;
}

/**
 * All servers side by side, one under load at a time. In each round all have a window, in an order that is rotated: whoever
 * comes later may find another machine. What comes before the first is for the compilers and does not count.
 */
export async function measureScenario(scenario: Scenario, plan: Plan): Promise<Samples> {
  const running: Running[] = [];
  const samples = new Map(plan.contenders.map(({ id }) => [id, [] as Sample[]]));
  try {
    for (const contender of plan.contenders)
      running.push(await startChecked(contender, scenario, { node: plan.node, settings: scenario.settings }));
    for (let round = 0; round <= plan.rounds; round += 1) {
      const from = round % running.length;
      for (const each of [...running.slice(from), ...running.slice(0, from)]) {
        plan.progress(round, each.contender);
        if (round === 0) await warmUp(each, plan);
        else samples.get(each.contender.id)?.push(await window(each, scenario, plan));
      }
    }
  } finally {
    await Promise.all(running.map(({ server }) => server.stop()));
  }
  return samples;
}

async function startChecked(contender: Contender, scenario: Scenario, options: StartOptions): Promise<Running> {
  const server = await startServer(contender, options);
  try {
    return await check(server, contender, scenario);
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Brings the server into the state of the scenario, and looks at its answer before it counts. */
export async function check(server: ServerProcess, contender: Contender, scenario: Scenario): Promise<Running> {
  const ask = await prepare(server, contender, scenario);
  const found = faults(contender, scenario, ask, await send(server.port, ask));
  if (found.length > 0) throw new Error(`${contender.title}, ${scenario.title}: ${found.join("; ")}`);
  return { contender, server, ask };
}

export async function warmUp({ server, ask }: Running, { tool, warm }: Windows): Promise<void> {
  for (let turn = 0; turn < WARM_WINDOWS; turn += 1) {
    await tool.load(server.port, ask, 2);
    if ((await server.work()).requests >= warm) return;
  }
}

export async function window(
  { contender, server, ask }: Running,
  scenario: Scenario,
  { tool, seconds }: Windows,
): Promise<Sample> {
  const load = tool.load(server.port, ask, Math.ceil(seconds + (2 * SETTLE_MS) / 1000));
  const measured = (async () => {
    await sleep(SETTLE_MS);
    const before = await server.work();
    await sleep(seconds * 1000);
    return { before, after: await server.work() };
  })();
  const [{ requests, refused, failed }, { before, after }] = await Promise.all([load, measured]);
  const wrong = expectedStatus(contender, scenario, ask) >= 400 ? requests - refused : refused;
  // Where the limit is full, one request in each of its windows is accepted; and on a busy machine one may time out.
  if (requests === 0 || failed > requests / 100 || wrong > 2)
    throw new Error(
      `${contender.title}, ${scenario.title}: of ${requests} requests ${failed} failed and ${wrong} had the wrong status`,
    );
  const served = after.requests - before.requests;
  return {
    cpu: (after.user + after.system - before.user - before.system) / served,
    perSecond: (served * 1000) / (after.at - before.at),
  };
}
