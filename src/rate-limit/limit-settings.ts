import type { Request } from "express";
import { z } from "zod";
import { exemptPathSchema, secondsSchema } from "../settings/common.js";
import { checkWindow, unitsSchema } from "../settings/durations.js";
import { addIssue, selectSchema, settingsObjectLike } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";

/** Returns the units that the caller may use in a window: a whole number, 0 or more; or a promise of it. */
export type RateLimitFunction = (req: Request) => number | Promise<number>;
/** Returns the key to count a request by: text of 1 to 256 characters. */
export type RateLimitKeyFunction = (req: Request) => string;
/** Returns the units a request costs: a whole number, 0 or more. */
export type RateLimitCostFunction = (req: Request) => number;
/** Returns whether a request is not limited. */
export type RateLimitSkipFunction = (req: Request) => boolean;

/** The greatest limit. */
export const MOST_UNITS = 2 ** 31 - 1;

/** Units in a window: a whole number, at least 1. */
const amountSchema = z.int().min(1).max(MOST_UNITS);

export const functionSchema = z.custom((value) => typeof value === "function", {
  error: "This must be a function.",
  params: { remedy: "Write a function of the request." },
});

/** Units in a window: a number, or a function of the request that returns it. */
export const limitSchema = selectSchema<number | RateLimitFunction, number | RateLimitFunction>((value) =>
  typeof value === "function" ? functionSchema : amountSchema,
);

/** Highest number that a function for a limit may return. */
export const maxLimitSchema = amountSchema.optional();

export const keySchema = selectSchema<
  "address" | "principal" | RateLimitKeyFunction,
  "address" | "principal" | RateLimitKeyFunction
>((value) => (typeof value === "function" ? functionSchema : z.enum(["address", "principal"])));

export const costSchema = selectSchema<number | RateLimitCostFunction, number | RateLimitCostFunction>((value) =>
  typeof value === "function" ? functionSchema : z.int().min(1),
);

/** Requests that are not limited: a function of the request, or exact paths. */
export const skipSchema = selectSchema<
  readonly string[] | RateLimitSkipFunction,
  readonly string[] | RateLimitSkipFunction
>((value) => (typeof value === "function" ? functionSchema : z.array(exemptPathSchema))).optional();

/** One window of several. */
const windowSchema = settingsObjectLike(PEER_NAMES["express-rate-limit"], {
  /**
   * Units that a client may use in this window: a whole number, at least 1, or a function of the request that returns
   * it. Required.
   */
  limit: limitSchema,
  /** Length of this window, in seconds. A multiple of 60,000 needs `units` beside it. Required. */
  windowSeconds: secondsSchema,
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
}).superRefine(checkWindow);

/** One window of several: `windows` of a limit. */
export interface RateLimitWindowSettings extends z.input<typeof windowSchema> {}

/** Several windows that are decided together. Annotated, so that an editor shows the comments of the settings. */
export const windowsSchema = selectSchema<readonly RateLimitWindowSettings[], readonly z.output<typeof windowSchema>[]>(
  () => z.array(windowSchema).min(1).max(8),
).optional();

/** One window of a limit. */
export interface LimitWindow {
  /** Units in the window, or a function of the request that returns them. */
  readonly limit: number | RateLimitFunction;
  /** Length of the window, in seconds. */
  readonly windowSeconds: number;
}

/** A limit as the settings have it: one window, or a list of them. */
export interface WindowSettings {
  readonly limit?: number | RateLimitFunction | undefined;
  readonly windowSeconds?: number | undefined;
  readonly windows?: readonly LimitWindow[] | undefined;
  readonly maxLimit?: number | undefined;
}

/** Length of the window where the settings name none, in seconds. */
const DEFAULT_SECONDS = 60;
/** Highest number that a function for a limit may return, where the settings name none. */
const DEFAULT_MAX_LIMIT = 100_000;

/** The windows of a limit whose settings are complete. */
export function windowsOf({ limit, windowSeconds, windows }: WindowSettings): readonly LimitWindow[] {
  if (windows !== undefined) return windows;
  return limit === undefined ? [] : [{ limit, windowSeconds: windowSeconds ?? DEFAULT_SECONDS }];
}

/** The highest number that any function for a limit may return. */
export function maxLimitOf({ maxLimit }: WindowSettings): number {
  return maxLimit ?? DEFAULT_MAX_LIMIT;
}

/** The highest limit that a window may have. */
export function highestLimit(settings: WindowSettings, { limit }: LimitWindow): number {
  return typeof limit === "number" ? limit : maxLimitOf(settings);
}

/** Fills in the window of a limit that has no list of windows. */
export function withWindow<Settings extends WindowSettings>(
  settings: Settings,
  defaultLimit?: number,
): Omit<Settings, "limit" | "windowSeconds"> & {
  limit: number | RateLimitFunction | undefined;
  windowSeconds: number | undefined;
} {
  const { windows, limit, windowSeconds } = settings;
  if (windows !== undefined) return { ...settings, limit: undefined, windowSeconds: undefined };
  return { ...settings, limit: limit ?? defaultLimit, windowSeconds: windowSeconds ?? DEFAULT_SECONDS };
}

