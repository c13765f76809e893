import { describe, expect, it } from "vitest";
import { publicRecord } from "../../../src/api-key/keys/records.js";
import { copyApiKey } from "../../../src/stores/records.js";
import { sampleKey } from "../../../src/testing/samples.js";

describe("publicRecord", () => {
  it("does not copy metadata that is frozen at every depth, because a page may hold a hundred large ones", () => {
    const stored = copyApiKey(sampleKey({ metadata: { team: { members: ["ada", {}] } } }));
    expect(publicRecord(stored).metadata).toBe(stored.metadata);
  });

  it.each([
    ["at the top", { team: "a" }],
    ["further down", Object.freeze({ team: Object.freeze({ members: [{}] }) })],
  ])("copies and freezes metadata that a store left open %s", (_where, metadata) => {
    const stored = { ...sampleKey(), metadata };
    const shown = publicRecord(stored).metadata as typeof metadata;
    expect(shown).toEqual(metadata);
    expect(shown).not.toBe(metadata);
    expect(isFrozen(shown)).toBe(true);
    expect(isFrozen(metadata)).toBe(false);
  });
});

function isFrozen(value: unknown): boolean {
  return (
    typeof value !== "object" || value === null || (Object.isFrozen(value) && Object.values(value).every(isFrozen))
  );
}
