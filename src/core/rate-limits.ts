/** A limit: at most `limit` units in any window of `windowMs`. `name` keeps the counts of several limits apart. */
export interface WindowPolicy {
  readonly name: string;
  readonly limit: number;
  readonly windowMs: number;
  /** The in-memory store keeps room for this limit apart from all others, so that their keys cannot displace its clients. */
  readonly isMain?: boolean | undefined;
}

/** What a sliding-window log says to one request. */
export interface WindowOutcome {
  readonly allowed: boolean;
  /** Units recorded in the window that ends now, this request's included when allowed. */
  readonly used: number;
  /** Milliseconds until a request of the same cost would be allowed; 0 when this one was. */
  readonly retryAfterMs: number;
  /** Milliseconds until the oldest recorded unit leaves the window; 0 when none is recorded. */
  readonly resetMs: number;
}

/** One of several limits that a request is to pass. */
export interface WindowRequest {
  readonly policy: WindowPolicy;
  readonly key: string;
  readonly cost: number;
}
