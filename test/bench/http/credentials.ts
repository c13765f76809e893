import { median } from "../median.js";
import type { Contender } from "./contenders.js";
import { check, type Sample, warmUp, window, type Windows } from "./measure.js";
import { chooseScenarios, type Scenario } from "./scenarios.js";
import { startServer } from "./server-process.js";

const ANONYMOUS = "anonymous";
/** No session: what it leaves to the collector would fall to whoever comes after it. */
const CREDENTIALS = [ANONYMOUS, "api-key", "jwt-hs256"];

/** What requests of one kind took in one process, round by round, beside anonymous ones. */
export interface CredentialCost {
  readonly contender: Contender;
  readonly scenario: Scenario;
  readonly samples: readonly Sample[];
  /** Microseconds more than the anonymous request of the same round. */
  readonly over: readonly number[];
}

/**
 * What a credential costs. Two processes that run the same code differ by more than a key or a token takes, so here one process gets
 * all kinds of request in turns. It also serves all of them, as an app does, and no compiler has seen but one.
 */
export async function measureCredentials(contender: Contender, plan: Windows): Promise<CredentialCost[]> {
  const server = await startServer(contender, { node: plan.node });
  try {
    const kinds = [];
    for (const scenario of chooseScenarios(CREDENTIALS))
      kinds.push({ scenario, running: await check(server, contender, scenario), samples: [] as Sample[] });
    for (const { running } of kinds) await warmUp(running, plan);
    // The first round is a warm-up as well: only the first kind has had all its requests.
    for (let round = 0; round <= plan.rounds; round += 1) {
      const from = round % kinds.length;
      const order = [...kinds.slice(from), ...kinds.slice(0, from)];
      for (const { scenario, running, samples } of round % 2 === 0 ? order : order.toReversed()) {
        const sample = await window(running, scenario, plan);
        if (round > 0) samples.push(sample);
      }
    }
    const anonymous = kinds.find(({ scenario }) => scenario.id === ANONYMOUS)?.samples ?? [];
    return kinds.map(({ scenario, samples }) => ({
      contender,
      scenario,
      samples,
      over: samples.map(({ cpu }, round) => cpu - (anonymous[round]?.cpu ?? NaN)),
    }));
  } finally {
    await server.stop();
  }
}

/** Median of what one kind of credential cost one server, in microseconds; NaN when it was not measured. */
export function medianOver(costs: readonly CredentialCost[], contender: string, scenario: string): number {
  return median(
    costs
      .filter((cost) => cost.contender.id === contender && cost.scenario.id === scenario)
      .flatMap(({ over }) => over),
  );
}

/** Costs of several starts of the same servers, as one table. */
export function credentialTable(costs: readonly CredentialCost[]): string {
  const rows = new Map<string, CredentialCost[]>();
  for (const cost of costs) {
    const name = `${cost.contender.title} | ${cost.scenario.title}`;
    rows.set(name, [...(rows.get(name) ?? []), cost]);
  }
  const lines = [...rows].map(([name, starts]) => {
    const cpu = median(starts.flatMap(({ samples }) => samples.map((sample) => sample.cpu)));
    const over = starts.flatMap((start) => start.over);
    const isAnonymous = starts[0]?.scenario.id === ANONYMOUS;
    return `| ${name} | ${cpu.toFixed(1)} | ${isAnonymous ? "–" : `${median(over).toFixed(1)} (${Math.min(...over).toFixed(1)}–${Math.max(...over).toFixed(1)})`} |`;
  });
  return [
    "| server | request | µs CPU/request | over anonymous, µs (least–most) |",
    "|---|---|--:|--:|",
    ...lines,
  ].join("\n");
}
