import type { Clock } from "../../core/clock.js";
import type { UsageBatch } from "../../stores/contracts.js";
import type { PendingUsage } from "../keys/records.js";

/** Maximum number of keys written by one store call. */
const BATCH_SIZE = 500;

interface Count {
  count: number;
  lastUsedAt: number;
}

/**
 * Counts uses in memory and writes them in batches: one write per key and interval, regardless of the number of
 * requests. A write per request causes deadlocks and slows every request (laravel/sanctum#207, #91).
 */
export class UsageLog {
  readonly #write: (batch: readonly UsageBatch[]) => Promise<void>;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #pending = new Map<string, Count>();
  #flushing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * @param write the store's `addUsage`; a batch whose write rejects is kept and retried later, so a write that timed
   * out but succeeded counts twice
   * @param intervalSeconds seconds from the first unwritten use to the write
   */
  constructor(write: (batch: readonly UsageBatch[]) => Promise<void>, clock: Clock, intervalSeconds: number) {
    this.#write = write;
    this.#clock = clock;
    this.#intervalMs = intervalSeconds * 1000;
  }

  record(id: string): void {
    const now = this.#clock.now();
    const count = this.#pending.get(id);
    if (count === undefined) this.#pending.set(id, { count: 1, lastUsedAt: now });
    else {
      count.count += 1;
      if (now > count.lastUsedAt) count.lastUsedAt = now;
    }
    this.#schedule();
  }

  /**
   * Returns the uses that are counted but not written. Call `settled` first; otherwise a batch being written is missing
   * here and in the store.
   */
  pending(id: string): PendingUsage | undefined {
    return this.#pending.get(id);
  }

  /** Resolves when no write is in progress. Never rejects. */
  async settled(): Promise<void> {
    while (this.#flushing !== undefined) await this.#flushing;
  }

  /** Writes the pending counts. Never rejects: counts that could not be written are pending again. */
  async flush(): Promise<void> {
    await this.settled();
    if (this.#pending.size === 0) return;
    const counts = [...this.#pending];
    this.#pending.clear();
    this.#flushing = this.#writeAll(counts).finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  /** Stops the timer and writes the remaining counts, once. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.flush();
  }

  async #writeAll(counts: readonly (readonly [string, Count])[]): Promise<void> {
    // The same order in every process, so that two writers do not deadlock on rows.
    const batch = counts
      .map(([id, { count, lastUsedAt }]) => ({ id, count, lastUsedAt }))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    for (let i = 0; i < batch.length; i += BATCH_SIZE) {
      const part = batch.slice(i, i + BATCH_SIZE);
      try {
        await this.#write(part);
      } catch {
        // The store guard has announced the outage.
        for (const use of part) this.#putBack(use);
        this.#schedule();
      }
    }
  }

  #putBack({ id, count, lastUsedAt }: UsageBatch): void {
    const newer = this.#pending.get(id);
    if (newer === undefined) this.#pending.set(id, { count, lastUsedAt });
    else {
      newer.count += count;
      newer.lastUsedAt = Math.max(newer.lastUsedAt, lastUsedAt);
    }
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, this.#intervalMs);
    // Unwritten counts must not keep a process alive; `close` writes them.
    this.#timer.unref();
  }
}
