import { MANAGE_SCOPE, missingScopes } from "../../core/scopes.js";
import { stateProblem } from "../decide.js";
import { type ApiKeyReportInput, readInput, reportSchema } from "../keys/input.js";
import type { ApiKeyRecord } from "../keys/records.js";
import type { KeyListing } from "./listing.js";

const DAY_MS = 86_400_000;
/** Pages of keys that one report looks at for over-wide ones. */
const PAGES = 10;
const PAGE = 100;

/** Why a key is over-wide. */
export type OverWideReason =
  /** It has a scope that ends in `:*`, and never expires. */
  | "wildcard-without-expiry"
  /** It may manage keys, and never expires. */
  | "manages-keys-without-expiry"
  /** It may manage keys, from any address. */
  | "manages-keys-from-anywhere";

/** Keys that an administrator should look at. */
export interface ApiKeyReport {
  /** Keys that were not used for long, the longest unused first; more of them with `listAll({ unusedSince })`. */
  readonly unused: readonly ApiKeyRecord[];
  /** Keys that expire soon, the first to expire first; more of them with `listAll({ expiresBefore })`. */
  readonly expiring: readonly ApiKeyRecord[];
  /** Keys in force that may do more than most should, among the thousand that this report has looked at. */
  readonly overWide: readonly { readonly record: ApiKeyRecord; readonly reasons: readonly OverWideReason[] }[];
  /** Pass it as `after` to look for over-wide keys among the next thousand; null when all keys have been looked at. */
  readonly next: string | null;
}

/** Makes the report: at most twelve pages of keys. @param now milliseconds since the epoch */
export async function reportOn(listing: KeyListing, input: ApiKeyReportInput, now: number): Promise<ApiKeyReport> {
  const { unusedDays, expiringDays, limit, after } = readInput(reportSchema, input);
  const unused = await listing.page({ unusedSince: now - unusedDays * DAY_MS, limit });
  const expiring = await listing.page({ expiresBefore: now + expiringDays * DAY_MS, limit });
  const overWide: { record: ApiKeyRecord; reasons: OverWideReason[] }[] = [];
  let next: string | ApiKeyRecord | null | undefined = after;
  for (let count = 0; count < PAGES && next !== null; count += 1) {
    const page = await listing.page({ limit: PAGE, ...(next === undefined ? {} : { after: next }) });
    for (const record of page) {
      const reasons = stateProblem(record, now) === undefined ? overWideReasons(record) : [];
      if (reasons.length > 0) overWide.push({ record, reasons });
    }
    next = page.length < PAGE ? null : (page.at(-1) ?? null);
  }
  return { unused, expiring, overWide, next: typeof next === "object" ? (next?.id ?? null) : (next ?? null) };
}

/** Why a key is over-wide; empty when it is not. */
export function overWideReasons({ scopes, expiresAt, allow }: ApiKeyRecord): OverWideReason[] {
  const manages = missingScopes(scopes, [MANAGE_SCOPE]).length === 0;
  return [
    ...(expiresAt === null && scopes.some((scope) => scope.endsWith(":*"))
      ? (["wildcard-without-expiry"] as const)
      : []),
    ...(expiresAt === null && manages ? (["manages-keys-without-expiry"] as const) : []),
    ...(allow.length === 0 && manages ? (["manages-keys-from-anywhere"] as const) : []),
  ];
}
