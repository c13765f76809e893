import type { SessionData } from "./express-session.js";
import { type PrincipalSession, SESSION_METADATA, type SessionMetadata } from "./contracts.js";

/** A session's data as the session layer writes it. */
type SessionRecord = SessionData & { readonly [SESSION_METADATA]?: SessionMetadata };

/** What a list of sessions shows of one besides its times, from its metadata. */
export type SessionDetails = Pick<PrincipalSession, "label" | "actor" | "maxAgeMs">;

/** What a store reads from a session's data. Times are milliseconds since the epoch. */
export interface RecordFacts {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly expiresAt: number;
  /** `undefined` for a session without a principal. */
  readonly principalId: string | undefined;
  /** What a list shows besides; `undefined` for most sessions. */
  readonly details: SessionDetails | undefined;
}

/** Lifetime of a session whose cookie has no end (only when used without the session layer), in milliseconds. */
const DEFAULT_LIFE_MS = 86_400_000;

/** @param now used for the times of a session that the session layer did not write */
export function factsOf(data: SessionData, now: number): RecordFacts {
  const metadata = (data as SessionRecord)[SESSION_METADATA];
  return {
    createdAt: metadata?.createdAt ?? now,
    seenAt: metadata?.seenAt ?? now,
    expiresAt: expiryOf(data, now),
    principalId: metadata?.principal?.id,
    details: detailsOf(metadata),
  };
}

/** `undefined` when there is nothing to show. */
export function detailsOf(metadata: SessionMetadata | undefined): SessionDetails | undefined {
  const { label, maxAgeMs, principal } = metadata ?? {};
  const actor = principal?.actor;
  if (label === undefined && maxAgeMs === undefined && actor === undefined) return undefined;
  return {
    ...(label === undefined ? {} : { label }),
    ...(actor === undefined ? {} : { actor }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
  };
}

/** When a session ends according to its cookie. */
function expiryOf(data: SessionData, now: number): number {
  const expires: unknown = data.cookie?.expires;
  const at =
    expires instanceof Date ? expires.getTime() : typeof expires === "string" ? Date.parse(expires) : Number.NaN;
  return Number.isFinite(at) ? at : now + DEFAULT_LIFE_MS;
}
