import { createHash } from "node:crypto";
import type { WindowPolicy } from "../contracts.js";

/** Texts longer than this, in characters, are kept as a digest, so that a client costs bounded memory. */
const MAX_LENGTH = 256;

const PLAIN = /^[!-$&-z|~]{1,256}$/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * A text as part of a Redis key: without braces, never empty, and no two texts the same. A lone surrogate has no UTF-8
 * form: Redis would be sent the same replacement character for all of them.
 */
export function keyPart(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text === "") return "%";
  if (text.length > MAX_LENGTH || LONE_SURROGATE.test(text)) return `%sha256%${createHash("sha256").update(text, "utf16le").digest("base64url")}`;
  return text.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}

/** A policy as the script wants it, worked out once. */
export interface PreparedPolicy {
  readonly name: string;
  readonly limit: number;
  readonly windowMs: number;
  /** What follows the hash tag in a key. */
  readonly suffix: string;
  readonly limitArgument: string;
  /** Microseconds. */
  readonly windowArgument: string;
  /** Microseconds. */
  readonly tickArgument: string;
  /** How long a key lives without a new record, in milliseconds: until its newest record has left the window. */
  readonly lifeArgument: string;
}

/** Offsets have 32 bits; half of them leave room for records that are not removed yet. */
const MOST_TICKS = 2 ** 31;

/** What a record's two bytes can hold; the script has the same number. */
const MOST_NARROW_UNITS = 65_535;

/** @param maxRecords a limit above it gets ticks so long that no more distinct times than this fit in a window */
export function preparePolicy({ name, limit, windowMs }: WindowPolicy, maxRecords: number): PreparedPolicy {
  const window = Math.ceil(windowMs * 1000);
  const tick = Math.max(1, Math.ceil(window / MOST_TICKS), limit > maxRecords ? Math.ceil(window / maxRecords) : 1);
  return Object.freeze({
    name,
    limit,
    windowMs,
    // Logs of different ticks or records cannot be read as one another.
    suffix: `}${keyPart(name)}${tick === 1 ? "" : `%t${tick}`}${limit > MOST_NARROW_UNITS ? "%w" : ""}`,
    limitArgument: String(limit),
    windowArgument: String(window),
    tickArgument: String(tick),
    lifeArgument: String(Math.ceil((window + 2 * tick) / 1000) + 1),
  });
}

/** The client is the hash tag: all limits of one client are in one slot of a Redis Cluster. */
export function windowKey(prefix: string, key: string, policy: Pick<PreparedPolicy, "suffix">): string {
  return `${prefix}{${keyPart(key)}${policy.suffix}`;
}
