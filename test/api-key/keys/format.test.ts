import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32, tableCrc32 } from "../../../src/api-key/keys/checksum.js";
import {
  checksum,
  generateKey,
  isKeyId,
  keyIdOf,
  MAX_SECRET_LENGTH,
  MIN_SECRET_LENGTH,
  randomBase62,
} from "../../../src/api-key/keys/format.js";

const RUNS = { numRuns: 300 };
const prefixes = fc.constantFrom("mcp_", "a_b_c_", "k-", "_", "acme_live_", "0123456789abcde_");

describe("checksum", () => {
  it("is CRC-32: the table gives what zlib gives", () => {
    // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    expect(tableCrc32("123456789")).toBe(0xcbf43926);
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", maxLength: 200 }), (text) => {
        expect(tableCrc32(text)).toBe(crc32(text));
        if (typeof zlibCrc32 === "function") expect(tableCrc32(text)).toBe(zlibCrc32(text));
      }),
      RUNS,
    );
  });

  it("always has six characters", () => {
    fc.assert(
      fc.property(fc.string(), (text) => /^[0-9A-Za-z]{6}$/.test(checksum(text))),
      RUNS,
    );
  });
});

describe("a key", () => {
  it("is read back for any length and any underscores in its prefix", () => {
    fc.assert(
      fc.property(prefixes, fc.integer({ min: MIN_SECRET_LENGTH, max: MAX_SECRET_LENGTH }), (prefix, length) => {
        const { key, id } = generateKey(prefix, length);
        expect(key).toHaveLength(prefix.length + 12 + length + 6);
        expect(keyIdOf(key, prefix)).toBe(id);
        expect(isKeyId(id)).toBe(true);
      }),
      RUNS,
    );
  });

  it("is rejected when any one character has changed", () => {
    fc.assert(
      fc.property(
        prefixes,
        fc.nat(),
        fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
        (prefix, where, char) => {
          const { key } = generateKey(prefix, 32);
          const at = where % key.length;
          fc.pre(key[at] !== char);
          expect(keyIdOf(key.slice(0, at) + char + key.slice(at + 1), prefix)).toBeUndefined();
        },
      ),
      { ...RUNS, numRuns: 2000 },
    );
  });

  it("is rejected when two neighbouring characters are swapped", () => {
    fc.assert(
      fc.property(fc.nat(), (where) => {
        const { key } = generateKey("mcp_", 32);
        const at = where % (key.length - 1);
        fc.pre(key[at] !== key[at + 1]);
        expect(keyIdOf(key.slice(0, at) + key[at + 1] + key[at] + key.slice(at + 2), "mcp_")).toBeUndefined();
      }),
      RUNS,
    );
  });

  it("is never read out of arbitrary text, and reading never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => keyIdOf(text, "mcp_") === undefined),
      RUNS,
    );
  });

  it("is rejected when it has another prefix, or is too short or too long", () => {
    const { key, id } = generateKey("mcp_", 32);
    expect(keyIdOf(key, "mcp_")).toBe(id);
    expect(keyIdOf(key, "acme_")).toBeUndefined();
    for (const length of [MIN_SECRET_LENGTH - 1, MAX_SECRET_LENGTH + 1])
      expect(keyIdOf(generateKey("mcp_", length).key, "mcp_")).toBeUndefined();
    for (const text of ["", "mcp_", ` ${key}`, `${key} `, `${key}\n`]) expect(keyIdOf(text, "mcp_")).toBeUndefined();
  });
});

it("random base62 uses every character about equally often", () => {
  const counts = new Map<string, number>();
  const text = randomBase62(62_000);
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
  expect(counts.size).toBe(62);
  // Mean 1000, deviation 31.4: seven deviations. Without rejection eight characters would come at 1211.
  for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(220);
  const firstEight = [..."01234567"].reduce((sum, char) => sum + (counts.get(char) ?? 0), 0);
  expect(Math.abs(firstEight - 8000)).toBeLessThan(600);
});
