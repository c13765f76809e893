import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SlotKeys } from "../../../../src/stores/memory/sliding-window/slot-keys.js";
import { hashKey } from "../../../../src/stores/memory/sliding-window/key-hash.js";
import { Slots } from "../../../../src/stores/memory/sliding-window/slots.js";
import type { OverflowWindow } from "../../../../src/stores/memory/sliding-window/policies.js";
import { runs } from "../../../property/seed.js";

/** Around the length that a slot has room for, and around the characters that are one byte. */
const unit = fc.oneof(
  fc.constantFrom("0", "1", ".", "\0", "\xff", "\u0100", "\u0131"),
  fc.string({ minLength: 1, maxLength: 1, unit: "binary" }),
);
const key = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.string({ maxLength: 18, unit }),
  fc.nat(18).map((length) => "1".repeat(length)),
  fc.tuple(fc.nat(18), fc.constantFrom("\xff", "\u0131")).map(([length, last]) => "1".repeat(length) + last),
);
/** A slot, and its next holder: a key, or an overflow window, or nobody. */
const step = fc.record({
  slot: fc.constantFrom(0, 1, 2, 4095, 4096, 8191),
  holder: fc.oneof({ weight: 4, arbitrary: key }, fc.constantFrom("shared" as const, undefined)),
});

function filled(): { slots: Slots; holders: SlotKeys } {
  const slots = new Slots();
  for (let n = 0; n < 8192; n += 1) slots.open();
  return { slots, holders: new SlotKeys(slots) };
}

describe("the key of a slot", () => {
  // Made once: what a slot held before must not matter.
  const { slots, holders } = filled();

  it("is the key that was stored last, to the character, whatever the slot held before and its neighbours hold", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), fc.array(key), (steps, others) => {
        const model = new Map<number, string | OverflowWindow>();
        for (const { slot, holder } of steps) {
          if (model.has(slot)) holders.remove(slot);
          model.delete(slot);
          if (holder === undefined) continue;
          const next =
            holder === "shared" ? { id: 1, kind: 4, network: undefined, before: undefined, slot, window: 1 } : holder;
          if (typeof next === "string") holders.setClient(slot, next);
          else holders.setShared(slot, next);
          model.set(slot, next);
        }
        const keys = [...others, ...[...model.values()].filter((holder) => typeof holder === "string")];
        for (const [slot, holder] of model) {
          expect(holders.shared(slot)).toBe(typeof holder === "string" ? undefined : holder);
          if (typeof holder === "string") expect(holders.hash(slot)).toBe(hashKey(holder));
          for (const one of [...keys, ...keys.map((text) => `${text}1`), ...keys.map((text) => text.slice(0, -1))])
            expect(holders.isClient(slot, one)).toBe(one === holder);
        }
        for (const slot of model.keys()) holders.remove(slot);
      }),
      { numRuns: runs(500) },
    );
  });

  it("leaves the rest of the slot and its neighbours alone", () => {
    holders.setClient(0, "255.255.255.255");
    holders.setClient(2, "198.51.100.7");
    fc.assert(
      fc.property(key, fc.maxSafeInteger(), fc.maxSafeInteger(), (text, first, second) => {
        const head = slots.first(1);
        slots.write(head, first);
        slots.write(slots.extend(head), second);
        const { ints, doubles } = slots.page(1);
        const fields = (): number[] => [
          ...ints.subarray(slots.at(1), slots.at(1) + 6),
          ...doubles.subarray((slots.at(1) >> 1) + 3, (slots.at(1) >> 1) + 4),
        ];
        const before = fields();
        holders.setClient(1, text);
        expect(fields()).toEqual(before);
        expect([slots.read(head), slots.read(slots.after(head))]).toEqual([first, second]);
        expect([
          holders.isClient(0, "255.255.255.255"),
          holders.isClient(1, text),
          holders.isClient(2, "198.51.100.7"),
        ]).toEqual([true, true, true]);
      }),
      { numRuns: runs(200) },
    );
  });
});
