import { NONE } from "./blocks.js";
import { OWN } from "./capacity.js";
import type { Networks } from "./networks.js";
import type { Before, WindowTable } from "./policies.js";

/** The logs that a decision depends on: the client's own log or the one it shares, and those it used to share. */
export interface Place {
  table: WindowTable | undefined;
  key: string;
  hash: number;
  /** The log to record in; -1 when it is not open yet. */
  slot: number;
  /** The kind of that log. */
  kind: number;
  /** The networks of the key, when it is an address and has no log of its own. */
  networks: Networks | undefined;
  /** The overflow windows that the key may have records in beside that log, the newest first. */
  before: Before | undefined;
  /** The logs of those windows that still count. */
  readonly others: number[];
  /** How long records stay, in microseconds. */
  stay: number;
}

/** A place that is not looked up yet. */
export function emptyPlace(): Place {
  return {
    table: undefined,
    key: "",
    hash: 0,
    slot: NONE,
    kind: OWN,
    networks: undefined,
    before: undefined,
    others: [],
    stay: 0,
  };
}
