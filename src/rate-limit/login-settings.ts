import type { Request } from "express";
import { z } from "zod";
import { modeSchema, secondsSchema } from "../settings/common.js";
import { checkWindow, unitsSchema } from "../settings/durations.js";
import { selectSchema, settingsObject, settingsObjectLike } from "../settings/object.js";
import { PEER_NAMES } from "../settings/peer-names.js";
import { functionOf, MOST_UNITS } from "./limit-settings.js";

const attemptsSchema = z.int().min(1).max(MOST_UNITS);

const runSchema = selectSchema<number | false, number | false>((value) =>
  value === false ? z.literal(false) : z.int().min(1).max(100),
);

const addressSchema = settingsObjectLike(PEER_NAMES["express-rate-limit"], {
  /** Number of attempts without success that are accepted in a window: a whole number, at least 1. Default: `20`. */
  limit: attemptsSchema.default(20),
  /** Length of the window, in seconds. A multiple of 60,000 needs `units` beside it. Default: `300`. */
  windowSeconds: secondsSchema.default(300),
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
}).superRefine(checkWindow);

const accountAndAddressSchema = settingsObjectLike(PEER_NAMES["express-rate-limit"], {
  /** Number of attempts without success that are accepted in a window: a whole number, at least 1. Default: `10`. */
  limit: attemptsSchema.default(10),
  /** Length of the window, in seconds. A multiple of 60,000 needs `units` beside it. Default: `3600`. */
  windowSeconds: secondsSchema.default(3600),
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
}).superRefine(checkWindow);

const accountSchema = settingsObjectLike(PEER_NAMES["express-rate-limit"], {
  /** Number of attempts without success that are accepted in a window: a whole number, at least 1. Default: `100`. */
  limit: attemptsSchema.default(100),
  /** Length of the window, in seconds. A multiple of 60,000 needs `units` beside it. Default: `3600`. */
  windowSeconds: secondsSchema.default(3600),
  /** `"seconds"` says that `windowSeconds` is not meant in milliseconds, although it looks so. Default: none. */
  units: unitsSchema,
}).superRefine(checkWindow);

/** The schema of `LoginLimitSettings`. */
export const loginLimitsSchema = settingsObject({
  /**
   * Attempts from one address, for whatever account: against credential stuffing. `{ limit, windowSeconds }`. Default:
   * 20 attempts in 300 seconds.
   */
  address: addressSchema.prefault({}),
  /**
   * Attempts from one address for one account: against guessing. `{ limit, windowSeconds }`. Default: 10 attempts in
   * 3600 seconds.
   */
  accountAndAddress: accountAndAddressSchema.prefault({}),
  /**
   * Attempts for one account, from whatever address: against guessing from many addresses. Strangers can use it up, and
   * then its owner is refused too. `{ limit, windowSeconds }`. Default: 100 attempts in 3600 seconds.
   */
  account: accountSchema.prefault({}),
  /**
   * Number of failures for one account without a success in between, in 24 hours, after which it is refused: 1 to 100, or
   * `false`. An address that has logged in to the account within 30 days has a number of its own, so that strangers do
   * not lock the owner out there. Default: `50`.
   */
  maxConsecutiveFailures: runSchema.default(50),
  /** `report` announces an attempt over a limit as an event and lets the request pass. Default: `"enforce"`. */
  mode: modeSchema,
});

/** Returns the account that a log-in request is for, as the app looks it up: a user name or an e-mail address. */
export type LoginAccountFunction = (req: Request) => string;

/** The schema of `LoginGuardSettings`. */
export const loginGuardSchema = settingsObject({
  /** Returns the account that the request is for: the text by which the app looks it up. Required. */
  account: functionOf<LoginAccountFunction>().unwrap(),
});

/** Settings of the limits of log-ins: `loginLimits` of `applySecurity`. */
export interface LoginLimitSettings extends z.input<typeof loginLimitsSchema> {}
/** Settings of the limits of log-ins with every default filled in. */
export interface ResolvedLoginLimitSettings extends z.output<typeof loginLimitsSchema> {}
/** Settings of one `loginGuard`. */
export interface LoginGuardSettings extends z.input<typeof loginGuardSchema> {}
