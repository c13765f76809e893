import type { Request } from "express";
import { allOf, type MaybePromise } from "../core/maybe-promise.js";
import type { WindowPolicy } from "../stores/contracts.js";
import { type LimitHeaders, limitText } from "./decide.js";
import { limitOf } from "./limit-of.js";
import { highestLimit, type LimitWindow, maxLimitOf, type WindowSettings, windowsOf } from "./limit-settings.js";
import type { HeaderForm } from "./header-forms.js";
import type { Announce } from "./mistakes.js";

/** One window of a limit with its number of units, and what goes into headers. */
export interface Count {
  readonly policy: WindowPolicy;
  readonly text: LimitHeaders;
}

/** The windows of a limit. */
export interface Counts {
  /** All of them, when their numbers do not depend on the request. */
  readonly fixed: readonly Count[] | undefined;
  /** What names the windows in the store, whatever their numbers are. */
  readonly policies: readonly WindowPolicy[];
  /** All of them, with the numbers for this request. */
  of(req: Request): MaybePromise<readonly Count[]>;
}

/** What all windows of a limit have in common. */
export interface CountNames {
  /** Name in the store. */
  readonly storeName: string;
  /** Name in headers. */
  readonly name: string;
  readonly isMain?: true | undefined;
  readonly forms: HeaderForm | false | readonly HeaderForm[];
}

/** Numbers whose texts are kept, for each window; a service has few plans. */
const REMEMBERED = 256;

/** The windows that the settings of a limit describe. */
export function countsOf(names: CountNames, settings: WindowSettings, timeoutMs: number, announce: Announce): Counts {
  const windows = windowsOf(settings);
  const isOne = windows.length === 1;
  const made = windows.map((window) => {
    // A count belongs to a name and a window, so each of several windows has a name of its own.
    const storeName = isOne ? names.storeName : `${names.storeName}:${window.windowSeconds}s`;
    return countOf({ ...names, storeName }, settings, window, timeoutMs, announce);
  });
  const fixed = made.map(({ fixed: count }) => count).filter((count) => count !== undefined);
  return {
    fixed: fixed.length === made.length ? Object.freeze(fixed) : undefined,
    policies: made.map(({ policy }) => policy),
    of(req) {
      return allOf(made.map((one) => one.of(req)));
    },
  };
}

interface OneCount {
  readonly fixed: Count | undefined;
  readonly policy: WindowPolicy;
  of(req: Request): MaybePromise<Count>;
}

function countOf(
  { storeName, name, isMain, forms }: CountNames,
  settings: WindowSettings,
  window: LimitWindow,
  timeoutMs: number,
  announce: Announce,
): OneCount {
  const windowMs = window.windowSeconds * 1000;
  const highest = highestLimit(settings, window);
  const make = (limit: number): Count => {
    const policy = typeof window.limit === "number" ? { limit } : { limit, maxLimit: highest };
    return Object.freeze({
      policy: Object.freeze({ name: storeName, windowMs, isMain, ...policy }),
      text: limitText(forms, name, limit, windowMs),
    });
  };
  const top = make(highest);
  if (typeof window.limit === "number") return { fixed: top, policy: top.policy, of: () => top };
  const number = limitOf(window.limit, maxLimitOf(settings), timeoutMs, announce);
  const known = new Map<number, Count>();
  const withLimit = (limit: number): Count => {
    const before = known.get(limit);
    if (before !== undefined) return before;
    const count = make(limit);
    if (known.size >= REMEMBERED) known.clear();
    known.set(limit, count);
    return count;
  };
  return {
    fixed: undefined,
    policy: top.policy,
    of(req) {
      const limit = number(req);
      return typeof limit === "number" ? withLimit(limit) : limit.then(withLimit);
    },
  };
}
