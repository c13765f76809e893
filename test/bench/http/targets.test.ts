import { describe, expect, it } from "vitest";
import type { Row } from "./report.js";
import { type Measured, targetTable } from "./targets.js";

function row(id: string, cpu: number, perSecond = 1000): Row {
  return { id, title: id, cpu, least: cpu, most: cpu, perSecond };
}

function run(version: string, results: Record<string, Row[]>): Measured {
  return { version, results: new Map(Object.entries(results)), costs: [] };
}

describe("the table of targets", () => {
  it("has a column for each Node with the bound of its version, and names what is missed", () => {
    const results = {
      anonymous: [row("express", 100), row("fast", 60, 1200), row("fastify-plugins", 80, 1000)],
      "429": [row("express", 100), row("fast", 30)],
    };
    expect(targetTable([run("20.20.2", results), run("24.21.0", results)]).split("\n")).toEqual([
      "| target: measured, bound | Node 20.20.2 | Node 24.21.0 |",
      "|---|--:|--:|",
      "| CPU of everything, of bare Express | 0.60 ≤ 0.5 **missed** | 0.60 ≤ 1.25 |",
      "| requests/s of everything, of Fastify with plugins | 1.20 ≥ 1.1 | 1.20 ≥ 1.3 **missed** |",
      "| CPU of a refusal (429), of a request served by bare Express | 0.30 ≤ 0.35 | 0.30 ≤ 0.7 |",
    ]);
  });

  it("leaves out what no Node measured, and is empty without a measurement", () => {
    const one = run("24.0.0", { host: [row("express", 100), row("fast", 80)] });
    expect(
      targetTable([one, run("26.0.0", {})])
        .split("\n")
        .at(-1),
    ).toBe("| CPU of a refusal (host), of a request served by bare Express | 0.80 ≤ 0.7 **missed** | – |");
    expect(targetTable([run("24.0.0", {})])).toBe("");
  });
});
