import { systemClock, type Clock } from "./clock.js";
import { SecurityEvents } from "./events.js";
import { ProtectedResources } from "./protected-resources.js";
import type { OnRefusal } from "./refusal.js";

/** What every layer is given: time, events, and the answers the app chose. One per `applySecurity`, or per factory used alone. */
export interface Runtime {
  readonly clock: Clock;
  readonly events: SecurityEvents;
  readonly onRefusal: OnRefusal | undefined;
  /** The development switch: relaxes only what plain http breaks. */
  readonly debug: boolean;
  /** The OAuth protected resources this app serves. */
  readonly resources: ProtectedResources;
}

/** @param overrides what differs from the machine's clock, a fresh event source, no `onRefusal` and `debug: false` */
export function createRuntime(overrides: Partial<Runtime> = {}): Runtime {
  const clock = overrides.clock ?? systemClock;
  return Object.freeze({
    clock,
    events: overrides.events ?? new SecurityEvents(() => clock.now()),
    onRefusal: overrides.onRefusal,
    debug: overrides.debug ?? false,
    resources: overrides.resources ?? new ProtectedResources(),
  });
}
