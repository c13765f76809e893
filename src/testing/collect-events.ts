import type { SecurityEvent, SecurityEventName, SecurityEvents } from "../core/events.js";

/** Everything an event source announced since `collectEvents`. */
export interface CollectedEvents {
  /** Every event so far. */
  readonly all: readonly SecurityEvent[];
  /** The events of one name. */
  named(name: SecurityEventName): SecurityEvent[];
  /** Forgets the events so far. */
  clear(): void;
  /** Stops listening; what was collected stays. */
  stop(): void;
}

/**
 * Listens to all events of a source, for tests to look at.
 *
 * @example
 * ```ts
 * import express from "express";
 * import { applySecurity } from "portcullis";
 * import { collectEvents } from "portcullis/testing";
 *
 * const security = applySecurity(express(), { trustedHosts: ["api.example.com"] });
 * const events = collectEvents(security.events);
 * console.log(events.all.length);
 * ```
 */
export function collectEvents(events: SecurityEvents): CollectedEvents {
  const all: SecurityEvent[] = [];
  const listener = (event: SecurityEvent) => void all.push(event);
  events.on("*", listener);
  return {
    all,
    named: (name) => all.filter((event) => event.event === name),
    clear: () => void all.splice(0),
    stop: () => void events.off("*", listener),
  };
}
