import type { SecurityEvent, SecurityEventName, SecurityEvents } from "../core/events.js";

/** Everything an event source announced since `collectEvents`. */
export interface CollectedEvents {
  readonly all: readonly SecurityEvent[];
  named(name: SecurityEventName): SecurityEvent[];
  clear(): void;
  /** Stops listening; what was collected stays. */
  stop(): void;
}

/** Listens to all events of a source, for tests to look at. */
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
