import {
  parseDictionary,
  parseItem,
  parseList,
  serializeDictionary,
  serializeItem,
  serializeList,
  type Dictionary,
  type Item,
  type List,
} from "structured-headers";
import { expect, it } from "vitest";
import {
  canonicalOf,
  expectedPlain,
  packaged,
  parsingVectors,
  plain,
  serialisingVectors,
  type Vector,
} from "./sf-vectors.js";
import { describeVectors, expectRow, Tally } from "./vectors.js";

/** The structured-headers package reads back what this library writes, here and in the property tests: is it fit to? */

function read(vector: Vector): unknown {
  // RFC 9651 section 4.2: lines of one name are joined first.
  const text = (vector.raw ?? []).join(", ");
  switch (vector.header_type) {
    case "item":
      return parseItem(text);
    case "list":
      return parseList(text);
    case "dictionary":
      return parseDictionary(text);
  }
}

function write(vector: Vector): string {
  const value = packaged(vector);
  switch (vector.header_type) {
    case "item":
      return serializeItem(value as Item);
    case "list":
      return serializeList(value as List);
    case "dictionary":
      return serializeDictionary(value as Dictionary);
  }
}

function orRefused<T>(run: () => T): { value: T } | "refused" {
  try {
    return { value: run() };
  } catch {
    return "refused";
  }
}

const BEYOND_DATES: readonly string[] = [
  "syntactic max date - 999,999,999,999,999",
  "syntactic min date - -999,999,999,999,999",
];

/**
 * Why the package writes a row differently from the vectors. None of it is written by this library: it has no decimals and no
 * dates. It reads every row as it should, but for two dates.
 */
function reasonOf(vector: Vector): string | undefined {
  if (/[0-9]\.0(?![0-9])/.test(canonicalOf(vector)?.replace(/"[^"]*"/g, "") ?? ""))
    return "a decimal without a fraction, which JavaScript does not tell from an integer";
  if (BEYOND_DATES.includes(vector.name)) return "a date beyond those of JavaScript";
  if (/^round (?:positive|negative) even decimal/.test(vector.name))
    return "half a thousandth is not rounded to the even digit (RFC 9651 section 4.1.5)";
  return undefined;
}

describeVectors("the structured-headers package, against httpwg/structured-field-tests", "structured-fields", () => {
  it("the referee reads every row as the row says, or refuses it", () => {
    const tally = new Tally();
    const differing: string[] = [];
    for (const vector of parsingVectors()) {
      const outcome = orRefused(() => read(vector));
      const right =
        outcome === "refused"
          ? vector.must_fail === true || vector.can_fail === true
          : vector.must_fail !== true &&
            JSON.stringify(plain(outcome.value)) === JSON.stringify(expectedPlain(vector.expected));
      if (!right) differing.push(vector.name);
      tally.count(!right ? "questionable" : outcome === "refused" ? "refused" : "accepted");
    }
    expect(differing).toEqual(BEYOND_DATES);
    expectRow("structured-headers reads", tally);
  });

  it("the referee writes every value in its canonical form, or refuses it", () => {
    const tally = new Tally();
    const differing: Vector[] = [];
    const rows = [...parsingVectors(), ...serialisingVectors()].filter(
      (vector) => vector.expected !== undefined && (vector.must_fail === true || canonicalOf(vector) !== undefined),
    );
    for (const vector of rows) {
      const canonical = canonicalOf(vector);
      const outcome = orRefused(() => write(vector));
      const right =
        outcome === "refused" ? vector.must_fail === true : vector.must_fail !== true && outcome.value === canonical;
      if (!right) differing.push(vector);
      tally.count(!right ? "questionable" : outcome === "refused" ? "refused" : "accepted");
    }
    expect(differing.map(({ name }) => name)).toEqual(
      rows.filter((vector) => reasonOf(vector) !== undefined).map(({ name }) => name),
    );
    expectRow("structured-headers writes", tally);
  });
});
