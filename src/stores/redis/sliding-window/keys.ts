import { createHash } from "node:crypto";
import type { WindowPolicy } from "../../contracts.js";

/** Texts longer than this, in characters, are stored as a digest, so that a client costs bounded memory. */
const MAX_LENGTH = 256;

const PLAIN = /^[!-$&-z|~]{1,256}$/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * A text as part of a Redis key: without braces, never empty, and different for different texts. A lone surrogate has
 * no UTF-8 form: Redis would receive the same replacement character for all of them.
 */
export function keyPart(text: string): string {
  if (PLAIN.test(text)) return text;
  if (text === "") return "%";
  if (text.length > MAX_LENGTH || LONE_SURROGATE.test(text))
    return `%sha256%${createHash("sha256").update(text, "utf16le").digest("base64url")}`;
  return text.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}

/** A policy in the form that the scripts need, computed once. */
export interface PreparedPolicy {
  readonly name: string;
  readonly limit: number;
  /** The highest limit that shares this count: it decides the form of the records. */
  readonly maxLimit: number;
  readonly windowMs: number;
  /** The part of a key after the hash tag. */
  readonly suffix: string;
  /** How long a key lives without a new record, in milliseconds. */
  readonly life: number;
  /** Microseconds. */
  readonly window: number;
  /** Microseconds. */
  readonly tick: number;
  /** The argument for a request that costs 1. */
  readonly argument: string;
  /** The argument for any other request: what comes before the cost, and what comes after it. */
  readonly longArgument: readonly [string, string];
}

/** Offsets have 32 bits; half of them leave room for records that are not removed yet. */
const MOST_TICKS = 2 ** 31;

/** The most that a record's two bytes can hold; the script uses the same number. */
const MOST_NARROW_UNITS = 65_535;

/** @param maxRecords for a limit above it, ticks are so long that no more distinct times than this fit in a window */
export function preparePolicy(policy: WindowPolicy, maxRecords: number): PreparedPolicy {
  const { name, limit, windowMs, maxLimit = limit } = policy;
  const window = Math.ceil(windowMs * 1000);
  const tick = Math.max(1, Math.ceil(window / MOST_TICKS), maxLimit > maxRecords ? Math.ceil(window / maxRecords) : 1);
  const isWide = maxLimit > MOST_NARROW_UNITS;
  // Until its newest record has left the window.
  const life = Math.ceil((window + 2 * tick) / 1000) + 1;
  // The minus tells the script that more fields follow.
  const longArgument = [`${limit} -${life} ${window} ${tick} `, isWide ? " w" : ""] as const;
  const isShort = tick === 1 && (life - 2) * 1000 === window && isWide === limit > MOST_NARROW_UNITS;
  return Object.freeze({
    name,
    limit,
    maxLimit,
    windowMs,
    // Different names keep logs of different versions, ticks or records apart, because none can be read as another, and
    // logs of different windows, because a process with a shorter one would drop what another still counts.
    suffix: `}${keyPart(name)}%3%${window.toString(36)}${tick === 1 ? "" : `%t${tick}`}${isWide ? "%w" : ""}`,
    life,
    window,
    tick,
    // The script computes the window from the life where the result is the same.
    argument: isShort ? `${limit} ${life}` : longArgument.join("1"),
    longArgument,
  });
}

/**
 * A key's limit and this request's cost in one text, because each further argument of a script costs client and server
 * time.
 */
export function keyArgument(policy: PreparedPolicy, cost: number): string {
  return cost === 1 ? policy.argument : policy.longArgument.join(String(cost));
}

/** The client is the hash tag, so all limits of one client are in one slot of a Redis Cluster. */
export function windowKey(prefix: string, key: string, policy: Pick<PreparedPolicy, "suffix">): string {
  return `${prefix}{${keyPart(key)}${policy.suffix}`;
}

/** The mark of a log's last reset, in the slot of the log. No name ends like this one. */
export function resetKey(log: string): string {
  return `${log}%r`;
}
