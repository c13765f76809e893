import { setImmediate as yieldToOthers } from "node:timers/promises";

/** Items of one turn. Records of the largest size take a few milliseconds then. */
const PER_TURN = 20;

/** Maps items a few at a time, so that other requests are served in between. */
export async function mapInTurns<Item, Result>(items: readonly Item[], map: (item: Item) => Result): Promise<Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < items.length; from += PER_TURN) {
    if (from > 0) await yieldToOthers();
    for (const item of items.slice(from, from + PER_TURN)) results.push(map(item));
  }
  return results;
}
