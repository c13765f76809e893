import { type CredentialCost, medianOver } from "./credentials.js";
import type { Row } from "./report.js";

/** Rows by scenario. */
export type Results = ReadonlyMap<string, readonly Row[]>;

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

/**
 * What the benchmark was written to show, as far as this run measured it.
 *
 * @param nodeVersion of the servers, as in `process.version`
 */
export function targets(results: Results, costs: readonly CredentialCost[], nodeVersion: string): string {
  const isSlow = hasSlowPrototypes(nodeVersion);
  const row = (scenario: string, id: string): Row | undefined => results.get(scenario)?.find((each) => each.id === id);
  const anonymous = (id: string): Row | undefined => row("anonymous", id);
  const all: Target[] = [
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
  const lines = all.flatMap(({ text, value, bound, atLeast = false }) => {
    if (value === undefined || Number.isNaN(value)) return [];
    const met = atLeast ? value >= bound : value <= bound;
    return [`| ${text} | ${value.toFixed(2)} | ${atLeast ? "≥" : "≤"} ${bound} | ${met ? "yes" : "no"} |`];
  });
  return lines.length === 0 ? "" : ["| target | measured | bound | met |", "|---|--:|--:|---|", ...lines].join("\n");
}

function over(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}
