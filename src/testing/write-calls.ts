import assert from "node:assert/strict";
import type { WriteCall } from "../stores/health/write-call.js";

/** A call whose caller waits as long as it takes. */
export function patientCall(): WriteCall {
  return { deadline: performance.now() + 60_000, beginCommit: () => true, commitEnded: () => undefined };
}

/** Calls that must not be done: the caller has got its failure already, at the deadline or while the store was at work. */
export function overdueCalls(): readonly WriteCall[] {
  const past = performance.now() - 1;
  return [past, performance.now() + 60_000].map((deadline) => ({
    deadline,
    beginCommit: () => false,
    commitEnded: () => undefined,
  }));
}

/** Checks that a write is refused because its caller no longer waits. */
export async function refusesOverdue(write: (call: WriteCall) => Promise<unknown>): Promise<void> {
  for (const call of overdueCalls()) await assert.rejects(write(call), { code: "PORTCULLIS_DEADLINE_PASSED" });
}
