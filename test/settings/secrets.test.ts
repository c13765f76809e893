import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.js";
import { parse } from "../../src/settings/object.js";
import { deriveBytes, secretRingSchema, weakness, type SecretPurpose } from "../../src/settings/secrets.js";
import { SettingsError } from "../../src/settings/errors.js";

const good = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

describe("weakness", () => {
  it.each([
    [good, undefined],
    [good.slice(1), "too-short"],
    [`change-me-${good}`, "placeholder"],
    ["your-secret-key-goes-here-please-1", "placeholder"],
    [`TODO: ${good}`, "placeholder"],
    [`${good}xxxxxxxx`, "placeholder"],
    // By chance, as in one random secret of 13 000.
    [`${good}tOdO${good}`, undefined],
    [`${good}xXxX${good}`, undefined],
    ["a".repeat(40), "low-entropy"],
    ["abcabcabcabcabcabcabcabcabcabcabcabc", "low-entropy"],
    ["abcdefghijklmnopqrstuvwxyz0123456789", "low-entropy"],
    ["0123456789012345678901234567890123456789", "low-entropy"],
    [randomBytes(32).toString("hex"), undefined],
  ])("%s: %s", (secret, found) => {
    expect(weakness(secret)).toBe(found);
  });

  it("accepts what our remedy makes", () => {
    for (let i = 0; i < 2000; i += 1) expect(weakness(randomBytes(32).toString("base64url"))).toBeUndefined();
  });
});

describe("secretRingSchema", () => {
  it("makes a list of one, and keeps the order of a list", () => {
    expect(parse(secretRingSchema, good).map((secret) => secret.reveal())).toEqual([good]);
    const other = randomBytes(32).toString("base64url");
    expect(parse(secretRingSchema, [other, new Secret(good)]).map((secret) => secret.reveal())).toEqual([other, good]);
  });

  it("reports each weak entry under its place, without its value", () => {
    try {
      parse(secretRingSchema, [good, "short", 7], ["secretKey"]);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError);
      const { issues, message } = error as SettingsError;
      expect(issues.map(({ code, path }) => [code, path])).toEqual([
        ["weak-secret", "secretKey[1]"],
        ["wrong-type", "secretKey[2]"],
      ]);
      expect(message).not.toContain("short\"");
    }
  });

  it("refuses an empty list", () => {
    expect(() => parse(secretRingSchema, [])).toThrow(SettingsError);
  });

  it("no text reaches the error", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6, maxLength: 31 }), (text) => {
        try {
          parse(secretRingSchema, text);
        } catch (error) {
          expect(String(error)).not.toContain(JSON.stringify(text));
        }
      }),
      { seed: 20261122 },
    );
  });
});

it("two purposes and two secrets never share a key", () => {
  const purposes: SecretPurpose[] = ["session", "jwt", "api-key-hash", "api-key-cache", "refresh-token", "credential-id"];
  const keys = [good, randomBytes(32).toString("hex")].flatMap((text) => purposes.map((purpose) => deriveBytes(new Secret(text), purpose).toString("hex")));
  expect(new Set(keys).size).toBe(keys.length);
  expect(deriveBytes(new Secret(good), "session")).toHaveLength(32);
  expect(deriveBytes(new Secret(good), "session")).toEqual(deriveBytes(new Secret(good), "session"));
});
