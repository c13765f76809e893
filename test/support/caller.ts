import type { StoreCaller } from "../../src/core/store-caller.js";

/** A request from that address, as the stores know it. */
export function caller(client?: string): StoreCaller {
  return { client, credential: undefined, waits: undefined };
}
