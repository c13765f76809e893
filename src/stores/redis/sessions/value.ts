import { createHash } from "node:crypto";
import type { SessionData } from "../../express-session.js";
import { detailsOf, factsOf, type SessionDetails } from "../../session-record.js";
import { SESSION_METADATA, type SessionMetadata } from "../../contracts.js";

/**
 * A session as one string. It begins with the times in fixed width, so that a touch overwrites them in place:
 * createdAt, seenAt, expiresAt (16 digits each), the owner's tag (22 characters), JSON.
 */
export const HEAD_LENGTH = 3 * 16 + 22;
/** Positions of seenAt and expiresAt. */
export const TIMES_AT = 16;
const NOBODY = ".".repeat(22);

export interface SessionHead {
  readonly createdAt: number;
  readonly seenAt: number;
  readonly expiresAt: number;
  /** `undefined` for a session without a principal. */
  readonly tag: string | undefined;
}

/**
 * Names a principal in keys without revealing it: 132 bits of SHA-256. As JSON, in which halves of surrogate pairs
 * differ.
 */
export function ownerTag(principalId: string): string {
  return createHash("sha256")
    .update("portcullis/owner\0")
    .update(JSON.stringify(principalId))
    .digest("base64url")
    .slice(0, 22);
}

export function headOf(data: SessionData, now: number): SessionHead {
  const { createdAt, seenAt, expiresAt, principalId } = factsOf(data, now);
  return { createdAt, seenAt, expiresAt, tag: principalId === undefined ? undefined : ownerTag(principalId) };
}

export function writeValue(head: SessionHead, data: SessionData): string {
  return `${digits(head.createdAt)}${writeTimes(head)}${head.tag ?? NOBODY}${JSON.stringify(data)}`;
}

/** The text that a touch writes. */
export function writeTimes({ seenAt, expiresAt }: SessionHead): string {
  return digits(seenAt) + digits(expiresAt);
}

/** `undefined` for a session that has ended, or for another value. */
export function readHead(value: string): SessionHead | undefined {
  if (value.length < HEAD_LENGTH || !/^\d{48}/.test(value)) return undefined;
  const tag = value.slice(48, HEAD_LENGTH);
  return {
    createdAt: Number(value.slice(0, 16)),
    seenAt: Number(value.slice(16, 32)),
    expiresAt: Number(value.slice(32, 48)),
    tag: tag === NOBODY ? undefined : tag,
  };
}

/**
 * `null` for a session that has ended, and for any other value (another program's, or damaged): an error would look
 * like an outage of the store, which affects every session.
 */
export function readValue(value: string): SessionData | null {
  const head = readHead(value);
  const data = head === undefined ? undefined : parsed(value.slice(HEAD_LENGTH));
  if (head === undefined || !isObject(data)) return null;
  const { cookie, [SESSION_METADATA]: metadata } = data;
  if ((cookie != null && !isObject(cookie)) || (metadata !== undefined && !isObject(metadata))) return null;
  // A touch changes these two without rewriting the data.
  if (cookie != null) cookie["expires"] = new Date(head.expiresAt);
  if (metadata !== undefined) data[SESSION_METADATA] = { ...metadata, seenAt: head.seenAt };
  return data as unknown as SessionData;
}

/** What a list shows of a session besides its times. */
export function readDetails(value: string): SessionDetails | undefined {
  const data = parsed(value.slice(HEAD_LENGTH));
  const stamp = isObject(data) ? data[SESSION_METADATA] : undefined;
  return isObject(stamp) ? detailsOf(stamp as unknown as SessionMetadata) : undefined;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Sixteen digits are enough for every safe integer; times before 1970 are written as 0. */
function digits(ms: number): string {
  return String(Math.max(0, Math.trunc(ms))).padStart(16, "0");
}
