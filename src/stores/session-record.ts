import type session from "express-session";
import { SESSION_METADATA, type SessionMetadata } from "./contracts.js";

/** A session's data as the session layer writes it. */
type SessionRecord = session.SessionData & { readonly [SESSION_METADATA]?: SessionMetadata };

/** What a store reads from a session's data. Times are milliseconds since the epoch. */
export interface RecordFacts {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly expiresAt: number;
  /** `undefined` for a session without a principal. */
  readonly principalId: string | undefined;
}

/** Lifetime of a session whose cookie has no end (only when used without the session layer), in milliseconds. */
const DEFAULT_LIFE_MS = 86_400_000;

/** @param now used for the times of a session that the session layer did not write */
export function factsOf(data: session.SessionData, now: number): RecordFacts {
  const metadata = (data as SessionRecord)[SESSION_METADATA];
  return {
    createdAt: metadata?.createdAt ?? now,
    seenAt: metadata?.seenAt ?? now,
    expiresAt: expiryOf(data, now),
    principalId: metadata?.principal?.id,
  };
}

/** When a session ends according to its cookie. */
function expiryOf(data: session.SessionData, now: number): number {
  const expires: unknown = data.cookie?.expires;
  const at =
    expires instanceof Date ? expires.getTime() : typeof expires === "string" ? Date.parse(expires) : Number.NaN;
  return Number.isFinite(at) ? at : now + DEFAULT_LIFE_MS;
}
