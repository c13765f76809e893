import type { Random } from "./random.js";

/** What may go wrong for one operation on the simulated database. */
export const OPERATION_FAULTS = [
  "slow",
  "late-answer",
  "late-commit",
  "lost-answer",
  "lost-call",
  "no-answer",
] as const;
/** What may go wrong for one operation on the simulated Redis. */
export const REDIS_FAULTS = [
  "redis-slow",
  "redis-late-answer",
  "redis-lost-answer",
  "redis-lost-call",
  "redis-no-answer",
] as const;
/** What may go wrong for everybody. */
export const WORLD_FAULTS = [
  "restart",
  "fail-over",
  "disk-full",
  "no-connections",
  "process-restart",
  "partition",
  "redis-restart",
  "redis-data-lost",
  "redis-partition",
] as const;
/** What a hostile caller's own data bring. */
export const RECORD_FAULTS = [
  "unreadable-record",
  "slow-record",
  "missing-session-file",
  "value-too-long",
  "statement-time-out",
  "store-full",
  "redis-unreadable",
] as const;

export type FaultKind =
  | (typeof OPERATION_FAULTS)[number]
  | (typeof REDIS_FAULTS)[number]
  | (typeof WORLD_FAULTS)[number]
  | (typeof RECORD_FAULTS)[number];

export interface OperationFault {
  readonly kind: (typeof OPERATION_FAULTS)[number];
  /** Which statement of the operation it strikes; `commit`: its first COMMIT. */
  readonly at: number | "commit";
  /** Milliseconds, for those that take time. */
  readonly ms: number;
}

export interface RedisFault {
  readonly kind: (typeof REDIS_FAULTS)[number];
  /** Which command of the operation it strikes. */
  readonly at: number;
  /** Milliseconds, for those that take time. */
  readonly ms: number;
}

/** The fault of one operation, drawn from its id alone, so that other actors do not shift it. */
export function drawFault(random: Random, probability: number): OperationFault | undefined {
  if (!random.chance(probability)) return undefined;
  const kind = random.pick(OPERATION_FAULTS);
  const at = kind === "late-commit" || random.chance(0.6) ? "commit" : random.between(1, 4);
  return { kind, at, ms: kind === "slow" ? random.between(60, 160) : random.between(150, 700) };
}

/** The same for Redis. */
export function drawRedisFault(random: Random, probability: number): RedisFault | undefined {
  if (!random.chance(probability)) return undefined;
  const kind = random.pick(REDIS_FAULTS);
  const ms = kind === "redis-slow" ? random.between(60, 160) : random.between(150, 700);
  return { kind, at: random.between(1, 3), ms };
}

/** How often each fault struck. */
export class FaultCounts {
  readonly counts = new Map<FaultKind, number>();

  add(kind: FaultKind): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  take(others: FaultCounts): void {
    for (const [kind, count] of others.counts) this.counts.set(kind, (this.counts.get(kind) ?? 0) + count);
  }

  /** Every kind there is, those that never struck included. */
  all(): [FaultKind, number][] {
    const kinds: readonly FaultKind[] = [...OPERATION_FAULTS, ...REDIS_FAULTS, ...WORLD_FAULTS, ...RECORD_FAULTS];
    return kinds.map((kind) => [kind, this.counts.get(kind) ?? 0]);
  }

  toString(): string {
    return this.all()
      .map(([kind, times]) => `${kind} ${times}`)
      .join(", ");
  }
}
