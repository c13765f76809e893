import fc from "fast-check";
import { parseDictionary, parseItem, serializeDictionary, serializeString, Token } from "structured-headers";
import { describe, expect, it } from "vitest";
import {
  isSfKey,
  sfDictionary,
  sfInnerList,
  sfInteger,
  sfKey,
  sfString,
  sfToken,
} from "../../../src/core/http/structured-fields.js";

describe("a structured field is written as", () => {
  it.each([
    ["a string with what must be escaped", sfString('a "b" \\c'), '"a \\"b\\" \\\\c"'],
    ["an empty string", sfString(""), '""'],
    ["an integer", sfInteger(-999_999_999_999_999), "-999999999999999"],
    ["minus zero", sfInteger(-0), "0"],
    ["an empty inner list", sfInnerList([]), "()"],
    ["an inner list", sfInnerList([sfToken("self"), sfString("https://a.example")]), '(self "https://a.example")'],
    [
      "a dictionary",
      sfDictionary([
        ["a", sfInteger(1)],
        ["b", sfInnerList([sfInteger(2)])],
      ]),
      "a=1, b=(2)",
    ],
  ])("%s", (_name, written, expected) => expect(written).toBe(expected));
});

describe("a value that no structured field can hold is refused, and its neighbour is not", () => {
  it.each([
    ["a string with a line break", () => sfString("a\nb"), () => sfString("a b")],
    ["a string with DEL", () => sfString("\x7f"), () => sfString("~")],
    ["a string outside ASCII", () => sfString("é"), () => sfString("e")],
    ["an integer of sixteen digits", () => sfInteger(1_000_000_000_000_000), () => sfInteger(999_999_999_999_999)],
    ["a fraction", () => sfInteger(1.5), () => sfInteger(1)],
    ["NaN", () => sfInteger(Number.NaN), () => sfInteger(0)],
    ["a token that begins with a digit", () => sfToken("1a"), () => sfToken("a1")],
    ["a key in capitals", () => sfKey("A"), () => sfKey("a")],
    ["an empty key", () => sfKey(""), () => sfKey("*")],
    [
      "a dictionary key given twice",
      () =>
        sfDictionary([
          ["a", "1"],
          ["a", "2"],
        ]),
      () =>
        sfDictionary([
          ["a", "1"],
          ["b", "2"],
        ]),
    ],
  ])("%s", (_name, refused, allowed) => {
    expect(refused).toThrow(RangeError);
    expect(allowed).not.toThrow();
  });
});

const options = { numRuns: 300 };
const ascii = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  maxLength: 40,
});
const key = fc.stringMatching(/^[a-z*][a-z0-9_.*-]{0,12}$/);
const token = fc.stringMatching(/^[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]{0,12}$/);

describe("compared with the structured-headers package, our writer", () => {
  it("writes or refuses the same strings", () => {
    fc.assert(
      fc.property(fc.oneof(ascii, fc.string({ unit: "binary", maxLength: 20 })), (text) => {
        let theirs: string | undefined;
        try {
          theirs = serializeString(text);
        } catch {
          theirs = undefined;
        }
        if (theirs === undefined) expect(() => sfString(text)).toThrow(RangeError);
        else expect(sfString(text)).toBe(theirs);
      }),
      options,
    );
  });

  it("writes the same dictionaries of inner lists, and the package reads them back", () => {
    const member = fc.array(
      fc.oneof(
        ascii.map((text) => ({ text })),
        token.map((name) => ({ token: name })),
        fc.integer().map((number) => ({ number })),
      ),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(key, member), { selector: ([name]) => name, maxLength: 5 }), (members) => {
        const ours = sfDictionary(
          members.map(([name, items]) => [
            name,
            sfInnerList(
              items.map((item) =>
                "text" in item ? sfString(item.text) : "token" in item ? sfToken(item.token) : sfInteger(item.number),
              ),
            ),
          ]),
        );
        const theirs = new Map(
          members.map(([name, items]) => [
            name,
            [
              items.map(
                (item) =>
                  [
                    "text" in item ? item.text : "token" in item ? new Token(item.token) : item.number,
                    new Map(),
                  ] as const,
              ),
              new Map(),
            ] as const,
          ]),
        );
        expect(ours).toBe(serializeDictionary(theirs as never));
        expect([...parseDictionary(ours).keys()]).toEqual(members.map(([name]) => name));
      }),
      options,
    );
  });

  it("accepts the same keys and tokens", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 8 }), key, token), (text) => {
        const readsAs = (read: () => boolean): boolean => {
          try {
            return read();
          } catch {
            return false;
          }
        };
        expect(isSfKey(text)).toBe(readsAs(() => parseDictionary(`${text}=1`).has(text)) && !/[\s,;=]/.test(text));
        expect(readsAs(() => sfToken(text) === text)).toBe(
          readsAs(() => String(parseItem(text)[0]) === text && parseItem(text)[0] instanceof Token) &&
            !/[\s;]/.test(text),
        );
      }),
      options,
    );
  });
});
