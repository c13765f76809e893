import { type Authentication, latestOf, METHODS_FORM, NO_METHODS, provedMethods } from "../core/authentication.js";
import { ID_FORM, idText, isPrincipalId } from "../core/identity.js";
import { InvalidInputError } from "../core/portcullis-error.js";
import type { SessionMetadata } from "../stores/contracts.js";
import { authenticationOf } from "./metadata.js";
import { MAX_SESSION_SECONDS } from "../settings/durations.js";

/** A kind of data that Clear-Site-Data clears. */
export type SiteData = "cache" | "cookies" | "storage";

const SITE_DATA: readonly SiteData[] = ["cache", "cookies", "storage"];

/** What a log-in says of its session. */
interface OwnSettings {
  readonly actor?: { readonly id: string };
  readonly label?: string;
  readonly maxAgeMs?: number;
}

/** Checks what `logIn` was told of the session. @throws InvalidInputError when one of them is malformed */
export function checkedOwn(
  { actor, label }: { readonly actor?: unknown; readonly label?: unknown },
  { maxAge }: { readonly maxAge?: unknown },
): OwnSettings {
  return {
    ...(actor === undefined ? {} : { actor: checkedActor(actor) }),
    ...(label === undefined ? {} : { label: checkedLabel(label) }),
    ...(maxAge === undefined ? {} : { maxAgeMs: checkedSeconds(maxAge) * 1000 }),
  };
}

/**
 * How and when the user of a log-in was authenticated: what the app says that the user proved, otherwise the log-in
 * itself, which proves nothing in particular. When someone begins or ends to act as another person, nothing is proved:
 * what the session says of that someone goes on.
 *
 * @param before the metadata of the session that the log-in replaces
 * @throws InvalidInputError when `methods` is malformed
 */
export function logInAuthentication(
  methods: unknown,
  who: { readonly id: string; readonly actor?: { readonly id: string } | undefined },
  before: SessionMetadata | undefined,
  now: number,
): Authentication {
  if (methods === undefined) {
    const known = before?.principal;
    const isSamePerson = known != null && personOf(known) === personOf(who);
    if (isSamePerson && known.id !== who.id) return authenticationOf(known, before?.createdAt ?? now);
    return { authenticatedAt: now, methods: NO_METHODS };
  }
  const proved = provedMethods(methods, now);
  if (proved === undefined) throw new InvalidInputError(`logIn: ${METHODS_FORM}.`);
  return { authenticatedAt: latestOf(proved, now), methods: proved };
}

/** The id of the person at the other end. */
function personOf({
  id,
  actor,
}: {
  readonly id: string;
  readonly actor?: { readonly id: string } | undefined;
}): string {
  return actor?.id ?? id;
}

function checkedActor(actor: unknown): { readonly id: string } {
  const id = typeof actor === "object" && actor !== null && "id" in actor ? idText(actor.id) : undefined;
  if (!isPrincipalId(id)) throw new InvalidInputError(`logIn: actor must be { id }, and its id must be ${ID_FORM}.`);
  return { id };
}

function checkedLabel(label: unknown): string {
  // The form of an id: it stands in one line of a list or a log.
  if (isPrincipalId(label)) return label;
  throw new InvalidInputError(
    "logIn: label must be a string of 1 to 255 characters without control characters or lone surrogates.",
  );
}

function checkedSeconds(maxAge: unknown): number {
  if (Number.isSafeInteger(maxAge) && (maxAge as number) >= 1 && (maxAge as number) <= MAX_SESSION_SECONDS)
    return maxAge as number;
  const meant = (maxAge as number) / 1000;
  const hint = Number.isSafeInteger(meant) && meant > MAX_SESSION_SECONDS / 1000 ? `; did you mean ${meant}?` : ".";
  throw new InvalidInputError(
    `logIn: maxAge must be a whole number from 1 to ${MAX_SESSION_SECONDS} (400 days). It is in seconds${hint}`,
  );
}

/**
 * The value of Clear-Site-Data, or `undefined` for none.
 *
 * @throws InvalidInputError when it is neither a boolean nor a list of kinds of data
 */
export function siteDataOf(clearSiteData: unknown = true): string | undefined {
  if (clearSiteData === false) return undefined;
  const kinds: unknown = clearSiteData === true ? SITE_DATA : clearSiteData;
  if (!Array.isArray(kinds) || !kinds.every((kind) => SITE_DATA.includes(kind as SiteData)))
    throw new InvalidInputError(
      'logOut: clearSiteData must be true, false, or a list of "cache", "cookies", "storage".',
    );
  return kinds.length === 0 ? undefined : kinds.map((kind) => `"${String(kind)}"`).join(", ");
}
