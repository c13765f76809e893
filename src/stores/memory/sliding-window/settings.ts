import { z } from "zod";
import { type Clock, systemClock } from "../../../core/clock.js";
import { settingsObject } from "../../../settings/object.js";

/** Clients that a store tracks by default. */
export const DEFAULT_MAX_CLIENTS = 100_000;

/**
 * How many clients of the main limit, and how many of all other limits of a store together, have a log of their own.
 * With an address as key at most 200 bytes each, and 8 per recorded request.
 */
export const maxClientsSchema = z.int().min(1).max(10_000_000);

const clockSchema = z.custom<Clock>(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    typeof (value as Partial<Clock>).now === "function" &&
    typeof (value as Partial<Clock>).monotonic === "function",
  {
    error: "Must be a Clock with now() and monotonic()",
    params: { remedy: "Pass a ManualClock from portcullis/testing, or leave it out." },
  },
);

export const windowStoreSchema = settingsObject({
  /** Clients with a log of their own; beyond that number, new clients share overflow windows. */
  maxClients: maxClientsSchema.default(DEFAULT_MAX_CLIENTS),
  /** Where time comes from. */
  clock: clockSchema.default(systemClock),
  /**
   * As a store of express-rate-limit: the limit to use when that package's `limit` is a function or when the store is
   * used without that package.
   */
  limit: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional(),
  /**
   * As a store of express-rate-limit: the window to use, in milliseconds, when the store is used without that package.
   */
  windowMs: z
    .number()
    .min(1)
    .max(2 ** 41)
    .optional(),
});

/** Settings of a `SlidingWindowStore`. */
export interface SlidingWindowStoreSettings extends z.input<typeof windowStoreSchema> {}
