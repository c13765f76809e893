import { withTimeout } from "./timeout.js";
import { CircuitBreaker, type Permit } from "./circuit-breaker.js";
import { writeRejectionReason } from "./rejected-writes.js";
import { Outage } from "./outage.js";
import type { Runtime } from "../../core/runtime.js";

/**
 * What several stores are on: one Redis, one database. When it falls silent they all do, so their guards share one circuit:
 * one announcement, one probe, and a request that asks three of its stores waits for one time-out.
 */
export interface Backend {
  /** The source in its events: "redis", "database". */
  readonly name: string;
  /** The environment variable its URL came from: "REDIS_URL", "DATABASE_URL". */
  readonly variable?: string | undefined;
  /** Whether it is several machines (a Redis Cluster), of which one may be silent while another answers. */
  readonly isCluster?: () => boolean;
  /** Writes something that means nothing, to learn whether a server that declined to write does so again. */
  readonly probeWrite?: () => unknown;
}

/** How long no machine of several may fail before they are told to be back, in milliseconds: the answer of one says little of the others. */
const STEADY_MS = 2000;

const servers = new WeakMap<object, Map<string, Backend>>();
const ownServers = new WeakMap<object, Backend>();
const healths = new WeakMap<Runtime, WeakMap<Backend, BackendHealth>>();

/**
 * Says that these stores are on `server`. Call it where they are opened, before a guard is made for one.
 *
 * @param server without one nothing is said
 * @param part the name of the guard this is for, when the store has a part that is elsewhere than the rest
 */
export function registerBackend(server: Backend | undefined, stores: readonly (object | undefined)[], part = ""): void {
  if (server === undefined) return;
  for (const store of stores) {
    if (store === undefined) continue;
    const places = servers.get(store) ?? new Map<string, Backend>();
    servers.set(store, places.set(part, server));
  }
}

/** The server that a store, or the part of it a guard is for, was placed on. */
export function backendOf(store: object | undefined, part = ""): Backend | undefined {
  const places = store === undefined ? undefined : servers.get(store);
  return places?.get(part) ?? places?.get("");
}

/** A store that was placed nowhere is a server of its own, for all of its guards; what it is called first holds. */
export function defaultBackend(store: object, made: Backend): Backend {
  let server = ownServers.get(store);
  if (server === undefined) ownServers.set(store, (server = made));
  return server;
}

/** How a server is, as one runtime knows it. */
export class BackendHealth {
  /** What is announced of it, whatever is wrong. */
  readonly outage: Outage;
  /** Open while no answer comes: no store there is called then. */
  readonly availability: CircuitBreaker;
  readonly #declines: CircuitBreaker;
  readonly #server: Backend;

  constructor(server: Backend, runtime: Runtime) {
    this.#server = server;
    this.outage = new Outage(
      server.name,
      runtime,
      () => (server.isCluster?.() === true ? STEADY_MS : 0),
      server.variable,
    );
    this.availability = new CircuitBreaker(this.outage, runtime.clock);
    this.#declines = new CircuitBreaker(this.outage, runtime.clock);
  }

  /**
   * To be called with every call of a store there. While writes are known to be declined, a write of our own finds out when
   * they are not any more: a call that works may have been a read. The call itself goes on: a server that answers can be
   * asked, costs no time, and may still do it.
   */
  beforeCall(timeoutMs: number): Permit | undefined {
    const permit = this.#declines.tryAcquire();
    if (permit === undefined || !permit.isProbe) return permit;
    withTimeout(this.#server.name, timeoutMs, async () => this.#server.probeWrite?.()).then(
      () => this.#declines.succeeded(permit),
      (error: unknown) => this.#declines.failed(permit, error),
    );
    return undefined;
  }

  /**
   * Whether this error is the server's and no store's own.
   *
   * @param permit what `beforeCall` gave with the call
   */
  isRejectedWrite(error: unknown, permit: Permit | undefined): boolean {
    if (this.#server.probeWrite === undefined || writeRejectionReason(error) === undefined) return false;
    if (permit !== undefined) this.#declines.failed(permit, error);
    return true;
  }
}

/** The one health of a server in a runtime. */
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
