import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isCommonPassword } from "../../../src/accounts/passwords/common-passwords.js";
import { readPassword } from "../../../src/accounts/passwords/plain-text.js";
import { contextWords, decidePassword, PASSWORD_REASONS } from "../../../src/accounts/passwords/policy.js";

// Computed in each test, so that a fault in it fails one.
const ofAda = (): readonly string[] =>
  contextWords({
    login: "Ada.Lovelace",
    email: "ada.l@mail.engine.example",
    host: "app.difference.example",
    names: ["Analytical", "My Shop"],
  });

function reasons(text: string, more: Partial<Parameters<typeof decidePassword>[0]> = {}): readonly string[] {
  return decidePassword({ text, minLength: 15, words: ofAda(), isCommon: false, ...more });
}

describe("the length of a password", () => {
  test.each([
    ["14 characters", "abcdefghijklmn", 15, ["too-short"]],
    ["15 characters", "abcdefghijklmno", 15, []],
    ["so few characters that a word with them would be one of the context", "xyz", 15, ["too-short"]],
    ["7 beside a second factor", "abcdefg", 8, ["too-short"]],
    ["8 beside a second factor", "abcdefgh", 8, []],
    ["14 code points of two units each", "😀".repeat(14), 15, ["too-short"]],
    ["15 code points of two units each", "😀".repeat(15), 15, []],
    ["nothing but digits: no rule about kinds of characters", "583920571846203", 15, []],
    ["nothing but spaces: no rule about kinds of characters", " ".repeat(15), 15, []],
  ])("%s", (_what, text, minLength, expected) => {
    expect(reasons(text, { minLength })).toEqual(expected);
  });
});

describe("reading a password", () => {
  test.each([
    ["1024 bytes", "a".repeat(1024), "a".repeat(1024)],
    ["1025 bytes", "a".repeat(1025), "too-long"],
    ["a megabyte, which is not even normalised", "é".repeat(1_000_000), "too-long"],
    ["characters that become fewer bytes", "ｅ".repeat(1024), "e".repeat(1024)],
    ["characters that become more bytes", "\ufdfa".repeat(60), "too-long"],
    ["a character in two parts", "cafe\u0301", "caf\u00e9"],
    ["half a surrogate pair", "abc\ud83d", "unreadable"],
    ["a surrogate pair", "abc\ud83d\ude00", "abc😀"],
  ])("%s", (_what, typed, expected) => {
    const read = readPassword(typed);
    expect(typeof read === "string" ? read : read.text).toBe(expected);
  });

  test("never lets more bytes through than asked, and normalises once for all", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), fc.integer({ min: 64, max: 256 }), (typed, most) => {
        const read = readPassword(typed, most);
        if (read === "too-long") return Buffer.byteLength(typed.normalize("NFKC")) > most;
        if (read === "unreadable") return /\p{Surrogate}/u.test(typed);
        return Buffer.byteLength(read.text) <= most && read.text.normalize("NFKC") === read.text;
      }),
      { numRuns: 2000 },
    );
  });
});

describe("words of the context", () => {
  test.each([
    ["the login", "ada.lovelace", ["context-word"]],
    ["the login with four characters", "Ada.Lovelace2024", ["context-word"]],
    ["the login with five characters", "Ada.Lovelace20245", []],
    ["characters before and after", "!!ANALYTICAL!!", ["context-word"]],
    ["a word twice", "analyticalanalytical", ["context-word"]],
    ["two words", "my shop analytical", ["context-word"]],
    ["a domain of the address", "mail.engine.example", ["context-word"]],
    ["a label of the service's host", "difference1234", ["context-word"]],
    ["a word in wide characters", "ａｎａｌｙｔｉｃａｌ", ["context-word"]],
    ["a word in a sentence", "an analytical mind at work", []],
    ["the end of a domain, which is a word of everybody", "example2024", []],
  ])("%s", (_what, text, expected) => {
    expect(reasons(text, { minLength: 8 }).filter((reason) => reason !== "too-short")).toEqual(expected);
  });

  test("no word with up to four characters around it passes; a text that is not made of words does", () => {
    const word = fc.string({ unit: fc.constantFrom(..."abcdefgh"), minLength: 4, maxLength: 12 });
    const few = fc.string({ unit: "grapheme-ascii", maxLength: 2 });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), fc.nat(), few, few, (names, index, before, after) => {
        const own = names[index % names.length] ?? "";
        return reasons(`${before}${own}${after}`, { words: contextWords({ names }) }).includes("context-word");
      }),
    );
    const other = fc.string({ unit: fc.constantFrom(..."stuvwxyz"), minLength: 8, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(word), other, (names, text) => {
        return !reasons(text, { words: contextWords({ names }) }).includes("context-word");
      }),
    );
  });

  test("are the name, the address and their parts, and the names of the service, the longest first", () => {
    expect(ofAda()).toEqual(
      [
        "ada.l@mail.engine.example",
        "app.difference.example",
        "mail.engine.example",
        "ada.lovelace",
        "analytical",
        "difference",
        "lovelace",
        "my shop",
        "engine",
        "ada.l",
        "mail",
        "shop",
        "ada",
        "app",
      ].sort((a, b) => b.length - a.length),
    );
    expect(contextWords({ names: [] })).toEqual([]);
    expect(contextWords({ login: "a+b_c-dd eee", names: ["not a.host here"] })).toEqual([
      "not a.host here",
      "a+b_c-dd eee",
      "host",
      "here",
      "eee",
      "not",
    ]);
  });

  test("every reason that is given is in the list", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, isCommon) =>
        reasons(text, { isCommon }).every((reason) => (PASSWORD_REASONS as readonly string[]).includes(reason)),
      ),
    );
  });
});

describe("common passwords", () => {
  test.each([
    ["password", true],
    ["PassWord", true],
    ["ｐａｓｓｗｏｒｄ", true],
    ["1234567890", true],
    ["qwertyuiop", true],
    ["password\n1234567890", false],
    ["123456", false],
    ["correct horse battery staple", false],
    ["", false],
  ])("%j: %s", async (text, expected) => {
    expect(await isCommonPassword(text)).toBe(expected);
  });
});
