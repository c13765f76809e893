import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Secret } from "../../src/core/secret.js";
import { parse, settingsObject } from "../../src/settings/object.js";
import { deriveKey, secretRingSchema, secretWeakness, type SecretPurpose } from "../../src/settings/secrets.js";
import { SettingsError } from "../../src/settings/errors.js";
import { issuesOf } from "./edges.js";

const good = "k3Vt9sQfYb2LxWn8RzGj5HdPm7CuTa4E";

it("an empty secret is reported with the hint that its variable is probably not set", () => {
  for (const empty of ["", [""], [good, ""]])
    expect(
      issuesOf(secretRingSchema, empty)
        .map(({ message }) => message)
        .join(),
    ).toMatch(/empty.*variable .* not set/);
  expect(issuesOf(secretRingSchema, [good])).toEqual([]);
});

describe("secretWeakness()", () => {
  it.each([
    [good, undefined],
    [good.slice(1), "too-short"],
    ["", "empty"],
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
    ...[
      "changeme",
      "change-me",
      "change_me",
      "change me",
      "CHANGEME",
      "changeit",
      "secretkey",
      "secret_key",
      "secret-key",
      "yoursecret",
      "your-secret",
      "mysecret",
      "my secret",
      "supersecret",
      "super-secret",
      "placeholder",
      "example",
      "insecure",
      "default",
      "password",
      "replaceme",
      "replace-this",
      "keyboardcat",
      "keyboard cat",
      "notsecret",
      "not_secret",
      "todo",
      "xxxxxxxx",
    ].map((word): [string, "placeholder"] => [`${good}.${word}`, "placeholder"]),
    // A word of four letters stands alone or is chance; so does a run of seven.
    [`todo.${good}`, "placeholder"],
    [`${good}todo`, undefined],
    [`${good}.todos`, undefined],
    [`${good}.xxxxxxx`, undefined],
    [`${good}.change--me`, undefined],
    // 32 bytes in 16 characters.
    ["éàüßñçøåæœþðłşğž", "low-entropy"],
    ["éàüßñçøåæœþðłşğ", "too-short"],
    // Entropy: 40 characters of two bits each hold the 80 that are asked for, and one fewer does not.
    ["ckakkffcakkaaffffkkacakfccfccacakffakcca", undefined],
    ["ckakkffcakkaaffffkkacakfccfccacakffacca", "low-entropy"],
    ["2718281828459045235360287471352662497757247093699959574966967627", undefined],
    ["aababbabaababbbabaabbabaababbabbabaabbbaabab", "low-entropy"],
    ["0110100110010110100101100110100101101001100101100110100110010110100110", "low-entropy"],
    // A piece over and over, with and without a rest; and one that only begins so.
    ["k3Vt9sQfYb2LxWn8k3Vt9sQfYb2LxWn8", "low-entropy"],
    ["k3Vt9sQfYb2LxWn8k3Vt9sQfYb2LxWn8k3Vt9", "low-entropy"],
    ["k3Vt9sQfYb2LxWn8k3Vt9sQfYb2LxWn9", undefined],
    ["k3Vt9sQfYb2LxWn8R7k3Vt9sQfYb2LxWn8", undefined],
    // Runs: seven steps of ten are too many, and downwards is no run that anybody types.
    ["ABCDEFGHIJKLMNOPQRSTUVWX7k3Vt9sQ", "low-entropy"],
    ["ABCDEFGHIJKLMNOPQRSTUVW97k3Vt9sQ", undefined],
  ])("%s: %s", (secret, found) => {
    expect(secretWeakness(secret)).toBe(found);
  });

  it("accepts the output of the command in our remedy", () => {
    for (let i = 0; i < 2000; i += 1) expect(secretWeakness(randomBytes(32).toString("base64url"))).toBeUndefined();
  });
});

describe("secretRingSchema", () => {
  it("turns one secret into a list, and keeps the order of a list", () => {
    expect(parse(secretRingSchema, good).map((secret) => secret.reveal())).toEqual([good]);
    const other = randomBytes(32).toString("base64url");
    expect(parse(secretRingSchema, [other, new Secret(good)]).map((secret) => secret.reveal())).toEqual([other, good]);
  });

  it("reports each weak entry under its place, without its value", () => {
    try {
      parse(settingsObject({ secretKey: secretRingSchema }), { secretKey: [good, "short", 7] });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError);
      const { issues, message } = error as SettingsError;
      expect(issues.map(({ code, path }) => [code, path])).toEqual([
        ["weak-secret", "secretKey[1]"],
        ["wrong-type", "secretKey[2]"],
      ]);
      expect(message).not.toContain('short"');
    }
  });

  it.each([
    ["short", "weak-secret", /shorter than 32 bytes/, /randomBytes\(32\)/],
    [`change-me-${good}`, "weak-secret", /placeholder/, /randomBytes\(32\)/],
    ["a".repeat(40), "weak-secret", /regular/, /randomBytes\(32\)/],
    [[], "wrong-value", /list is empty/, /\w{3}/],
    [7, "wrong-type", /This must be a string\./, /\w{3}/],
    [new Secret("short"), "weak-secret", /shorter than 32 bytes/, /randomBytes\(32\)/],
  ])("gives a message and a remedy for %j", (given, code, message, remedy) => {
    expect(issuesOf(secretRingSchema, given)).toEqual([
      {
        code,
        path: "",
        message: expect.stringMatching(message) as string,
        remedy: expect.stringMatching(remedy) as string,
      },
    ]);
  });

  it("never repeats the text of a secret in the error", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6, maxLength: 31 }), (text) => {
        try {
          parse(secretRingSchema, text);
        } catch (error) {
          expect(String(error)).not.toContain(JSON.stringify(text));
        }
      }),
    );
  });
});

it("two purposes and two secrets never share a key", () => {
  const purposes: SecretPurpose[] = [
    "session",
    "jwt",
    "api-key-hash",
    "api-key-cache",
    "refresh-token",
    "credential-id",
  ];
  const keys = [good, randomBytes(32).toString("hex")].flatMap((text) =>
    purposes.map((purpose) => deriveKey(new Secret(text), purpose).export().toString("hex")),
  );
  expect(new Set(keys).size).toBe(keys.length);
  const key = deriveKey(new Secret(good), "session");
  expect(key.symmetricKeySize).toBe(32);
  expect(key.equals(deriveKey(new Secret(good), "session"))).toBe(true);
});

it("a derived key is HKDF-SHA-256 of the secret without salt, with the purpose as info (RFC 5869), so that it stays the same in the next version", () => {
  const extracted = createHmac("sha256", Buffer.alloc(32)).update(good).digest();
  const expanded = createHmac("sha256", extracted).update("portcullis/v1/session\x01").digest();
  expect(deriveKey(new Secret(good), "session").export()).toEqual(expanded);
});
