import argon2 from "argon2";
import bcrypt from "bcrypt";
import { describe, expect, test } from "vitest";
import { hashForm } from "../../../src/accounts/passwords/hash-forms.js";
import { PasswordHasher } from "../../../src/accounts/passwords/hasher.js";
import { loadBcrypt } from "../../../src/accounts/passwords/load-bcrypt.js";
import { type PlainPassword, readPassword } from "../../../src/accounts/passwords/plain-text.js";
import { HashQueue } from "../../../src/api-key/keys/hash-queue.js";
import { Secret } from "../../../src/core/secret.js";
import { testSecret } from "../../../src/testing/test-secret.js";

const NOBODY = { callers: [] };
const SHORT = { typed: "a password", text: "a password" };
const peppers = [1, 2].map(() => new Secret(String(testSecret())));

function plain(typed: string): PlainPassword {
  const read = readPassword(typed);
  if (typeof read === "string") throw new Error(read);
  return read;
}

function hasher(...ring: (Secret | undefined)[]): PasswordHasher {
  return new PasswordHasher(
    new HashQueue(2, 10),
    ring.filter((one) => one !== undefined),
  );
}

describe("the form of a hash", () => {
  const salt = "c2FsdHNhbHRzYWx0c2Fs";
  const tag = "dGFndGFndGFndGFndGFndGFndGFndGFndGFndGFndGE";
  const phc = (parameters: string, kind = "argon2id", version = "v=19"): string =>
    `$${kind}$${version}$${parameters}$${salt}$${tag}`;
  test.each([
    ["ours", phc("m=19456,t=2,p=1"), "argon2"],
    ["argon2i", phc("m=4096,t=3,p=1", "argon2i"), "argon2"],
    ["argon2d", phc("m=4096,t=3,p=1", "argon2d"), "argon2"],
    ["the first version", phc("m=4096,t=3,p=1", "argon2i", "v=16"), "argon2"],
    ["another kind", phc("m=4096,t=3,p=1", "argon2x"), undefined],
    ["as much memory as allowed", phc("m=131072,t=4,p=4"), "argon2"],
    ["more memory", phc("m=131073,t=1,p=4"), undefined],
    ["as much work as allowed", phc("m=65536,t=8,p=4"), "argon2"],
    ["more work", phc("m=65536,t=9,p=4"), undefined],
    ["as many passes as allowed", phc("m=64,t=64,p=1"), "argon2"],
    ["more passes", phc("m=64,t=65,p=1"), undefined],
    ["as many lanes as allowed", phc("m=65536,t=2,p=16"), "argon2"],
    ["more lanes", phc("m=65536,t=2,p=17"), undefined],
    ["less than 8 KiB a lane", phc("m=31,t=2,p=4"), undefined],
    ["no pass", phc("m=4096,t=0,p=1"), undefined],
    ["a number with a sign", phc("m=4096,t=-1,p=1"), undefined],
    ["the id of a key that it does not bring", phc("m=4096,t=3,p=1,keyid=AAAA"), undefined],
    ["bcrypt of cost 4", `$2b$04$${"a".repeat(53)}`, "bcrypt"],
    ["bcrypt of cost 3", `$2b$03$${"a".repeat(53)}`, undefined],
    ["bcrypt of cost 14", `$2a$14$${"a".repeat(53)}`, "bcrypt"],
    ["bcrypt of cost 15", `$2b$15$${"a".repeat(53)}`, undefined],
    ["PHP's bcrypt", `$2y$10$${"a".repeat(53)}`, "bcrypt"],
    ["the bcrypt with the fault", `$2x$10$${"a".repeat(53)}`, undefined],
    ["bcrypt, cut off", `$2b$10$${"a".repeat(52)}`, undefined],
    ["a line break at the end", `$2b$10$${"a".repeat(53)}\n`, undefined],
    ["nothing", "", undefined],
    ["a password", "correct horse battery staple", undefined],
  ])("%s", (_what, text, expected) => {
    expect(hashForm(text)).toBe(expected);
  });
});

