import { type CredentialCost, medianOver } from "./credentials.js";
import type { Row } from "./report.js";

/** Rows by scenario. */
export type Results = ReadonlyMap<string, readonly Row[]>;

/** What was measured on one version of Node. */
export interface Measured {
  /** Of the servers, as in `process.version`. */
  readonly version: string;
  readonly results: Results;
  readonly costs: readonly CredentialCost[];
}

interface Target {
  readonly text: string;
  readonly value: number | undefined;
  readonly bound: number;
  readonly atLeast?: boolean;
}

const SECURED = "fast";
const REFUSALS = ["429", "host", "bad-key"];

/** Up to Node 22, a change of its prototype makes an object slow: there a server of ours gains most. */
const hasSlowPrototypes = (nodeVersion: string): boolean => Number(/^v?(\d+)/.exec(nodeVersion)?.[1]) < 24;

/** What the benchmark was written to show, as far as this run measured it: a column for each version of Node. */
export function targetTable(runs: readonly Measured[]): string {
  const columns = runs.map(targetsOf);
  const rows = (columns[0] ?? []).flatMap(({ text }, at) => {
    const cells = columns.map((targets) => cell(targets[at]));
    return cells.every((each) => each === NOT_MEASURED) ? [] : [`| ${[text, ...cells].join(" | ")} |`];
  });
  if (rows.length === 0) return "";
  return [
    `| target: measured, bound | ${runs.map(({ version }) => `Node ${version.replace(/^v/, "")}`).join(" | ")} |`,
    `|---|${"--:|".repeat(runs.length)}`,
    ...rows,
  ].join("\n");
}

const NOT_MEASURED = "–";

function cell(target: Target | undefined): string {
  if (target?.value === undefined || Number.isNaN(target.value)) return NOT_MEASURED;
  const { value, bound, atLeast = false } = target;
  const isMet = atLeast ? value >= bound : value <= bound;
  return `${value.toFixed(2)} ${atLeast ? "≥" : "≤"} ${bound}${isMet ? "" : " **missed**"}`;
}

function targetsOf({ version, results, costs }: Measured): readonly Target[] {
  const isSlow = hasSlowPrototypes(version);
  const row = (scenario: string, id: string): Row | undefined => results.get(scenario)?.find((each) => each.id === id);
  const anonymous = (id: string): Row | undefined => row("anonymous", id);
  return [
    {
      text: "CPU of everything, of bare Express",
      value: over(anonymous(SECURED)?.cpu, anonymous("express")?.cpu),
      bound: isSlow ? 0.5 : 1.25,
    },
    { text: "tax of everything, of by hand", value: anonymous(SECURED)?.ofByHand, bound: isSlow ? 0 : 0.25 },
    {
      text: "requests/s of everything, of Fastify with plugins",
      value: over(anonymous(SECURED)?.perSecond, anonymous("fastify-plugins")?.perSecond),
      bound: isSlow ? 1.1 : 1.3,
      atLeast: true,
    },
    {
      text: "requests/s of everything, of Hono with middleware",
      value: over(anonymous(SECURED)?.perSecond, anonymous("hono-middleware")?.perSecond),
      bound: isSlow ? 1.5 : 1.7,
      atLeast: true,
    },
    ...REFUSALS.map((id) => ({
      text: `CPU of a refusal (${id}), of a request served by bare Express`,
      value: over(row(id, SECURED)?.cpu, row(id, "express")?.cpu),
      bound: isSlow ? 0.35 : 0.7,
    })),
    { text: "warm API key over anonymous, µs", value: medianOver(costs, SECURED, "api-key"), bound: 15 },
    { text: "JWT HS256 over anonymous, µs", value: medianOver(costs, SECURED, "jwt-hs256"), bound: 15 },
  ];
}

function over(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}
