import type { WindowOutcome } from "../../contracts.js";

const shared = new WeakSet<WindowOutcome>();

/** Notes that a refusal rests on a window in which other clients count too. */
export function noteShared(outcome: WindowOutcome): void {
  shared.add(outcome);
}

/** Whether the units of other clients may have caused this refusal. */
export function isShared(outcome: WindowOutcome): boolean {
  return shared.has(outcome);
}
