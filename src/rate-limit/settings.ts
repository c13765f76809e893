import { z } from "zod";
import { addressRangeProblem, coversInternet } from "../core/http/address-list.js";
import { addressRangeSchema, modeSchema, secondsSchema } from "../settings/common.js";
import { unitsSchema } from "../settings/durations.js";
import { addIssue, settingsObjectLike } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import { DEFAULT_MAX_CLIENTS, maxClientsSchema } from "../stores/memory/sliding-window/settings.js";
import { headersSchema } from "./header-forms.js";
import { mainNameSchema } from "./limit-names.js";
import {
  checkCost,
  checkFailures,
  checkLimit,
  costSchema,
  countSchema,
  functionOf,
  highestLimit,
  keySchema,
  limitedObject,
  limitSchema,
  maxLimitSchema,
  skipSchema,
  windowsOf,
  windowsSchema,
  withWindow,
} from "./limit-settings.js";
import type { RateLimitFailureFunction } from "./outcome-of-request.js";
import { isWindowStore, storeSchema } from "./store-choice.js";

/** An address or range that is not limited; a range that contains a large part of all addresses is a mistake. */
const allowedRangeSchema = addressRangeSchema.superRefine((range, context) => {
  if (addressRangeProblem(range) !== undefined || !coversInternet([range])) return;
  addIssue(context, {
    code: "unsafe-setting",
    message: "This range contains a large part of all addresses, so few clients or none would be limited.",
    remedy: "List only your own ranges, or turn the limiter off with rateLimit: false.",
  });
});

/** A second limit, for each principal. */
const perPrincipalSchema = limitedObject({
  /**
   * Units that each principal may use in a window: a whole number, at least 1, or a function of the request that
   * returns it, at once or by a promise. It sees `req.principal`. Required, unless there are `windows`. Default: none.
   */
  limit: limitSchema.optional(),
  /** Length of the window, in seconds. A multiple of 60,000 needs `units` beside it. Default: `60`. */
  windowSeconds: secondsSchema.optional(),
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
  /**
   * Several windows, each `{ limit, windowSeconds }`, in place of `limit` and `windowSeconds`: 1 to 8. Default: none.
   */
  windows: windowsSchema,
  /** Highest number of units that a function for a limit may return. Default: `100000`. */
  maxLimit: maxLimitSchema,
})
  .superRefine((settings, context) => checkLimit(settings, context))
  .transform((settings) => withWindow(settings));

/** Units in a window of the main limit, where the settings name none. */
const DEFAULT_LIMIT = 100;

