import type { NextFunction, Request, Response } from "express";
import type { Mode } from "../core/layer.js";
import type { MaybePromise } from "../core/maybe-promise.js";
import type { LimitCount } from "../core/pending-limits.js";
import type { CountedIn, RequestState } from "../core/request-state.js";
import type { RateLimitStore } from "../stores/contracts.js";
import type { Block } from "./block.js";
import type { Counts } from "./counts.js";
import type { RateLimitFailureFunction } from "./outcome-of-request.js";

/** One configured limit, with everything about it decided at start. */
export interface Limit {
  /** Layer id, or the name of a route's limit in events. */
  readonly source: string;
  /** Its name in headers. */
  readonly name: string;
  readonly counts: Counts;
  readonly mode: Mode;
  /** Whether a request is not limited; `undefined`: each one is. */
  readonly skips: ((req: Request) => boolean) | undefined;
  /** The key to count by; `undefined` lets the request pass uncounted. */
  readonly key: (req: Request, state: RequestState) => string | undefined;
  /** The key of the client that the app names: an address, the id of a principal, or the text of its own function. */
  readonly keyNamed: (client: string) => string;
  readonly cost: (req: Request) => number;
  /** Which responses count, when only failures do. */
  readonly isFailure: RateLimitFailureFunction | undefined;
  /** The block that follows when the limit is used up. */
  readonly block: Block | undefined;
  readonly store: RateLimitStore;
  readonly onStoreError: "local" | "allow" | "deny";
  readonly storeTimeoutMs: number;
  readonly maxClients: number;
}

/** A limit that counts requests. */
export interface Limiter {
  readonly limit: Limit;
  /** Counts the request in this limit alone, and answers it or passes it on. */
  apply(req: Request, res: Response, next: NextFunction, state: RequestState): void;
  /** What to count for this request here, for consuming several limits together; `undefined`: nothing. */
  countOf(req: Request, res: Response, state: RequestState): MaybePromise<LimitCount | undefined>;
  /** Takes back what an entry has recorded, once. Resolves with whether anything was taken back. */
  giveBack(entry: CountedIn): MaybePromise<boolean>;
  /** Forgets a client that this process counts while the store fails. */
  forgetLocally(key: string): void;
  close(): void;
}
