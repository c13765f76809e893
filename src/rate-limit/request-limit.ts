import { type CountedIn, stateIn } from "../core/request-state.js";
import type { MaybePromise } from "../core/maybe-promise.js";

/**
 * What a limit has counted for the client of a request: `req.rateLimit`. When several limits counted the request, it is
 * the one that did so last: that of the route, else `perPrincipal`, else the main limit. Of several windows, it is the
 * one with the fewest units left.
 */
export interface RequestRateLimit {
  /** Units that the client may use in a window. */
  readonly limit: number;
  /** Units used in the window, this request's included. */
  readonly used: number;
  /** Units left in the window. */
  readonly remaining: number;
  /** When the oldest unit leaves the window, in milliseconds since the epoch. */
  readonly resetAt: number;
  /**
   * Takes back what this request cost in this limit, and nothing else, once: for a request that is not to count.
   * Resolves with whether units were taken back: not after they have left the window, after a reset of the client, or
   * when the store has lost them or does not answer. Never rejects.
   */
  refund(): Promise<boolean>;
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- Express's types are extended by merging into this namespace; there is no other way.
  namespace Express {
    interface Request {
      /** What the limit that counted this request last has counted; `undefined` when none did. */
      rateLimit?: RequestRateLimit | undefined;
    }
  }
}

/** `req.rateLimit`, computed when it is read. All requests share one accessor, so a request that never reads it pays nothing. */
const RATE_LIMIT: PropertyDescriptor = {
  configurable: true,
  // Not enumerable, so that a logger that copies a request computes nothing.
  enumerable: false,
  get(this: object): RequestRateLimit | undefined {
    return rateLimitOf(this);
  },
  // express-rate-limit, when it is used as well, writes its own value.
  set(this: object, value: unknown) {
    Object.defineProperty(this, "rateLimit", { value, configurable: true, enumerable: true, writable: true });
  },
};

/** Defines `req.rateLimit` for the requests that inherit from `requests`. */
export function defineRateLimit(requests: object): void {
  if (!("rateLimit" in requests)) Object.defineProperty(requests, "rateLimit", RATE_LIMIT);
}

/** Computes `req.rateLimit`. */
function rateLimitOf(req: object): RequestRateLimit | undefined {
  const last = lastAnswered(stateIn(req)?.counted);
  if (last === undefined) return undefined;
  const entries: CountedIn[] = [];
  let shown: CountedIn = last;
  for (let entry: CountedIn | undefined = last; entry !== undefined; entry = entry.next) {
    if (entry.limiter !== last.limiter || entry.outcome === undefined) continue;
    entries.push(entry);
    if (leftIn(entry) < leftIn(shown)) shown = entry;
  }
  const { outcome, policy, decidedAt } = shown;
  return {
    limit: policy.limit,
    used: outcome?.used ?? 0,
    remaining: leftIn(shown),
    resetAt: decidedAt + (outcome?.resetMs ?? 0),
    refund: () => refundAll(entries),
  };
}

function lastAnswered(first: CountedIn | undefined): CountedIn | undefined {
  let entry = first;
  while (entry !== undefined && entry.outcome === undefined) entry = entry.next;
  return entry;
}

function leftIn({ policy, outcome }: CountedIn): number {
  return Math.max(0, policy.limit - (outcome?.used ?? 0));
}

/** What has counted a request. */
interface GivesBack {
  giveBack(entry: CountedIn): MaybePromise<boolean>;
}

/** Not async: units counted in this process are back before it returns. */
export function refundAll(entries: readonly CountedIn[]): Promise<boolean> {
  const answers = entries.map(async (entry) => {
    try {
      return await (entry.limiter as GivesBack).giveBack(entry);
    } catch {
      // The store does not answer, which its guard has announced. The units count until they leave the window.
      return false;
    }
  });
  return Promise.all(answers).then((back) => back.some(Boolean));
}
