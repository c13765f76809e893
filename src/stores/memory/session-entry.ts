import type { SessionData } from "../express-session.js";
import { SESSION_METADATA, type SessionMetadata } from "../session-record.js";

/** One session in memory. The times that a touch changes are stored beside the data, which is not rewritten. */
export interface Entry {
  json: string;
  createdAt: number;
  seenAt: number;
  expiresAt: number;
  readonly principalId: string | undefined;
  /** When it was first written, on the monotonic clock. */
  readonly begunAt: number;
}

export type Data = SessionData & { readonly [SESSION_METADATA]?: SessionMetadata };

/** Lifetime of a session whose cookie has no end (only when used without the session layer), in milliseconds. */
const DEFAULT_LIFE_MS = 86_400_000;

/** When a session ends according to its cookie, in milliseconds since the epoch. */
export function expiryOf(data: SessionData, now: number): number {
  const expires: unknown = data.cookie?.expires;
  const at =
    expires instanceof Date ? expires.getTime() : typeof expires === "string" ? Date.parse(expires) : Number.NaN;
  return Number.isFinite(at) ? at : now + DEFAULT_LIFE_MS;
}

/** The session as it was saved, with the times of the last touch. */
export function revive(entry: Entry): SessionData {
  const data = JSON.parse(entry.json) as Data & Record<string, unknown>;
  data.cookie.expires = new Date(entry.expiresAt);
  const stamp: unknown = data[SESSION_METADATA];
  if (typeof stamp === "object" && stamp !== null) Object.assign(stamp, { seenAt: entry.seenAt });
  return data;
}
