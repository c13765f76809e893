/**
 * `npm run bench`: what each request costs the server, for portcullis and for what one would use instead. Prints the tables
 * of ../README.md, where the options are explained.
 */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chooseContenders } from "./contenders.js";
import { type CredentialCost, credentialTable, measureCredentials } from "./credentials.js";
import { findLoadTool } from "./load.js";
import { describeMachine, machineLines } from "./machine.js";
import { measureScenario, type Sample } from "./measure.js";
import { overview, type Row, rowsOf, table } from "./report.js";
import { chooseScenarios } from "./scenarios.js";
import { type Measured, targetTable } from "./targets.js";

const CONNECTIONS = 32;
/** Beside the scenarios: what a credential costs in one process. */
const CREDENTIALS = "credentials";

const { values } = parseArgs({
  options: {
    node: { type: "string", default: process.execPath },
    restarts: { type: "string", default: "3" },
    rounds: { type: "string", default: "2" },
    seconds: { type: "string", default: "1" },
    warm: { type: "string", default: "30000" },
    scenario: { type: "string" },
    only: { type: "string" },
    json: { type: "string" },
  },
});
const restarts = positive("restarts", values.restarts);
const rounds = positive("rounds", values.rounds);
const warm = positive("warm", values.warm);
const seconds = Number(values.seconds);
if (!(seconds >= 0.1 && seconds <= 60)) throw new RangeError("--seconds is a number from 0.1 to 60");
const contenders = chooseContenders(values.only?.split(","));
const wanted = values.scenario?.split(",");
const scenarios = chooseScenarios(wanted, [CREDENTIALS]);
if (!existsSync(fileURLToPath(new URL("../../../dist/esm/index.js", import.meta.url))))
  throw new Error("There is no dist: npm run build makes it, and npm run bench does that first.");

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const tool = findLoadTool(CONNECTIONS);
const kept: object[] = [];
const runs: Measured[] = [];
for (const node of values.node.split(",")) runs.push(await measureOn(node));
const summary = targetTable(runs);
if (summary !== "") print(`\n### Targets\n\n${summary}`);

/** Measures all scenarios on one version of Node and prints its tables. */
async function measureOn(node: string): Promise<Measured> {
  const machine = describeMachine(node, tool.name);
  print(`\n${machineLines(machine)}\n`);
  print(
    `${CONNECTIONS} connections, ${restarts} times ${rounds} interleaved rounds of ${seconds} s, each start after ${warm} requests`,
  );
  const results = new Map<string, Row[]>();
  const raw: Record<string, Record<string, unknown>> = {};
  kept.push({ machine, connections: CONNECTIONS, restarts, rounds, warm, seconds, scenarios: raw });
  for (const scenario of scenarios) {
    const progress = (round: number, { title }: { title: string }): void => {
      if (process.stderr.isTTY)
        process.stderr.write(
          `\r\x1b[K${scenario.title}: ${round === 0 ? "warming up" : `round ${round} of ${rounds}`}, ${title}`,
        );
    };
    // Each process has its own luck with the compilers and its place in memory, up to a tenth of all it does: so several of each.
    const samples = new Map<string, Sample[]>();
    const plan = { contenders, rounds, warm, seconds, node, tool, progress };
    for (let start = 0; start < restarts; start += 1) {
      for (const [id, more] of await measureScenario(scenario, plan))
        samples.set(id, [...(samples.get(id) ?? []), ...more]);
    }
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    const rows = rowsOf(contenders, samples);
    results.set(scenario.id, rows);
    raw[scenario.id] = { rows, samples: Object.fromEntries(samples) };
    print(`\n### ${scenario.title}\n\n${table(rows)}`);
    await keep();
  }
  if (scenarios.length > 1)
    print(`\n### All scenarios\n\n${overview(scenarios.map(({ id, title }) => [title, results.get(id) ?? []]))}`);
  const costs: CredentialCost[] = [];
  if (wanted === undefined || wanted.includes(CREDENTIALS)) {
    for (let start = 0; start < restarts; start += 1) {
      for (const contender of contenders.filter(({ id }) => id === "by-hand" || id === "fast"))
        costs.push(...(await measureCredentials(contender, { rounds, warm, seconds, node, tool })));
    }
    print(`\n### A credential, in one process\n\n${credentialTable(costs)}`);
    raw[CREDENTIALS] = {
      samples: costs.map(({ contender, scenario, samples, over }) => ({
        contender: contender.id,
        scenario: scenario.id,
        samples,
        over,
      })),
    };
    await keep();
  }
  return { version: machine.node.split(",")[0] ?? "", results, costs };
}

async function keep(): Promise<void> {
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(kept, null, 2)}\n`);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new RangeError(`--${name} is a whole number above 0`);
}
