import { systemClock, type Clock } from "./clock.js";
import { CredentialGate } from "./credential-gate.js";
import { SecurityEvents } from "./events.js";
import { ForeignIds } from "./foreign-ids.js";
import { ProtectedResources } from "./protected-resources.js";
import type { OnRefusal } from "./response/problem.js";
import { SetupError } from "./setup-error.js";

/**
 * What every layer receives: clock, events, and the refusal handler of the app. There is one per `applySecurity`, or
 * per factory used alone.
 */
export interface Runtime {
  readonly clock: Clock;
  readonly events: SecurityEvents;
  readonly onRefusal: OnRefusal | undefined;
  /** The development switch: relaxes only what plain http breaks. */
  readonly debug: boolean;
  /** The OAuth protected resources this app serves. */
  readonly resources: ProtectedResources;
  /** The ids that other issuers of tokens give. */
  readonly foreignIds: ForeignIds;
  /** Asked before a session, a token or a key of a person is made. */
  readonly gate: CredentialGate;
}

/** Dependencies of a component used without `applySecurity`: the last argument of its factory. */
export interface PartDependencies {
  /** Receives its events: a `SecurityEvents`, which several components may share. */
  readonly events?: SecurityEvents | undefined;
  /** The time, for tests. Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** Replaces the body of its refusals, or redirects; see `OnRefusal`. */
  readonly onRefusal?: OnRefusal | undefined;
}

/**
 * The runtime of a component used without `applySecurity`.
 *
 * @param deps a runtime is returned unchanged
 * @param base supplies what `deps` does not: the runtime of the service that the component works for
 * @throws SetupError when `events` is not a `SecurityEvents`, or `deps` itself is one
 */
export function partRuntime(deps: PartDependencies | Runtime = {}, base?: Runtime): Runtime {
  if ("resources" in deps) return deps;
  if (deps instanceof SecurityEvents) {
    throw new SetupError(
      "The argument is a SecurityEvents, but must be an object that contains it. Write { events } instead of events.",
    );
  }
  const { events = base?.events, clock = base?.clock, onRefusal = base?.onRefusal } = deps;
  if (events !== undefined && typeof (events as Partial<SecurityEvents>).emit !== "function") {
    throw new SetupError(
      "events must be a SecurityEvents. Pass { events: new SecurityEvents() } or { events: security.events }.",
    );
  }
  return createRuntime({
    clock,
    events,
    onRefusal,
    debug: base?.debug,
    resources: base?.resources,
    foreignIds: base?.foreignIds,
    gate: base?.gate,
  });
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
    foreignIds: overrides.foreignIds ?? new ForeignIds(),
    gate: overrides.gate ?? new CredentialGate(),
  });
}
