import { withTimeout } from "./timeout.js";
import { CircuitBreaker, type Permit } from "./circuit-breaker.js";
import { writeRejectionReason } from "./store-fault.js";
import { Outage } from "./outage.js";
import type { Runtime } from "../../core/runtime.js";

/**
 * The server behind several stores: one Redis, one database. When it stops answering, all its stores fail, so their
 * guards share one circuit: one announcement, one probe, and a request that uses three of its stores waits for one
 * time-out.
 */
export interface Backend {
  /** The source in its events: "redis", "database". */
  readonly name: string;
  /** The environment variable its URL came from: "REDIS_URL", "DATABASE_URL". */
  readonly variable?: string | undefined;
  /** Whether it consists of several machines (a Redis Cluster), some of which may fail while others answer. */
  readonly isCluster?: () => boolean;
  /** Performs a harmless write, to detect when a server that rejected writes accepts them again. */
  readonly probeWrite?: () => unknown;
}

/**
 * Quiet period before a cluster is reported as recovered, in milliseconds: one machine's answer says little about the
 * others.
 */
const RECOVERY_DELAY_MS = 2000;

const servers = new WeakMap<object, Map<string, Backend>>();
const ownServers = new WeakMap<object, Backend>();
const healths = new WeakMap<Runtime, WeakMap<Backend, BackendHealth>>();

/**
 * Records that these stores are on `server`. Call it where the stores are opened, before a guard is created for one.
 *
 * @param server does nothing when undefined
 * @param part the name of the guard to which this applies, when one part of the store is on another server than the
 *   rest
 */
export function registerBackend(server: Backend | undefined, stores: readonly (object | undefined)[], part = ""): void {
  if (server === undefined) return;
  for (const store of stores) {
    if (store === undefined) continue;
    const places = servers.get(store) ?? new Map<string, Backend>();
    servers.set(store, places.set(part, server));
  }
}

/** The server on which a store, or the part of it that a guard protects, was registered. */
export function backendOf(store: object | undefined, part = ""): Backend | undefined {
  const places = store === undefined ? undefined : servers.get(store);
  return places?.get(part) ?? places?.get("");
}

/** Makes an unregistered store its own server, for all of its guards. The first name that it gets stays. */
export function defaultBackend(store: object, made: Backend): Backend {
  let server = ownServers.get(store);
  if (server === undefined) ownServers.set(store, (server = made));
  return server;
}

/** The health of a server as one runtime knows it. */
export class BackendHealth {
  /** Announces the outages of this server, whatever the cause. */
  readonly outage: Outage;
  /** Open while the server does not answer: its stores are then not called. */
  readonly availability: CircuitBreaker;
  readonly #writes: CircuitBreaker;
  readonly #server: Backend;

  constructor(server: Backend, runtime: Runtime) {
    this.#server = server;
    this.outage = new Outage(
      server.name,
      runtime,
      () => (server.isCluster?.() === true ? RECOVERY_DELAY_MS : 0),
      server.variable,
    );
    this.availability = new CircuitBreaker(this.outage, runtime.clock);
    this.#writes = new CircuitBreaker(this.outage, runtime.clock);
  }

  /**
   * Call this with every call of one of its stores. While the server is known to reject writes, a write of our own
   * detects when it accepts them again, since a successful call may have been a read. The call itself proceeds: a
   * server that answers can be called, costs no waiting time, and may succeed.
   */
  beforeCall(timeoutMs: number): Permit | undefined {
    const permit = this.#writes.tryAcquire();
    if (permit === undefined || !permit.isProbe) return permit;
    withTimeout((async () => this.#server.probeWrite?.())(), timeoutMs).then(
      () => this.#writes.succeeded(permit),
      (error: unknown) => this.#writes.failed(permit, error),
    );
    return undefined;
  }

  /**
   * Whether this error comes from the state of the server, not from the store.
   *
   * @param permit what `beforeCall` returned for the call
   */
  isRejectedWrite(error: unknown, permit: Permit | undefined): boolean {
    if (this.#server.probeWrite === undefined || writeRejectionReason(error) === undefined) return false;
    if (permit !== undefined) this.#writes.failed(permit, error);
    return true;
  }
}

/** The health of a server, one object for each runtime. */
export function healthOf(server: Backend, runtime: Runtime): BackendHealth {
  let known = healths.get(runtime);
  if (known === undefined) healths.set(runtime, (known = new WeakMap()));
  let health = known.get(server);
  if (health === undefined) known.set(server, (health = new BackendHealth(server, runtime)));
  return health;
}

/** The circuit breaker of a backend's availability, as one runtime knows it. */
export function circuitBreakerOf(server: Backend, runtime: Runtime): CircuitBreaker {
  return healthOf(server, runtime).availability;
}
