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

const SECURED = "everything";
const REFUSALS = ["429", "host", "bad-key"];

/** What the benchmark was written to show, as far as this run measured it. */
export function targets(results: Results, costs: readonly CredentialCost[]): string {
  const row = (scenario: string, id: string): Row | undefined => results.get(scenario)?.find((each) => each.id === id);
  const anonymous = (id: string): Row | undefined => row("anonymous", id);
  const all: Target[] = [
    { text: "tax of everything, of by hand", value: anonymous(SECURED)?.ofByHand, bound: 0.25 },
    {
      text: "tax of everything, of Fastify's",
      value: over(anonymous(SECURED)?.tax, anonymous("fastify-plugins")?.tax),
      bound: 1,
    },
    {
      text: "tax of everything, of Hono's",
      value: over(anonymous(SECURED)?.tax, anonymous("hono-middleware")?.tax),
      bound: 1,
    },
    {
      text: "requests/s of everything, of bare Express",
      value: anonymous(SECURED)?.ofExpress,
      bound: 0.6,
      atLeast: true,
    },
    {
      text: "requests/s of everything, of Fastify with plugins",
      value: over(anonymous(SECURED)?.perSecond, anonymous("fastify-plugins")?.perSecond),
      bound: 1.5,
      atLeast: true,
    },
    {
      text: "requests/s of everything, of Hono with middleware",
      value: over(anonymous(SECURED)?.perSecond, anonymous("hono-middleware")?.perSecond),
      bound: 1.5,
      atLeast: true,
    },
    ...REFUSALS.map((id) => ({
      text: `CPU of a refusal (${id}), of a request served by bare Express`,
      value: over(row(id, SECURED)?.cpu, row(id, "express")?.cpu),
      bound: 1,
    })),
    { text: "warm API key over anonymous, µs", value: medianOver(costs, SECURED, "api-key"), bound: 15 },
    { text: "JWT HS256 over anonymous, µs", value: medianOver(costs, SECURED, "jwt-hs256"), bound: 25 },
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
