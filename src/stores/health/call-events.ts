import type { Runtime } from "../../core/runtime.js";

/** At most one event of a kind, source and reason in this time, in milliseconds: a burst is one occurrence. */
const QUIET_MS = 1000;

const announced = new WeakMap<Runtime, Map<string, number>>();

/**
 * Announces that a shared pool, queue or store of this process is full. The calls that found it full got 503; the
 * server behind it is healthy. "repeated-writes" is the queue of revocations that the store refused: the oldest was
 * given up.
 *
 * @param source "api-keys", "refresh-token", … There are few sources: never text from a request
 * @param reason what is full: "connections", "queue", "store", "repeated-writes"
 */
export function announceOverload(runtime: Runtime, source: string, reason: string): void {
  announce(runtime, "portcullis_overload", source, reason);
}

/** Announces that a call got no answer in time. One such call is not yet an outage. */
export function announceLate(runtime: Runtime, source: string): void {
  announce(runtime, "portcullis_store_late", source, "no-answer-in-time");
}

function announce(
  runtime: Runtime,
  event: "portcullis_overload" | "portcullis_store_late",
  source: string,
  reason: string,
): void {
  let times = announced.get(runtime);
  if (times === undefined) announced.set(runtime, (times = new Map<string, number>()));
  const name = `${event} ${source} ${reason}`;
  const now = runtime.clock.monotonic();
  if (now - (times.get(name) ?? -Infinity) < QUIET_MS) return;
  times.set(name, now);
  runtime.events.emit(event, () => ({ source, reason }));
}
