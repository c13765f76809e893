import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { base32, crockford, crockfordSpelling } from "../../../src/accounts/factors/base32.js";
import { counterCode, matchingStep, readCode, stepAt } from "../../../src/accounts/factors/one-time-code.js";

const SECRET = "12345678901234567890";

describe("one-time codes", () => {
  test("gives the codes of RFC 4226 appendix D", () => {
    const codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
    expect(codes.map((_, counter) => counterCode(Buffer.from(SECRET), counter))).toEqual(codes);
  });

  test.each([
    [59, "94287082", "46119246", "90693936"],
    [1_111_111_109, "07081804", "68084774", "25091201"],
    [1_111_111_111, "14050471", "67062674", "99943326"],
    [1_234_567_890, "89005924", "91819424", "93441116"],
    [2_000_000_000, "69279037", "90698825", "38618901"],
    [20_000_000_000, "65353130", "77737706", "47863826"],
  ])("gives the codes of RFC 6238 appendix B at %d", (seconds, sha1, sha256, sha512) => {
    const step = stepAt(seconds * 1000);
    const secretOf = (length: number): Buffer => Buffer.from(SECRET.repeat(4).slice(0, length));
    expect(counterCode(secretOf(20), step, 8, "sha1")).toBe(sha1);
    expect(counterCode(secretOf(32), step, 8, "sha256")).toBe(sha256);
    expect(counterCode(secretOf(64), step, 8, "sha512")).toBe(sha512);
  });

  test("matches the step of the moment, the one before and the one after, and no other", () => {
    fc.assert(
      fc.property(fc.integer({ min: 5, max: 4e9 }), fc.integer({ min: -4, max: 4 }), (step, off) => {
        const secret = Buffer.from(SECRET);
        const near = [step - 1, step, step + 1].map((one) => counterCode(secret, one));
        const code = counterCode(secret, step + off);
        fc.pre(Math.abs(off) <= 1 ? new Set(near).size === 3 : !near.includes(code));
        expect(matchingStep(secret, code, step * 30_000 + 29_999)).toBe(Math.abs(off) <= 1 ? step + off : undefined);
      }),
    );
    expect(matchingStep(Buffer.from(SECRET), counterCode(Buffer.from(SECRET), 0), 0)).toBe(0);
  });

  test.each([
    ["755224", "755224"],
    [" 755 224 ", "755224"],
    ["755-224", "755224"],
    ["755\u00a0224", "755224"],
    ["75522", undefined],
    ["7552244", undefined],
    ["", undefined],
    ["75522a", undefined],
    ["７５５２２４", undefined],
    ["٧٥٥٢٢٤", undefined],
    ["755224\n", undefined],
    ["0x5522", undefined],
    ["+55224", undefined],
  ])("reads %j as %j", (typed, code) => {
    expect(readCode(typed)).toBe(code);
  });

  test("reads six ASCII digits or nothing, whatever is typed", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 64 }), (typed) => {
        const code = readCode(typed);
        if (code !== undefined) expect(code).toMatch(/^[0-9]{6}$/);
      }),
    );
  });
});

describe("base32", () => {
  test.each([
    ["", ""],
    ["f", "MY"],
    ["fo", "MZXQ"],
    ["foo", "MZXW6"],
    ["foob", "MZXW6YQ"],
    ["fooba", "MZXW6YTB"],
    ["foobar", "MZXW6YTBOI"],
  ])("encodes %j as RFC 4648 section 10 does", (text, encoded) => {
    expect(base32(Buffer.from(text))).toBe(encoded);
  });

  test("a recovery code is read in every spelling that people give it, and other codes stay others", () => {
    const bytes = fc.uint8Array({ minLength: 15, maxLength: 15 });
    fc.assert(
      fc.property(bytes, bytes, (one, other) => {
        const code = crockford(Buffer.from(one));
        expect(code).toMatch(/^[0-9A-HJKMNP-TV-Z]{24}$/);
        const alike = code.replace(/0/g, "o").replace(/1/g, "l").toLowerCase();
        expect(crockfordSpelling(` ${alike.replace(/.{5}/g, "$& - ")}`)).toBe(code);
        const isSame = Buffer.from(one).equals(Buffer.from(other));
        expect(crockford(Buffer.from(other)) === code).toBe(isSame);
      }),
    );
  });
});
