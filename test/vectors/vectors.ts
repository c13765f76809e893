import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/** Public test vectors lie beside the repository and are no part of it. */
const FOLDER = new URL("../../../shared/vectors/", import.meta.url);

const at = (path: string): string => fileURLToPath(new URL(path, FOLDER));

export function readVectors<T>(path: string): T {
  return JSON.parse(readFileSync(at(path), "utf8")) as T;
}

/** The JSON files of a folder of vectors, without those of folders in it. */
export function vectorFiles(folder: string): string[] {
  return readdirSync(at(folder))
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => `${folder}/${name}`);
}

/** A `describe` over vectors at `path`; where they are absent, one test whose name says so. */
export function describeVectors(title: string, path: string, body: () => void): void {
  if (existsSync(at(path))) describe(title, body);
  else it.skip(`${title} (skipped: vectors are absent, there is no ../shared/vectors/${path} beside the repository)`);
}

/** What became of the rows of one set of vectors. */
export interface Counts {
  readonly accepted: number;
  readonly refused: number;
  /** Rows in which we and the vectors differ, each with its reason beside the test. */
  readonly questionable: number;
  /** Rows about something that is not built here. */
  readonly leftOut: number;
}

export class Tally implements Counts {
  accepted = 0;
  refused = 0;
  questionable = 0;
  leftOut = 0;

  count(kind: keyof Counts): void {
    this[kind] += 1;
  }
}

/** Holds the row `what` of README.md's table against what was counted. */
export function expectRow(what: string, { accepted, refused, questionable, leftOut }: Counts): void {
  const readme = readFileSync(new URL("README.md", import.meta.url), "utf8");
  const total = accepted + refused + questionable + leftOut;
  expect(readme.split("\n").filter((line) => line.startsWith(`| ${what} |`))).toEqual([
    `| ${what} | ${total} | ${accepted} | ${refused} | ${questionable} | ${leftOut} |`,
  ]);
}
