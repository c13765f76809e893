import { boundedCall } from "./timeout.js";
import { Circuit, type Pass } from "./circuit-breaker.js";
import { whyDeclined } from "./rejected-writes.js";
import { Outage } from "./outage.js";
import type { Runtime } from "../../core/runtime.js";

/**
 * What several stores are on: one Redis, one database. When it falls silent they all do, so their guards share one circuit:
 * one announcement, one probe, and a request that asks three of its stores waits for one time-out.
 */
export interface StoreServer {
  /** The source in its events: "redis", "database". */
  readonly name: string;
  /** The environment variable its URL came from: "REDIS_URL", "DATABASE_URL". */
  readonly variable?: string | undefined;
  /** Whether it is several machines (a Redis Cluster), of which one may be silent while another answers. */
  readonly isMany?: () => boolean;
  /** Writes something that means nothing, to learn whether a server that declined to write does so again. */
  readonly tryWrite?: () => unknown;
}

/** How long no machine of several may fail before they are told to be back, in milliseconds: the answer of one says little of the others. */
const STEADY_MS = 2000;

const servers = new WeakMap<object, Map<string, StoreServer>>();
const ownServers = new WeakMap<object, StoreServer>();
const healths = new WeakMap<Runtime, WeakMap<StoreServer, ServerHealth>>();

/**
 * Says that these stores are on `server`. Call it where they are opened, before a guard is made for one.
 *
 * @param server without one nothing is said
 * @param part the name of the guard this is for, when the store has a part that is elsewhere than the rest
 */
export function placeOn(server: StoreServer | undefined, stores: readonly (object | undefined)[], part = ""): void {
  if (server === undefined) return;
  for (const store of stores) {
    if (store === undefined) continue;
    const places = servers.get(store) ?? new Map<string, StoreServer>();
    servers.set(store, places.set(part, server));
  }
}

/** The server that a store, or the part of it a guard is for, was placed on. */
export function serverOf(store: object | undefined, part = ""): StoreServer | undefined {
  const places = store === undefined ? undefined : servers.get(store);
  return places?.get(part) ?? places?.get("");
}

/** A store that was placed nowhere is a server of its own, for all of its guards; what it is called first holds. */
export function ownServer(store: object, made: StoreServer): StoreServer {
  let server = ownServers.get(store);
  if (server === undefined) ownServers.set(store, (server = made));
  return server;
}

/** How a server is, as one runtime knows it. */
export class ServerHealth {
  /** What is announced of it, whatever is wrong. */
  readonly outage: Outage;
  /** Open while no answer comes: no store there is called then. */
  readonly silence: Circuit;
  readonly #declines: Circuit;
  readonly #server: StoreServer;

  constructor(server: StoreServer, runtime: Runtime) {
    this.#server = server;
    this.outage = new Outage(server.name, runtime, () => (server.isMany?.() === true ? STEADY_MS : 0), server.variable);
    this.silence = new Circuit(this.outage, runtime.clock);
    this.#declines = new Circuit(this.outage, runtime.clock);
  }

  /**
   * To be called with every call of a store there. While writes are known to be declined, a write of our own finds out when
   * they are not any more: a call that works may have been a read. The call itself goes on: a server that answers can be
   * asked, costs no time, and may still do it.
   */
  watchWrites(timeoutMs: number): Pass | undefined {
    const pass = this.#declines.admit();
    if (pass === undefined || !pass.isProbe) return pass;
    boundedCall(this.#server.name, timeoutMs, async () => this.#server.tryWrite?.()).then(
      () => this.#declines.worked(pass),
      (error: unknown) => this.#declines.failed(pass, error),
    );
    return undefined;
  }

  /**
   * Whether this error is the server's and no store's own.
   *
   * @param pass what `watchWrites` gave with the call
   */
  hasDeclined(error: unknown, pass: Pass | undefined): boolean {
    if (this.#server.tryWrite === undefined || whyDeclined(error) === undefined) return false;
    if (pass !== undefined) this.#declines.failed(pass, error);
    return true;
  }
}

/** The one health of a server in a runtime. */
export function healthOf(server: StoreServer, runtime: Runtime): ServerHealth {
  let known = healths.get(runtime);
  if (known === undefined) healths.set(runtime, (known = new WeakMap()));
  let health = known.get(server);
  if (health === undefined) known.set(server, (health = new ServerHealth(server, runtime)));
  return health;
}

/** The circuit of a server's silence in a runtime. */
export function circuitOf(server: StoreServer, runtime: Runtime): Circuit {
  return healthOf(server, runtime).silence;
}
