import { createHash } from "node:crypto";
import type { WindowPolicy } from "../../contracts.js";

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
  if (text.length > MAX_LENGTH || LONE_SURROGATE.test(text))
    return `%sha256%${createHash("sha256").update(text, "utf16le").digest("base64url")}`;
  return text.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}

/** A policy as the scripts want it, worked out once. */
export interface PreparedPolicy {
  readonly name: string;
  readonly limit: number;
  readonly windowMs: number;
  /** What follows the hash tag in a key. */
  readonly suffix: string;
  /** Microseconds. */
  readonly window: number;
  /** Microseconds. */
  readonly tick: number;
  /** The argument for a request that costs 1. */
  readonly argument: string;
  /** What comes before the cost in the argument for any other. */
  readonly longArgument: string;
}

/** Offsets have 32 bits; half of them leave room for records that are not removed yet. */
const MOST_TICKS = 2 ** 31;

/** What a record's two bytes can hold; the script has the same number. */
const MOST_NARROW_UNITS = 65_535;

/** @param maxRecords a limit above it gets ticks so long that no more distinct times than this fit in a window */
export function preparePolicy({ name, limit, windowMs }: WindowPolicy, maxRecords: number): PreparedPolicy {
  const window = Math.ceil(windowMs * 1000);
  const tick = Math.max(1, Math.ceil(window / MOST_TICKS), limit > maxRecords ? Math.ceil(window / maxRecords) : 1);
  // How long a key lives without a new record, in milliseconds: until its newest record has left the window.
  const life = Math.ceil((window + 2 * tick) / 1000) + 1;
  // The minus tells the script that more follows.
  const longArgument = `${limit} -${life} ${window} ${tick} `;
  return Object.freeze({
    name,
    limit,
    windowMs,
    // Logs of different versions, ticks or records cannot be read as one another.
    suffix: `}${keyPart(name)}%2${tick === 1 ? "" : `%t${tick}`}${limit > MOST_NARROW_UNITS ? "%w" : ""}`,
    window,
    tick,
    // The script works out the window from the life where that gives the same.
    argument: tick === 1 && (life - 2) * 1000 === window ? `${limit} ${life}` : `${longArgument}1`,
    longArgument,
  });
}

/** A key's limit and this request's cost, in one text: each further argument of a script is paid for by client and server. */
export function keyArgument(policy: PreparedPolicy, cost: number): string {
  return cost === 1 ? policy.argument : `${policy.longArgument}${cost}`;
}

/** The client is the hash tag: all limits of one client are in one slot of a Redis Cluster. */
export function windowKey(prefix: string, key: string, policy: Pick<PreparedPolicy, "suffix">): string {
  return `${prefix}{${keyPart(key)}${policy.suffix}`;
}
