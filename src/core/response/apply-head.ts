import type { ServerResponse } from "node:http";

/**
 * Applies the arguments of `writeHead(status, reason?, headers?)` one by one; headers may be an object, pairs, or a
 * flat list.
 */
export function applyHead(res: ServerResponse, [status, second, third]: readonly unknown[]): void {
  res.statusCode = status as number;
  if (typeof second === "string") res.statusMessage = second;
  const headers = typeof second === "string" ? third : (second ?? third);
  if (Array.isArray(headers)) applyList(res, headers);
  else if (typeof headers === "object" && headers !== null) {
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) res.setHeader(name, value as string);
  }
}

function applyList(res: ServerResponse, list: readonly unknown[]): void {
  const pairs = Array.isArray(list[0]) ? (list as [string, string][]) : pairsOf(list as string[]);
  for (const name of new Set(pairs.map(([key]) => key.toLowerCase()))) {
    const values = pairs.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
    res.setHeader(name, values.length === 1 && values[0] !== undefined ? values[0] : values);
  }
}

function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) pairs.push([flat[i] ?? "", flat[i + 1] ?? ""]);
  return pairs;
}
