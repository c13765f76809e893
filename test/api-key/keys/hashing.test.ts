import { describe, expect, it } from "vitest";
import { Secret } from "../../../src/core/secret.js";
import { HashQueue, HashUnavailableError } from "../../../src/api-key/keys/hash-queue.js";
import { KeyHasher } from "../../../src/api-key/keys/hashing.js";
import { generateKey } from "../../../src/api-key/keys/format.js";
import { ApiKeyService } from "../../../src/api-key/service.js";
import { SECRET } from "../support.js";

const { key } = generateKey("mcp_", 32);
const other = generateKey("mcp_", 32).key;
const oldSecret = new Secret(SECRET);
const newSecret = new Secret(`${SECRET.split("").reverse().join("")}x`);
const queue = new HashQueue(2, 10);

describe("argon2id", () => {
  const hasher = new KeyHasher("argon2id", [], queue);

  it("uses OWASP's parameters and a salt, and tells the right key from a wrong one", async () => {
    const digest = await hasher.digest(key);
    expect(digest.algorithm).toBe("argon2id");
    expect(digest.digest).toMatch(/^\$argon2id\$v=19\$m=19456,(t=2,p=1|p=1,t=2)\$/);
    expect(digest.digest).not.toBe((await hasher.digest(key)).digest);
    expect(await hasher.compare(key, digest, [])).toBe("match");
    expect(await hasher.compare(other, digest, [])).toBe("mismatch");
    expect(await hasher.isOutdated(digest)).toBe(false);
    expect(await hasher.isOutdated({ ...digest, digest: digest.digest.replace("t=2", "t=1") })).toBe(true);
  });

  it.each([
    "",
    "x",
    "$argon2id$zz",
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA",
    "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$c2FsdHNhbHRzYWx0c2FsdHNhbHQ",
  ])("calls the damaged digest %j unreadable", async (digest) =>
    expect(await hasher.compare(key, { algorithm: "argon2id", digest }, [])).toBe("unreadable"),
  );
});

describe("hmac-sha256", () => {
  const before = new KeyHasher("hmac-sha256", [oldSecret], queue);
  const during = new KeyHasher("hmac-sha256", [newSecret, oldSecret], queue);
  const after = new KeyHasher("hmac-sha256", [newSecret], queue);

  it("rotates its pepper: the first makes digests, all of them verify, and an old digest is reported as outdated", async () => {
    const old = await before.digest(key);
    const fresh = await during.digest(key);
    expect(await before.compare(key, old, [])).toBe("match");
    expect(await during.compare(key, old, [])).toBe("match");
    expect(await during.compare(other, old, [])).toBe("mismatch");
    expect(await after.compare(key, old, [])).toBe("unreadable");
    expect(await after.compare(key, fresh, [])).toBe("match");
    expect([await before.isOutdated(old), await during.isOutdated(old), await during.isOutdated(fresh)]).toEqual([
      false,
      true,
      false,
    ]);
  });

  it.each(["", ".", "nodot", "abcdefgh.", "abcdefgh.c2hvcnQ"])(
    "calls the damaged digest %j unreadable",
    async (digest) => {
      expect(await before.compare(key, { algorithm: "hmac-sha256", digest }, [])).toBe("unreadable");
    },
  );

  it("verifies argon2id digests beside its own, and reports them as outdated", async () => {
    const slow = await new KeyHasher("argon2id", [], queue).digest(key);
    expect(await before.compare(key, slow, [])).toBe("match");
    expect(await before.isOutdated(slow)).toBe(true);
  });
});

describe("the queue", () => {
  it("is not filled by one owner who creates keys", async () => {
    const service = new ApiKeyService({ hashConcurrency: 1, hashQueue: 1 });
    const make = (ownerId: string): Promise<unknown> => service.create({ ownerId, name: "n" });
    const made = await Promise.allSettled([make("ann"), make("ann"), make("bob")]);
    expect(made.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await service.close();
  });

  const gate = (): { promise: Promise<string>; open: () => void } => {
    let open = (): void => undefined;
    const promise = new Promise<string>((resolve) => (open = () => resolve("done")));
    return { promise, open };
  };

  it("runs a fixed number of jobs at once, lets a fixed number wait in order, and refuses the rest at once", async () => {
    const small = new HashQueue(2, 2);
    const gates = [gate(), gate(), gate(), gate()];
    const begun: number[] = [];
    const jobs = gates.map(({ promise }, index) => small.run(() => (begun.push(index), promise)));
    await Promise.resolve();
    expect(begun).toEqual([0, 1]);
    await expect(small.run(() => Promise.resolve("late"))).rejects.toBeInstanceOf(HashUnavailableError);
    gates[1]?.open();
    expect(await jobs[1]).toBe("done");
    expect(begun).toEqual([0, 1, 2]);
    expect(small.size).toBe(3);
    for (const { open } of gates) open();
    await Promise.all(jobs);
    expect(begun).toEqual([0, 1, 2, 3]);
    expect(small.size).toBe(0);
    expect(await small.run(() => Promise.resolve("again"))).toBe("again");
  });

  it("gives no single party more than half of its places", async () => {
    const small = new HashQueue(1, 3);
    const { promise, open } = gate();
    const mine = [small.run(() => promise, ["address a"]), small.run(() => promise, ["address a"])];
    await expect(small.run(() => promise, ["address a"])).rejects.toBeInstanceOf(HashUnavailableError);
    const theirs = small.run(() => promise, ["address b"]);
    open();
    expect(await Promise.all([...mine, theirs])).toEqual(["done", "done", "done"]);
    expect(await small.run(() => Promise.resolve("free again"), ["address a"])).toBe("free again");
  });

  it("frees the place of a job that fails", async () => {
    const small = new HashQueue(1, 0);
    await expect(small.run(() => Promise.reject(new Error("no memory")))).rejects.toMatchObject({
      code: "PORTCULLIS_HASH_UNAVAILABLE",
      cause: { message: "no memory" },
    });
    expect(await small.run(() => Promise.resolve(1))).toBe(1);
  });
});
