import { z } from "zod";
import { secondsSchema } from "../settings/common.js";
import { unitsSchema } from "../settings/durations.js";
import { nameSchema } from "./limit-names.js";
import {
  checkCost,
  checkFailures,
  checkLimit,
  costSchema,
  countSchema,
  functionOf,
  keySchema,
  limitedObject,
  limitSchema,
  maxLimitSchema,
  skipSchema,
  windowsSchema,
  withWindow,
} from "./limit-settings.js";
import type { RateLimitFailureFunction } from "./outcome-of-request.js";

/** Settings of a limit for one route. */
export const routeLimitSchema = limitedObject({
  /**
   * Name of the limit in its headers and in the store: 1 to 64 letters, digits, `.`, `_` or `-`. Routes with the same
   * name share one count. Required.
   */
  name: nameSchema,
  /**
   * Units that a client may use in a window: a whole number, at least 1, or a function of the request that returns it,
   * at once or by a promise. It sees `req.principal`. Required, unless there are `windows`.
   */
  limit: limitSchema.optional(),
  /** Length of the window, in seconds. A multiple of 60,000 needs `units` beside it. Default: `60`. */
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
   * Requests that this limit does not count: exact paths, or a function of the request that returns a boolean.
   * Default: none.
   */
  skip: skipSchema,
  /**
   * What counts as one client: its `"address"`; the `"principal"` that it has proved to be (its address while
   * anonymous); or the text that a function returns, 1 to 256 characters. Default: `"principal"`.
   */
  key: keySchema.default("principal"),
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
  /**
   * `report` announces a client over the limit as an event and lets the request pass. Default: the mode of
   * `rateLimit`.
   */
  mode: z.enum(["enforce", "report"]).optional(),
})
  .superRefine((settings, context) => {
    checkCost(settings, context);
    checkLimit(settings, context);
    checkFailures(settings, context);
  })
  .transform((settings) => withWindow(settings));

/** Settings of a limit for one route: `security.rateLimit(settings)`. */
export interface RouteLimitSettings extends z.input<typeof routeLimitSchema> {}
/** Settings of a limit for one route with every default filled in. */
export interface ResolvedRouteLimitSettings extends z.output<typeof routeLimitSchema> {}