/** The schema of `RateLimitSettings`. */
export const rateLimitSchema = settingsObjectLike(PEER_NAMES["express-rate-limit"], {
  /**
   * Units that a client may use in a window: a whole number, at least 1, or a function of the request that returns it,
   * at once or by a promise. A request costs one unit unless `cost` is set. With `key: "address"` the function runs
   * before authentication: it sees headers and path, not `req.principal`. Default: `100`.
   */
  limit: limitSchema.optional(),
  /**
   * Length of the window, in seconds. In no window of this length are more units accepted than `limit`. A multiple of
   * 60,000 needs `units` beside it. Default: `60`.
   */
  windowSeconds: secondsSchema.optional(),
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
  /**
   * Several windows, each `{ limit, windowSeconds }`, in place of `limit` and `windowSeconds`: 1 to 8. A request is
   * counted in all of them or in none. Default: none.
   */
  windows: windowsSchema,
  /** Highest number of units that a function for a limit may return; a higher one is cut. Default: `100000`. */
  maxLimit: maxLimitSchema,
  /**
   * Requests that neither this limit nor `perPrincipal` counts: exact paths, or a function of the request that returns
   * a boolean. Default: none.
   */
  skip: skipSchema,
  /**
   * What counts as one client: its `"address"`; the `"principal"` that it has proved to be (its address while
   * anonymous); or the text that a function returns, 1 to 256 characters. Default: `"address"`.
   */
  key: keySchema.default("address"),
  /**
   * Units that one request costs: a whole number, at least 1, or a function of the request that returns a whole
   * number, 0 or more. Default: `1`.
   */
  cost: costSchema.default(1),
  /**
   * Which requests count: `"all"`, or `"failures"`, those whose response has a status of 400 or above. A request is counted
   * when it arrives, and its units are taken back once a successful response was sent. Default: `"all"`.
   */
  count: countSchema,
  /**
   * With `count: "failures"`, a function of request and response that returns whether the response is a failure, called
   * once it was sent. Default: status 400 or above.
   */
  isFailure: functionOf<RateLimitFailureFunction>(),
  /**
   * How long a client stays refused once it was refused with the limit used up, in seconds. Undecided requests do not
   * begin a block. Default: none.
   */
  blockSeconds: secondsSchema.optional(),
  /** Addresses and CIDR ranges that are not limited. Default: none. */
  allow: z.array(allowedRangeSchema).default([]),
  /**
   * Addresses and CIDR ranges that get 403 `address-refused` before anything is counted; also those that are in
   * `allow`. Needs `trustProxy` in `applySecurity`. Default: none.
   */
  deny: z.array(addressRangeSchema).min(1, "The list is empty.").optional(),
  /** IPv6 clients are counted by subnet. Length of its prefix in bits, 32 to 64. Default: `56`. */
  ipv6Subnet: z.int().min(32).max(64).default(56),
  /**
   * Number of clients that are counted one by one. When there are as many, new clients are counted by network.
   * Default: `100000`.
   */
  maxClients: maxClientsSchema.default(DEFAULT_MAX_CLIENTS),
  /**
   * Form of the rate limit headers, or a list of two forms; `false` sends none but Retry-After on a refusal. Default:
   * `"draft-8"`.
   */
  headers: headersSchema.default("draft-8"),
  /**
   * When the store fails: `local` counts in this process, `allow` lets requests pass, `deny` answers 503. Default:
   * `"local"`.
   */
  onStoreError: z.enum(["local", "allow", "deny"]).default("local"),
  /** How long the store may take for one request, in milliseconds. After that it counts as failed. Default: `250`. */
  storeTimeoutMs: z.int().min(1).max(60_000).default(250),
  /**
   * A second limit for each principal, counted after authentication, with one count for all kinds of credential: `{
   * limit, windowSeconds }`, units and seconds. Default: none.
   */
  perPrincipal: perPrincipalSchema.optional(),
  /**
   * Name of the limit in its headers and in the store: 1 to 64 letters, digits, `.`, `_` or `-`, and none of the
   * library's own limits (`api-key`, for example). Default: `"default"`.
   */
  name: mainNameSchema.default("default"),
  /**
   * Where to count: a `SlidingWindowStore`, a `RedisSlidingWindowStore`, or a store made for express-rate-limit.
   * Default: the Redis of `redis`, or the memory of this process.
   */
  store: storeSchema.optional(),
  /** `report` announces a client over its limit as an event and lets the request pass. Default: `"enforce"`. */
  mode: modeSchema,
})
  .superRefine((settings, context) => {
    const main = withWindow(settings, DEFAULT_LIMIT);
    checkCost(main, context);
    checkLimit(settings, context);
    checkFailures(settings, context);
    const { cost, count, perPrincipal, store } = settings;
    const isForeign = store !== undefined && !isWindowStore(store);
    if (
      typeof cost === "number" &&
      perPrincipal !== undefined &&
      windowsOf(perPrincipal).some((window) => cost > highestLimit(perPrincipal, window))
    ) {
      addIssue(context, {
        code: "contradiction",
        path: ["perPrincipal", "limit"],
        message: "The cost of one request exceeds this limit, so every request of a principal would be refused.",
        remedy: "Set this limit to at least the cost.",
      });
    }
    if (isForeign && perPrincipal !== undefined) {
      addIssue(context, {
        code: "contradiction",
        path: ["perPrincipal"],
        message: "A store of express-rate-limit can count only one limit, but perPrincipal adds a second one.",
        remedy: "Remove perPrincipal, or use a SlidingWindowStore.",
      });
    }
    if (isForeign && windowsOf(main).length > 1) {
      addIssue(context, {
        code: "contradiction",
        path: ["windows"],
        message: "A store of express-rate-limit can count only one window.",
        remedy: "Write one window, or use a SlidingWindowStore.",
      });
    }
    if (isForeign && settings.blockSeconds !== undefined) {
      addIssue(context, {
        code: "contradiction",
        path: ["blockSeconds"],
        message: "A store of express-rate-limit can count only one limit, but a block is counted beside it.",
        remedy: "Remove blockSeconds, or use a SlidingWindowStore.",
      });
    }
    if (count === "failures" && store !== undefined && !isForeign && store.refund === undefined) {
      addIssue(context, {
        code: "contradiction",
        path: ["count"],
        message: "This store has no refund, so the units of a success cannot be taken back.",
        remedy: "Remove count, or use a store that has refund.",
      });
    }
  })
  .transform((settings) => withWindow(settings, DEFAULT_LIMIT));

/** Settings of the rate limiter: `rateLimiter(settings)` and `rateLimit` of `applySecurity`. */
export interface RateLimitSettings extends z.input<typeof rateLimitSchema> {}
/** Settings of the rate limiter with every default filled in. */
export interface ResolvedRateLimitSettings extends z.output<typeof rateLimitSchema> {}
