import { expect, it } from "vitest";
import {
  isSfKey,
  sfDictionary,
  sfInnerList,
  sfInteger,
  sfString,
  sfToken,
} from "../../src/core/http/structured-fields.js";
import {
  type Bare,
  canonicalOf,
  parsingVectors,
  type PlainItem,
  serialisingVectors,
  type Vector,
} from "./sf-vectors.js";
import { describeVectors, expectRow, Tally } from "./vectors.js";

/** The library writes no booleans, bytes, decimals, dates and display strings, no parameters and no lists. */
class NotWritten extends Error {}

function item([value, params]: PlainItem): string {
  if (params.length > 0) throw new NotWritten();
  if (typeof value === "string") return sfString(value);
  if (typeof value === "number") return sfInteger(value);
  if (typeof value === "object" && value.__type === "token") return sfToken(String(value.value));
  throw new NotWritten();
}

function write(vector: Vector): string {
  // JSON does not tell 1.0 from 1, the canonical text does.
  if (/\d\.\d/.test((canonicalOf(vector) ?? "").replace(/"[^"]*"/g, ""))) throw new NotWritten();
  switch (vector.header_type) {
    case "item":
      return item(vector.expected!);
    case "list":
      throw new NotWritten();
    case "dictionary":
      return sfDictionary(
        vector.expected!.map(([name, [value, params]]) => {
          if (params.length > 0) throw new NotWritten();
          const isList = Array.isArray(value);
          return [name, isList ? sfInnerList((value as readonly PlainItem[]).map(item)) : item([value as Bare, []])];
        }),
      );
  }
}

function isToken(text: string): boolean {
  try {
    return sfToken(text) === text;
  } catch {
    return false;
  }
}

type Outcome = { readonly text: string } | "refused" | "not written";

function outcomeOf(vector: Vector): Outcome {
  try {
    return { text: write(vector) };
  } catch (error) {
    if (error instanceof NotWritten) return "not written";
    if (error instanceof RangeError) return "refused";
    throw error;
  }
}

describeVectors("the serialiser, against httpwg/structured-field-tests", "structured-fields", () => {
  it("every value is written in its canonical form, or refused where it must be", () => {
    const tally = new Tally();
    const wrong: string[] = [];
    for (const vector of [...parsingVectors(), ...serialisingVectors()]) {
      const canonical = canonicalOf(vector);
      if (vector.expected === undefined || (vector.must_fail !== true && canonical === undefined)) continue;
      const outcome = outcomeOf(vector);
      if (outcome === "not written") tally.count("leftOut");
      else {
        const right =
          outcome === "refused" ? vector.must_fail === true : vector.must_fail !== true && outcome.text === canonical;
        if (!right) wrong.push(vector.name);
        tally.count(!right ? "questionable" : outcome === "refused" ? "refused" : "accepted");
      }
    }
    expect(wrong).toEqual([]);
    expectRow("the library writes", tally);
  });

  it("accepts the same keys and tokens as the files of generated rows", () => {
    const tally = new Tally();
    const rows = serialisingVectors();
    for (const vector of rows) {
      if (vector.header_type === "dictionary" && vector.must_fail === true)
        expect([vector.name, isSfKey(vector.expected![0]![0])]).toEqual([vector.name, false]);
      else if (vector.header_type === "item" && vector.must_fail === true && typeof vector.expected![0] === "object") {
        expect([vector.name, isToken(String(vector.expected![0].value))]).toEqual([vector.name, false]);
      } else continue;
      tally.count("refused");
    }
    for (const vector of parsingVectors()) {
      if (vector.header_type === "dictionary" && vector.expected !== undefined)
        for (const [key] of vector.expected) expect([key, isSfKey(key)]).toEqual([key, true]);
      else if (
        vector.header_type === "item" &&
        vector.expected !== undefined &&
        typeof vector.expected[0] === "object" &&
        vector.expected[0].__type === "token"
      ) {
        expect([vector.name, isToken(String(vector.expected[0].value))]).toEqual([vector.name, true]);
      } else continue;
      tally.count("accepted");
    }
    expectRow("keys and tokens", tally);
  });
});
