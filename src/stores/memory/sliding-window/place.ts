import type { Before, WindowTable } from "./policies.js";

/** What a decision is made on: the client's own log or the one it shares, and those it used to share with others. */
export interface Place {
  table: WindowTable | undefined;
  key: string;
  hash: number;
  /** The log to record in; -1 when it has yet to be opened. */
  slot: number;
  /** What kind of log that is. */
  kind: number;
  /** The overflow windows that the key may have records in beside that log, the newest first. */
  before: Before | undefined;
  /** The logs of those that still count. */
  readonly others: number[];
  /** How long records stay, in microseconds. */
  stay: number;
}