describe("hashing", () => {
  test("a password matches its hash alone, however it was typed", async () => {
    const one = hasher();
    const stored = { ...(await one.hash(plain("caf\u00e9 caf\u00e9 caf\u00e9"), NOBODY)), isLong: true };
    expect(stored.hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await one.compare(stored, plain("cafe\u0301 cafe\u0301 cafe\u0301"), NOBODY)).toBe("match");
    expect(await one.compare(stored, plain("cafe cafe cafe"), NOBODY)).toBe("mismatch");
    expect(await one.compare(undefined, plain("cafe cafe cafe"), NOBODY)).toBe("mismatch");
    expect(one.isOutdated(stored, SHORT)).toBe(false);
  });

  test("a ring of peppers: the first hashes, all verify, and without its pepper a hash says nothing", async () => {
    const [old, young] = peppers;
    const made = { ...(await hasher(old).hash(plain("a password with a pepper"), NOBODY)), isLong: true };
    expect(made.pepper).toMatch(/^[\w-]{8}$/);
    const rotated = hasher(young, old);
    expect(await rotated.compare(made, plain("a password with a pepper"), NOBODY)).toBe("match");
    expect(await rotated.compare(made, plain("a password without it"), NOBODY)).toBe("mismatch");
    expect([hasher(old), rotated, hasher()].map((one) => one.isOutdated(made, SHORT))).toEqual([false, true, true]);
    for (const without of [hasher(young), hasher()])
      expect(await without.compare(made, plain("a password with a pepper"), NOBODY)).toBe("unreadable");
    const unmarked = { hash: made.hash, isLong: true };
    expect(await rotated.compare(unmarked, plain("a password with a pepper"), NOBODY)).toBe("mismatch");
  });

  test("hashes of other systems are compared, with what was typed, and are outdated", async () => {
    const typed = "cafe\u0301 au lait";
    const one = hasher(peppers[0]);
    for (const hash of [
      await argon2.hash(typed, { type: 1, memoryCost: 1024, timeCost: 2, parallelism: 2 }),
      await argon2.hash(typed.normalize("NFKC"), { type: 0, memoryCost: 1024, timeCost: 2, parallelism: 1 }),
      await bcrypt.hash(typed, 4),
      (await bcrypt.hash(typed, 4)).replace("$2b$", "$2a$"),
      (await bcrypt.hash(typed, 4)).replace("$2b$", "$2y$"),
    ]) {
      const stored = { hash, isLong: false, isImported: true };
      expect(await one.compare(stored, plain(typed), NOBODY)).toBe("match");
      expect(await one.compare(stored, plain("cafe au lait"), NOBODY)).toBe("mismatch");
      expect(one.isOutdated(stored, plain(typed))).toBe(true);
    }
  });

  test("bcrypt reads 72 bytes, as the system did that made the hash", async () => {
    const stored = { hash: await bcrypt.hash("x".repeat(100), 4), isLong: false, isImported: true };
    expect(await hasher().compare(stored, plain("x".repeat(72)), NOBODY)).toBe("match");
    expect(await hasher().compare(stored, plain("x".repeat(71)), NOBODY)).toBe("mismatch");
    expect([71, 72, 100].map((length) => hasher().isOutdated(stored, plain("x".repeat(length))))).toEqual([
      true,
      false,
      false,
    ]);
    const argon = { ...stored, hash: await argon2.hash("x".repeat(100), { memoryCost: 1024, timeCost: 2 }) };
    expect(hasher().isOutdated(argon, plain("x".repeat(100)))).toBe(true);
  });

  test("without the package bcrypt, its hashes say what to install", async () => {
    const missing = Object.assign(new Error("Cannot find package 'bcrypt'"), { code: "ERR_MODULE_NOT_FOUND" });
    await expect(loadBcrypt(() => Promise.reject(missing))).rejects.toThrow(
      /needs the package bcrypt, which is not installed. Install it with: npm install bcrypt$/,
    );
  });

  test("a damaged record says nothing", async () => {
    const stored = { hash: "$argon2id$v=19$m=99999999,t=2,p=1$x$y", isLong: true };
    expect(await hasher().compare(stored, plain("whatever it is"), NOBODY)).toBe("unreadable");
  });
});
