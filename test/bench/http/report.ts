import { median } from "../median.js";
import type { Contender } from "./contenders.js";
import type { Sample, Samples } from "./measure.js";

/** One row: medians over the rounds; differences and ratios are taken in each round, where both sides met the same machine. */
export interface Row {
  readonly id: string;
  readonly title: string;
  /** Processor time of the server for each request, microseconds. */
  readonly cpu: number;
  readonly least: number;
  readonly most: number;
  /** That over the bare server of the same framework. */
  readonly tax?: number | undefined;
  /** That in parts of what the packages wired by hand cost. */
  readonly ofByHand?: number | undefined;
  readonly perSecond: number;
  readonly ofExpress?: number | undefined;
}

export function rowsOf(contenders: readonly Contender[], samples: Samples): Row[] {
  const cpus = (id: string): readonly number[] | undefined => samples.get(id)?.map(({ cpu }) => cpu);
  const taxes = ({ id, base }: Contender): readonly number[] | undefined =>
    minus(cpus(id), base === undefined ? undefined : cpus(base));
  const byHand = contenders.find(({ id }) => id === "by-hand");
  const byHandTaxes = byHand === undefined ? undefined : taxes(byHand);
  return contenders.map((contender) => {
    const own = samples.get(contender.id) ?? [];
    const values = own.map(({ cpu }) => cpu);
    const tax = taxes(contender);
    return {
      id: contender.id,
      title: contender.title,
      cpu: median(values),
      least: Math.min(...values),
      most: Math.max(...values),
      tax: tax && median(tax),
      // A refusal can cost less than the bare server: then a ratio says nothing.
      ofByHand: tax && byHandTaxes && Math.min(...byHandTaxes) > 5 ? median(ratios(tax, byHandTaxes)) : undefined,
      perSecond: median(own.map(({ perSecond }) => perSecond)),
      ofExpress: ofExpress(own, samples.get("express")),
    };
  });
}

function ofExpress(own: readonly Sample[], express: readonly Sample[] | undefined): number | undefined {
  return express === undefined
    ? undefined
    : median(own.map(({ perSecond }, round) => perSecond / (express[round]?.perSecond ?? NaN)));
}

function minus(a: readonly number[] | undefined, b: readonly number[] | undefined): readonly number[] | undefined {
  return a && b && a.map((value, round) => value - (b[round] ?? NaN));
}

function ratios(a: readonly number[], b: readonly number[]): readonly number[] {
  return a.map((value, round) => value / (b[round] ?? NaN));
}

const fixed = (value: number | undefined, digits: number): string =>
  value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);

export function table(rows: readonly Row[]): string {
  const lines = rows.map(({ title, cpu, least, most, tax, ofByHand, perSecond, ofExpress }) =>
    [
      title,
      fixed(cpu, 1),
      `${fixed(least, 1)}–${fixed(most, 1)}`,
      fixed(tax, 1),
      fixed(ofByHand, 2),
      Math.round(perSecond).toLocaleString("en"),
      fixed(ofExpress, 2),
    ].join(" | "),
  );
  return [
    "| server | µs CPU/request | least–most | security tax, µs | of by hand | requests/s | of bare Express |",
    "|---|--:|--:|--:|--:|--:|--:|",
    ...lines.map((line) => `| ${line} |`),
  ].join("\n");
}

/** All scenarios in one table: what a request takes on each server and, in brackets, its security tax. */
export function overview(results: readonly (readonly [title: string, rows: readonly Row[]])[]): string {
  // Bare servers of other frameworks are in the taxes already.
  const servers = (results[0]?.[1] ?? []).filter(({ id, tax }) => id === "express" || tax !== undefined);
  const lines = results.map(([title, rows]) => {
    const cells = servers.map((server) => cell(rows.find(({ id }) => id === server.id)));
    const fast = rows.find(({ id }) => id === "fast");
    return [title, ...cells, fixed(fast?.ofByHand, 2), fixed(fast?.ofExpress, 2)].join(" | ");
  });
  return [
    `| µs CPU/request (tax) | ${servers.map(({ title }) => title).join(" | ")} | the fast server, of by hand | its requests/s, of bare Express |`,
    `|---|${"--:|".repeat(servers.length + 2)}`,
    ...lines.map((line) => `| ${line} |`),
  ].join("\n");
}

function cell(row: Row | undefined): string {
  if (row === undefined) return "–";
  return row.tax === undefined ? fixed(row.cpu, 1) : `${fixed(row.cpu, 1)} (${fixed(row.tax, 1)})`;
}
