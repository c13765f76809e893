import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CacheKey } from "../../src/core/cache-key.js";

function sha256(random: Uint8Array, text: string): string {
  return createHash("sha256")
    .update(Buffer.from(random).toString("base64url"))
    .update(Buffer.from(text))
    .digest("binary");
}

const random = fc.uint8Array({ minLength: 32, maxLength: 32 });
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({ unit: "grapheme", minLength: 60, maxLength: 70 }),
);

describe("a cache key", () => {
  it("is SHA-256 of the prefix and the text, whatever was digested before", () => {
    fc.assert(
      fc.property(random, fc.array(text, { maxLength: 5 }), (bytes, inputs) => {
        const key = new CacheKey(bytes);
        expect(inputs.map((input) => key.digest(input))).toEqual(inputs.map((input) => sha256(bytes, input)));
      }),
    );
  });

  it("has a new random prefix each time", () => {
    expect(new CacheKey().digest("text")).not.toBe(new CacheKey().digest("text"));
  });
});

describe("on a Node without crypto.hash (before 20.12)", () => {
  afterEach(() => {
    vi.doUnmock("node:crypto");
    vi.resetModules();
  });

  it("a cache key is the same", async () => {
    vi.resetModules();
    vi.doMock("node:crypto", async (original) => ({ ...(await original<object>()), hash: undefined }));
    const { CacheKey: Older } = await import("../../src/core/cache-key.js");
    const bytes = randomBytes(32);
    for (const input of ["text", "ü\u0000text"]) expect(new Older(bytes).digest(input)).toBe(sha256(bytes, input));
  });
});