type Context = z.core.$RefinementCtx;
type Units = { readonly units?: "seconds" | undefined };

/**
 * The settings of a limit that has no default: `limit` must be there, unless `windows` is.
 *
 * @param shape has a `limit` that may be absent
 */
export function limitedObject<const Shape extends z.ZodRawShape & { limit: z.ZodType }>(
  shape: Shape,
): z.ZodObject<Shape, z.core.$strict> {
  const optional = settingsObjectLike(PEER_NAMES["express-rate-limit"], shape);
  const required = settingsObjectLike(PEER_NAMES["express-rate-limit"], { ...shape, limit: limitSchema });
  const hasWindows = (value: unknown): boolean =>
    typeof value === "object" && value !== null && (value as { windows?: unknown }).windows !== undefined;
  return selectSchema((value) => (hasWindows(value) ? optional : required)) as never;
}

/** Checks the windows of one limit. */
export function checkLimit(settings: WindowSettings & Units, context: Context): void {
  const { windowSeconds, windows, units } = settings;
  if (windowSeconds !== undefined) checkWindow({ windowSeconds, units }, context);
  if (windows !== undefined) {
    for (const name of ["limit", "windowSeconds", "units"] as const)
      if (settings[name] !== undefined) beside(name, context);
    checkWindows(windows, context);
  }
  if (settings.maxLimit === undefined || windowsOf(settings).some((window) => typeof window.limit === "function"))
    return;
  addIssue(context, {
    code: "contradiction",
    path: ["maxLimit"],
    message: "maxLimit bounds what a function returns, but no limit here is a function.",
    remedy: "Remove maxLimit, or write a function for limit.",
  });
}

function beside(name: string, context: Context): void {
  addIssue(context, {
    code: "contradiction",
    path: [name],
    message: `${name} describes one window, but windows is a list of all of them.`,
    remedy: `Remove ${name}, or add this window to windows.`,
  });
}

/** Each window must have a length of its own, and must be able to refuse what the others accept. */
function checkWindows(windows: readonly LimitWindow[], context: Context): void {
  for (const [index, { limit, windowSeconds }] of windows.entries()) {
    const place = ["windows", index] as const;
    for (const [other, before] of windows.entries()) {
      if (other >= index) break;
      if (before.windowSeconds === windowSeconds) {
        addIssue(context, {
          code: "contradiction",
          path: [...place, "windowSeconds"],
          message: `windows[${other}] has the same length. Each count has one limit.`,
          remedy: "Keep the one with the lower limit, or change the length.",
        });
      } else if (typeof limit === "number" && typeof before.limit === "number") {
        const [short, long] =
          before.windowSeconds < windowSeconds
            ? [
                { limit: before.limit, windowSeconds: before.windowSeconds, at: other },
                { limit, windowSeconds, at: index },
              ]
            : [
                { limit, windowSeconds, at: index },
                { limit: before.limit, windowSeconds: before.windowSeconds, at: other },
              ];
        const implied = short.limit * Math.ceil(long.windowSeconds / short.windowSeconds);
        const useless = long.limit <= short.limit ? short : implied <= long.limit ? long : undefined;
        if (useless === undefined) continue;
        const reason =
          useless === short
            ? `windows[${long.at}] is longer and accepts no more units`
            : `windows[${short.at}] accepts at most ${implied} units in that time`;
        addIssue(context, {
          code: "contradiction",
          path: ["windows", useless.at, "limit"],
          message: `This window never refuses a request: ${reason}.`,
          remedy: "Remove this window, or lower its limit.",
        });
      }
    }
  }
}

/** A cost above the highest limit would refuse every request. */
export function checkCost(
  settings: WindowSettings & { readonly cost: number | RateLimitCostFunction },
  context: Context,
): void {
  const { cost } = settings;
  if (typeof cost !== "number" || windowsOf(settings).every((window) => cost <= highestLimit(settings, window))) return;
  addIssue(context, {
    code: "contradiction",
    path: ["cost"],
    message: "The cost of one request exceeds the limit, so every request would be refused.",
    remedy: "Set the cost to at most the limit.",
  });
}

/** A function of this type. */
export function functionOf<Function>(): z.ZodOptional<z.ZodType<Function, Function>> {
  return (functionSchema as unknown as z.ZodType<Function, Function>).optional();
}

export const countSchema = z.enum(["all", "failures"]).optional();

/** A test for failures needs a limit that counts them. */
export function checkFailures(
  { count, isFailure }: { readonly count?: "all" | "failures" | undefined; readonly isFailure?: unknown },
  context: Context,
): void {
  if (isFailure === undefined || count === "failures") return;
  addIssue(context, {
    code: "contradiction",
    path: ["isFailure"],
    message: "isFailure tells failures from successes, but this limit counts all requests.",
    remedy: 'Add count: "failures", or remove isFailure.',
  });
}
