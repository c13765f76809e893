// Markdown, so that a table goes from the terminal into README.md as it is.
import { median } from "./interleave.mjs";

export function print(line = "") {
  process.stdout.write(`${line}\n`);
}

export function title(text, note) {
  print(`### ${text}\n`);
  if (note !== undefined) print(`${note}\n`);
}

/** @param {string[]} head @param {string[][]} rows the first column is text, the others are numbers */
export function table(head, rows) {
  print(`| ${head.join(" | ")} |`);
  print(`|${head.map((_, column) => (column === 0 ? "---" : "--:")).join("|")}|`);
  for (const row of rows) print(`| ${row.join(" | ")} |`);
  print();
}

export function whole(number) {
  return Number.isFinite(number) ? Math.round(number).toLocaleString("en-GB") : "";
}

/** Three digits that mean something. */
export function short(number) {
  if (!Number.isFinite(number)) return "";
  if (number >= 100) return whole(number);
  return number.toFixed(number >= 10 ? 1 : 2);
}

export function perSecond(nanoseconds) {
  return whole(1e9 / nanoseconds);
}

export function megabytes(bytes) {
  return whole(bytes / 1e6);
}

/** `median (least–most)` of the rounds, each scaled. */
export function spread(values, scale = 1) {
  const scaled = values.map((value) => value * scale);
  return `${short(median(scaled))} (${short(Math.min(...scaled))}–${short(Math.max(...scaled))})`;
}

/** The same for a rate, of nanoseconds. */
export function spreadPerSecond(nanoseconds) {
  return `${perSecond(median(nanoseconds))} (${perSecond(Math.max(...nanoseconds))}–${perSecond(Math.min(...nanoseconds))})`;
}
