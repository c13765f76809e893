import { z } from "zod";
import { addIssue } from "./object.js";

/** Milliseconds in each unit that a setting may have. */
const MS_PER = { seconds: 1000, minutes: 60_000, days: 86_400_000 } as const;

type Unit = keyof typeof MS_PER;

const DAY_SECONDS = 86_400;

/** Browsers keep no cookie for longer (RFC 6265bis section 5.5), so no session lasts longer either. In seconds. */
export const MAX_SESSION_SECONDS = 400 * DAY_SECONDS;

/**
 * A whole number of seconds, minutes or days. When a number above the maximum would be right in milliseconds or
 * seconds, the message says what it is in the unit of the setting.
 */
export function durationSchema(unit: Unit, min: number, max: number): z.ZodInt {
  return z
    .int()
    .min(min)
    .max(max, {
      error: ({ input }) => {
        const meant = inUnit(Number(input), unit, max);
        return meant === undefined ? undefined : didYouMean(unit, meant);
      },
    });
}

/** What a number of milliseconds, or of seconds, is in this unit: a whole number in range, or `undefined`. */
function inUnit(value: number, unit: Unit, max: number): number | undefined {
  return [value / MS_PER[unit], (value * 1000) / MS_PER[unit]].find(
    (meant) => Number.isInteger(meant) && meant >= 1 && meant <= max,
  );
}

function didYouMean(unit: Unit, meant: number): string {
  return `This is in ${unit}; did you mean ${meant}?`;
}

/** The greatest number of seconds that a setting takes. */
export const MAX_SECONDS = 2 ** 31 - 1;

/** Says that a number is meant in seconds, although it is a multiple of 60,000. */
export const unitsSchema = z.literal("seconds").optional();

/**
 * Refuses a window that looks like milliseconds and has no `units: "seconds"` beside it. express-rate-limit's `windowMs`
 * is in milliseconds.
 */
export function checkWindow(
  { windowSeconds, units }: { readonly windowSeconds: number; readonly units?: "seconds" | undefined },
  context: z.core.$RefinementCtx,
): void {
  if (units === undefined) looksLikeMilliseconds("windowSeconds", windowSeconds, context);
}

/**
 * Adds an issue when a number of seconds is a multiple of 60,000, and so looks like milliseconds.
 *
 * @param max above it there is an issue already
 */
export function looksLikeMilliseconds(
  name: string,
  seconds: number,
  context: z.core.$RefinementCtx,
  max = MAX_SECONDS,
): void {
  if (seconds % 60_000 !== 0 || seconds > max) return;
  const meant = seconds / 1000;
  addIssue(context, {
    code: "wrong-value",
    path: [name],
    message: didYouMean("seconds", meant),
    remedy: `Write ${meant}. If you do mean ${seconds} seconds, add units: "seconds".`,
  });
}

/** What a time that is allowed, but is probably in another unit, says to the developer. */
interface DoubtfulTime {
  /** The path of the setting. */
  readonly setting: string;
  readonly value: number;
  readonly unit: Unit;
  /** What the value is in the unit of the setting, if it was meant in the other one. */
  readonly meant: number;
}

/**
 * Warns of a number of seconds that is probably in milliseconds: a multiple of 60,000. A whole number of days is not,
 * unless it is a whole number of hours in milliseconds.
 */
export function warnOfMilliseconds(setting: string, value: number): void {
  if (value % 60_000 !== 0 || (value % DAY_SECONDS === 0 && value % 3_600_000 !== 0)) return;
  warnOfUnit({ setting, value, unit: "seconds", meant: value / 1000 });
}

/** Warns of a number of minutes that is probably in seconds: more than a day, but no whole number of days. */
export function warnOfSeconds(setting: string, value: number): void {
  if (value < 1440 || value % 300 !== 0 || value % 1440 === 0) return;
  warnOfUnit({ setting, value, unit: "minutes", meant: value / 60 });
}

function warnOfUnit({ setting, value, unit, meant }: DoubtfulTime): void {
  const seconds = MS_PER[unit] / 1000;
  process.emitWarning(
    `${setting} is ${value} ${unit} (${inWords(value * seconds)}). If you meant ${inWords(meant * seconds)}, write ${meant}.`,
    { code: "PORTCULLIS_UNIT" },
  );
}

/** `900` → "15 minutes"; at most one digit after the point. */
function inWords(seconds: number): string {
  const [length, name] = (
    [
      [DAY_SECONDS, "days"],
      [3600, "hours"],
      [60, "minutes"],
    ] as const
  ).find(([unit]) => seconds >= 2 * unit) ?? [1, "seconds"];
  return `${Math.round((seconds / length) * 10) / 10} ${name}`;
}

const NOT_A_TIME =
  "Must be a time: a Date, a date (2027-01-31), a date with time and zone (2027-01-31T12:00:00Z), or milliseconds since the epoch";

/** A moment as a Date, as ISO 8601 text or in milliseconds since the epoch; kept as milliseconds. */
export const momentSchema = z
  .union(
    [z.date(), z.iso.date({ error: NOT_A_TIME }), z.iso.datetime({ offset: true, error: NOT_A_TIME }), z.number()],
    { error: NOT_A_TIME },
  )
  .transform((value) => new Date(value).getTime())
  .refine((ms) => Number.isFinite(ms), NOT_A_TIME);
