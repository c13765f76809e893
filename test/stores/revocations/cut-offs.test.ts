import fc from "fast-check";
import { expect, test } from "vitest";
import { readChange, writeChange, type CutOff } from "../../../src/stores/revocations/changes.js";
import { CutOffs } from "../../../src/stores/revocations/cut-offs.js";

const CREDENTIALS = ["a", "b", "c", "d"];
const mark = fc.record(
  { cutOff: fc.integer({ min: 1, max: 9 }), keep: fc.constantFrom(...CREDENTIALS.slice(0, 3)) },
  { requiredKeys: ["cutOff"] },
);

const change = ({ cutOff, keep }: { cutOff: number; keep?: string }): CutOff => ({
  kind: "principal",
  name: "ada",
  cutOff,
  endsAt: 1000 + cutOff,
  ...(keep === undefined ? {} : { keep }),
});

function cutOffs(marks: readonly CutOff[]): CutOffs {
  const made = new CutOffs();
  for (const one of marks) made.add(one, 0);
  return made;
}

/** Every question that can be asked, answered. */
const answers = (of: CutOffs): boolean[] =>
  CREDENTIALS.flatMap((credential) =>
    Array.from({ length: 11 }, (_, issuedAt) => of.endsIt("ada", issuedAt, credential)),
  );

test("cut-offs end what is older than one of them and not kept by it, in whatever order they arrive, once or twice", () => {
  fc.assert(
    fc.property(fc.array(mark, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 8 }), (marks, order) => {
      const changes = marks.map(change);
      const shuffled = [...changes, ...changes.filter((_, index) => index % 2 === 0)]
        .map((one, index) => ({ one, at: order[index % Math.max(order.length, 1)] ?? index }))
        .sort((x, y) => x.at - y.at)
        .map(({ one }) => one);
      const expected = CREDENTIALS.flatMap((credential) =>
        Array.from({ length: 11 }, (_, issuedAt) =>
          marks.some(({ cutOff, keep }) => issuedAt < cutOff && keep !== credential),
        ),
      );
      expect(answers(cutOffs(changes))).toEqual(expected);
      expect(answers(cutOffs(shuffled))).toEqual(expected);
      // What a process writes back after the change log was lost says the same.
      const kept = cutOffs(changes).inForce("principal", 0);
      expect(kept.length).toBeLessThanOrEqual(2);
      expect(answers(cutOffs(kept))).toEqual(expected);
      expect(cutOffs(changes).latestOf("ada")).toBe(
        marks.length === 0 ? undefined : Math.max(...marks.map((m) => m.cutOff)),
      );
    }),
  );
});

test("a cut-off is the same after it was written as a line and read; what is none is not read", () => {
  fc.assert(
    fc.property(fc.string(), mark, fc.constantFrom("subject" as const, "principal" as const), (name, made, kind) => {
      const one = { ...change(made), name, kind };
      expect(readChange(writeChange(one))).toEqual(one);
    }),
  );
  for (const line of [
    '["principal","ada",5]',
    '["principal","ada",5,1.5]',
    '["principal","ada",5,1,7]',
    '["principal",1,5,1]',
    '["other","ada",5,1]',
    "[",
  ])
    expect(readChange(line)).toBeUndefined();
  expect(readChange('["owner","ada"]')).toEqual({ kind: "owner", name: "ada" });
});

test("cut-offs are forgotten after their end, and others stay", () => {
  const made = cutOffs([change({ cutOff: 1 }), { ...change({ cutOff: 2 }), name: "bob", endsAt: 9000 }]);
  expect(made.deleteExpired(5000)).toBe(1);
  expect([made.latestOf("ada"), made.latestOf("bob")]).toEqual([undefined, 2]);
});
