/** A limit: at most `limit` units in any window of `windowMs`. `name` keeps the counts of several limits apart. */
export interface WindowPolicy {
  /** Name of the limit; limits of different names share nothing. */
  readonly name: string;
  /** Units in a window. */
  readonly limit: number;
  /** Length of the window, in milliseconds. */
  readonly windowMs: number;
  /**
   * The highest limit that any request under this name may have, where the limit depends on the request. The count is
   * the same whatever the limit of a request is. Default: `limit`.
   */
  readonly maxLimit?: number | undefined;
  /**
   * The in-memory store reserves separate space for this limit, so that keys of other limits cannot displace its
   * clients.
   */
  readonly isMain?: boolean | undefined;
  /**
   * The in-memory store records nothing for a client for whom it has no room, instead of counting it together with
   * others.
   */
  readonly isUnshared?: boolean | undefined;
}

/** Names, in the store, of the limits that the library counts itself. The limit of an app has none of them. */
export const OWN_LIMITS = {
  apiKey: "api-key",
  failuresByAddress: "api-key-failures-address",
  failuresByKey: "api-key-failures-key",
  expressRateLimit: "express-rate-limit",
  writeCheck: "write-check",
} as const;

/** The answer of a sliding-window log to one request. */
export interface WindowOutcome {
  /** Whether the units fit into the window, and were recorded. */
  readonly allowed: boolean;
  /** Units recorded in the window that ends now, this request's included when allowed. */
  readonly used: number;
  /** Milliseconds until a request of the same cost would be allowed; 0 when this one was. */
  readonly retryAfterMs: number;
  /** Milliseconds until the oldest recorded unit leaves the window; 0 when none is recorded. */
  readonly resetMs: number;
  /** Names the units that were recorded, for `refund`. Present only when the caller asked for it. */
  readonly recordedAt?: number | string | undefined;
}

/** One of several limits that a request must pass. */
export interface WindowRequest {
  /** The limit to count in. */
  readonly policy: WindowPolicy;
  /** Identifies one client. */
  readonly key: string;
  /** Units that the request costs. */
  readonly cost: number;
}
