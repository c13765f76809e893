import { createHash } from "node:crypto";
import type { SessionData } from "../../express-session.js";
import { expiryOf, type Data } from "../../memory/session-entry.js";
import { SESSION_METADATA } from "../../session-record.js";

/**
 * A session as one string. It begins with the times in fixed width, so that a touch overwrites them in place and a
 * listing reads nothing else: createdAt, seenAt, expiresAt (16 digits each), the owner's tag (22 characters), JSON.
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
  const stamp = (data as Data)[SESSION_METADATA];
  return {
    createdAt: stamp?.createdAt ?? now,
    seenAt: stamp?.seenAt ?? now,
    expiresAt: expiryOf(data, now),
    tag: stamp?.principal == null ? undefined : ownerTag(stamp.principal.id),
  };
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
  const { cookie, [SESSION_METADATA]: stamp } = data;
  if ((cookie != null && !isObject(cookie)) || (stamp !== undefined && !isObject(stamp))) return null;
  // A touch changes these two without rewriting the data.
  if (cookie != null) cookie["expires"] = new Date(head.expiresAt);
  if (stamp !== undefined) data[SESSION_METADATA] = { ...stamp, seenAt: head.seenAt };
  return data as unknown as SessionData;
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
