import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { MemoryKey } from "../../src/core/memory-key.js";

/** RFC 2104, by Node's own. */
function hmac(random: Uint8Array, text: string): string {
  return createHmac("sha256", random.map((byte) => byte & 0x7f)).update(text).digest("binary");
}

const random = fc.uint8Array({ minLength: 64, maxLength: 64 });
const text = fc.oneof(fc.string(), fc.string({ unit: "binary", maxLength: 300 }), fc.string({ unit: "grapheme", minLength: 60, maxLength: 70 }));

describe("a key of this process", () => {
  it("makes the HMAC-SHA-256 of any text", () => {
    fc.assert(fc.property(random, text, (bytes, input) => void expect(new MemoryKey(bytes).of(input)).toBe(hmac(bytes, input))));
  });

  it("keeps nothing of one text for the next", () => {
    const bytes = randomBytes(64);
    const key = new MemoryKey(bytes);
    fc.assert(fc.property(fc.array(text, { maxLength: 5 }), (inputs) => void expect(inputs.map((input) => key.of(input))).toEqual(inputs.map((input) => hmac(bytes, input)))));
  });

  it("is another one each time", () => {
    expect(new MemoryKey().of("text")).not.toBe(new MemoryKey().of("text"));
  });
});

describe("on a Node without crypto.hash (before 20.12)", () => {
  afterEach(() => {
    vi.doUnmock("node:crypto");
    vi.resetModules();
  });

  it("it makes the same", async () => {
    vi.resetModules();
    vi.doMock("node:crypto", async (original) => ({ ...(await original<object>()), hash: undefined }));
    const { MemoryKey: Older } = await import("../../src/core/memory-key.js");
    const bytes = randomBytes(64);
    expect(new Older(bytes).of("text")).toBe(hmac(bytes, "text"));
    expect(new Older(bytes).of("ü\u0000text")).toBe(hmac(bytes, "ü\u0000text"));
  });
});
