import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NONE, Blocks } from "../../../../src/stores/memory/sliding-window/blocks.js";
import { runs } from "../../../property/seed.js";

interface Queue {
  /** What is in it, oldest first. */
  readonly numbers: number[];
  head: number;
  tail: number;
}

/** Numbers as the logs write them, and every bit of a cell one by one. */
const number = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer({ min: 0, max: 53 }).map((bit) => Math.min(2 ** bit, Number.MAX_SAFE_INTEGER)),
  fc.constantFrom(0, -1, 2 ** 32 - 1, 2 ** 32, -(2 ** 32), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
);
const step = fc.record({ queue: fc.nat(4), drop: fc.boolean(), rewrite: fc.boolean(), number });

function push(blocks: Blocks, queue: Queue, value: number): void {
  const cell = queue.tail === NONE ? blocks.take() : blocks.extend(queue.tail);
  blocks.write(cell, value);
  if (queue.head === NONE) queue.head = cell;
  queue.tail = cell;
  queue.numbers.push(value);
}

function shift(blocks: Blocks, queue: Queue): void {
  const { head, tail } = queue;
  const next = head === tail ? NONE : blocks.after(head);
  if (next === NONE || head >>> 3 !== next >>> 3) blocks.give(head);
  queue.head = next;
  if (next === NONE) queue.tail = NONE;
  queue.numbers.shift();
}

function read(blocks: Blocks, { head, tail }: Queue): number[] {
  const found: number[] = [];
  for (let cell = head; cell !== NONE; cell = cell === tail ? NONE : blocks.after(cell)) found.push(blocks.read(cell));
  return found;
}

describe("the memory of the logs", () => {
  it("gives back every number in its order, whatever queues grow, shrink and change beside it", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const blocks = new Blocks();
        const queues = Array.from({ length: 5 }, (): Queue => ({ numbers: [], head: NONE, tail: NONE }));
        for (const { queue: at, drop, rewrite, number: value } of steps) {
          const queue = queues[at] as Queue;
          if (drop && queue.head !== NONE) shift(blocks, queue);
          else if (rewrite && queue.head !== NONE) {
            // The first cell of a block holds a part of its link too.
            blocks.write(queue.head, value);
            queue.numbers[0] = value;
          } else push(blocks, queue, value);
        }
        for (const queue of queues) expect(read(blocks, queue).map(plain)).toEqual(queue.numbers.map(plain));
        for (const queue of queues) while (queue.head !== NONE) shift(blocks, queue);
        expect(blocks.used).toBe(0);
      }),
      { numRuns: runs(500) },
    );
  });

  it("reuses blocks that were freed, and links blocks of all pages", () => {
    const blocks = new Blocks();
    const long: Queue = { numbers: [], head: NONE, tail: NONE };
    const other: Queue = { numbers: [], head: NONE, tail: NONE };
    // 100,000 cells are four pages; the other queue takes every second block, so that no link names the next one.
    for (let n = 0; n < 100_000; n += 1) {
      push(blocks, long, n * 16 + 1);
      push(blocks, other, -n);
    }
    const { used } = blocks;
    expect(used).toBe(25_000);
    while (other.head !== NONE) shift(blocks, other);
    expect(blocks.used).toBe(12_500);
    for (let n = 0; n < 100_000; n += 1) push(blocks, other, n);
    expect(blocks.used).toBe(used);
    expect(read(blocks, long)).toEqual(long.numbers);
    expect(read(blocks, other)).toEqual(other.numbers);
  });
});

/** There is one zero here. */
const plain = (value: number): number => value + 0;
