import { Circuit } from "./circuit.js";
import type { Runtime } from "./runtime.js";

/**
 * What several stores are on: one Redis, one database. When it falls silent they all do, so their guards share one circuit:
 * one announcement, one probe, and a request that asks three of its stores waits for one time-out.
 */
export interface StoreServer {
  /** The source in its events: "redis", "database". */
  readonly name: string;
}

const servers = new WeakMap<object, Map<string, StoreServer>>();
const circuits = new WeakMap<Runtime, WeakMap<StoreServer, Circuit>>();

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

/** The one circuit of a server in a runtime. */
export function circuitOf(server: StoreServer, runtime: Runtime): Circuit {
  let known = circuits.get(runtime);
  if (known === undefined) circuits.set(runtime, (known = new WeakMap()));
  let circuit = known.get(server);
  if (circuit === undefined) known.set(server, (circuit = new Circuit(server.name, runtime)));
  return circuit;
}
