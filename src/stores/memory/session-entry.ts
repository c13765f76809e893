import type { SessionData } from "../express-session.js";
import { SESSION_METADATA } from "../contracts.js";
import type { SessionDetails } from "../session-record.js";

/** One session in memory. The times that a touch changes are stored beside the data, which is not rewritten. */
export interface Entry {
  json: string;
  createdAt: number;
  seenAt: number;
  expiresAt: number;
  readonly principalId: string | undefined;
  /** What a list shows besides; `undefined` for most sessions. */
  readonly details: SessionDetails | undefined;
  /** When it was first written, on the monotonic clock. */
  readonly begunAt: number;
}

/** The session as it was saved, with the times of the last touch. */
export function revive(entry: Entry): SessionData {
  const data = JSON.parse(entry.json) as SessionData & Record<string, unknown>;
  data.cookie.expires = new Date(entry.expiresAt);
  const metadata: unknown = data[SESSION_METADATA];
  if (typeof metadata === "object" && metadata !== null) Object.assign(metadata, { seenAt: entry.seenAt });
  return data;
}
