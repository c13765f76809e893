import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { inspectToken } from "../../../src/jwt/access/inspect-token.js";

const b64 = (text: string): string => Buffer.from(text).toString("base64url");
const HEADER = { alg: "HS256", typ: "at+jwt", kid: "k1" };
const token = (header: unknown, payload = b64("{}"), signature = "c2ln"): string =>
  `${b64(typeof header === "string" ? header : JSON.stringify(header))}.${payload}.${signature}`;

describe("inspectToken", () => {
  it("reads alg, kid and typ of a valid token and nothing else", () => {
    const header = {
      ...HEADER,
      jku: "https://evil.test/keys",
      x5u: "https://evil.test",
      jwk: { kty: "oct", k: "AA" },
      x5c: ["MII"],
    };
    expect(inspectToken(token(header), "HS256")).toEqual({
      ok: true,
      header: { alg: "HS256", kid: "k1", typ: "at+jwt" },
    });
  });

  const good = token(HEADER);
  const [h = "", p = "", s = ""] = good.split(".");
  const forms: { name: string; refused: unknown; taken: string }[] = [
    { name: "two parts", refused: `${h}.${p}`, taken: `${h}.${p}.${s}` },
    { name: "four parts", refused: `${good}.${s}`, taken: good },
    { name: "an empty signature", refused: `${h}.${p}.`, taken: good },
    { name: "an empty payload", refused: `${h}..${s}`, taken: good },
    { name: "an empty header", refused: `.${p}.${s}`, taken: good },
    { name: "a space before", refused: ` ${good}`, taken: good },
    { name: "a line feed after (`$` must not let it by)", refused: `${good}\n`, taken: good },
    { name: "a space inside", refused: `${h}. ${p}.${s}`, taken: good },
    { name: "a tab inside the signature", refused: `${h}.${p}.c2\tln`, taken: good },
    { name: "padding", refused: `${h}.${p}.c2k=`, taken: `${h}.${p}.c2k` },
    { name: "the other base64 alphabet", refused: `${h}.${p}.-_8/`, taken: `${h}.${p}.-_8_` },
    { name: "a plus", refused: `${h}.${p}.+_8_`, taken: `${h}.${p}.-_8_` },
    { name: "a character above ASCII", refused: `${h}.${p}.c2lé`, taken: good },
    { name: "a NUL", refused: `${h}.${p}.c2l\0`, taken: good },
    { name: "a length no encoding has", refused: `${h}.${p}.c2lnA`, taken: `${h}.${p}.c2lnAA` },
    { name: "unused bits after two characters", refused: `${h}.${p}.c2lnAB`, taken: `${h}.${p}.c2lnAQ` },
    { name: "unused bits after three characters", refused: `${h}.${p}.c2lnAAB`, taken: `${h}.${p}.c2lnAAE` },
    { name: "unused bits in the payload", refused: `${h}.e31.${s}`, taken: `${h}.e30.${s}` },
    {
      name: "unused bits in the header",
      refused: `${b64('{"alg":"HS256"} ').slice(0, -1)}B.${p}.${s}`,
      taken: `${b64('{"alg":"HS256"} ')}.${p}.${s}`,
    },
    {
      name: "one character too many",
      refused: `${h}.${p}.${"A".repeat(8192 - h.length - p.length - 1)}`,
      taken: `${h}.${p}.${"A".repeat(8192 - h.length - p.length - 2 - ((8192 - h.length - p.length - 2) % 4))}`,
    },
  ];
  it.each(forms)("refuses $name", ({ refused, taken }) => {
    expect(inspectToken(refused, "HS256")).toEqual({ ok: false, code: "malformed" });
    expect(inspectToken(taken, "HS256").ok).toBe(true);
  });

  it.each([undefined, null, 7, {}, [], [good], Buffer.from(good)])(
    "refuses a value that is not a string: %s",
    (value) => {
      expect(inspectToken(value, "HS256")).toEqual({ ok: false, code: "malformed" });
    },
  );

  const headers: { name: string; refused: unknown; code: string }[] = [
    { name: "a list", refused: [HEADER], code: "malformed" },
    { name: "null", refused: "null", code: "malformed" },
    { name: "a string", refused: '"HS256"', code: "malformed" },
    { name: "no JSON", refused: "{alg:HS256}", code: "malformed" },
    { name: "JSON with something after it", refused: '{"alg":"HS256"}x', code: "malformed" },
    { name: "a byte order mark", refused: `\uFEFF${JSON.stringify(HEADER)}`, code: "malformed" },
    { name: "kid as number", refused: { ...HEADER, kid: 1 }, code: "malformed" },
    { name: "kid as null", refused: { ...HEADER, kid: null }, code: "malformed" },
    { name: "no alg", refused: { typ: "at+jwt" }, code: "algorithm" },
    { name: "alg as number", refused: { ...HEADER, alg: 256 }, code: "algorithm" },
    { name: "alg as list", refused: { ...HEADER, alg: ["HS256"] }, code: "algorithm" },
    { name: "alg as null", refused: { ...HEADER, alg: null }, code: "algorithm" },
    { name: "alg in lower case", refused: { ...HEADER, alg: "hs256" }, code: "algorithm" },
    { name: "alg with a space", refused: { ...HEADER, alg: "HS256 " }, code: "algorithm" },
    { name: "another alg", refused: { ...HEADER, alg: "HS512" }, code: "algorithm" },
    { name: "alg under __proto__ only", refused: '{"__proto__":{"alg":"HS256"}}', code: "algorithm" },
    { name: "alg twice, the last wrong", refused: '{"alg":"HS256","alg":"none"}', code: "algorithm" },
    { name: "crit", refused: { ...HEADER, crit: ["exp"] }, code: "critical-header" },
    { name: "an empty crit", refused: { ...HEADER, crit: [] }, code: "critical-header" },
    { name: "crit as null", refused: { ...HEADER, crit: null }, code: "critical-header" },
    { name: "b64 without crit", refused: { ...HEADER, b64: false }, code: "critical-header" },
  ];
  it.each(headers)("refuses a header that is or has $name", ({ refused, code }) => {
    expect(inspectToken(token(refused), "HS256")).toEqual({ ok: false, code });
  });

  it("uses the last of two equal names, as JSON.parse does", () => {
    expect(inspectToken(token('{"alg":"none","alg":"HS256"}'), "HS256").ok).toBe(true);
  });

  it("never throws, and accepts only text that encodes back to itself", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.array(fc.base64String(), { maxLength: 5 }).map((parts) => parts.join(".")),
        ),
        (text) => {
          const verdict = inspectToken(text, "HS256");
          if (verdict.ok)
            for (const part of text.split(".")) expect(Buffer.from(part, "base64url").toString("base64url")).toBe(part);
        },
      ),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.base64String({ minLength: 1, maxLength: 40 }), (part) => {
        const bare = part.replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
        const canonical = Buffer.from(bare, "base64url").toString("base64url") === bare;
        expect(inspectToken(`${h}.${p}.${bare}`, "HS256").ok).toBe(canonical && bare !== "");
      }),
      { numRuns: 500 },
    );
  });

  it("checks the length first: a megabyte costs nothing", () => {
    const best = (text: string): number => {
      const runs = Array.from({ length: 5 }, () => {
        const start = performance.now();
        for (let i = 0; i < 200; i += 1) inspectToken(text, "HS256");
        return performance.now() - start;
      });
      return Math.min(...runs);
    };
    // Reading 200 MB would take far longer than 20 ms, and so would anything worse than linear on 8 KB.
    expect(best(".".repeat(1_000_000))).toBeLessThan(20);
    expect(best("A".repeat(1_000_000))).toBeLessThan(20);
    expect(best("A".repeat(8192))).toBeLessThan(200);
  });
});
