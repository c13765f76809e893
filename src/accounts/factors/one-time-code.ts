import { createHmac, timingSafeEqual } from "node:crypto";

/** The hash functions of RFC 6238. Authenticator apps know `sha1` for certain, so enrolments use it. */
export type CodeHash = "sha1" | "sha256" | "sha512";

/** Seconds of a time step, and digits of a code: what every authenticator app assumes. */
export const STEP_SECONDS = 30;
export const DIGITS = 6;

/** HOTP (RFC 4226 section 5.3): the code of a counter. */
export function counterCode(secret: Buffer, counter: number, digits = DIGITS, hash: CodeHash = "sha1"): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const digest = createHmac(hash, secret).update(message).digest();
  const offset = digest.readUInt8(digest.length - 1) & 0x0f;
  const number = (digest.readUInt32BE(offset) & 0x7fff_ffff) % 10 ** digits;
  return String(number).padStart(digits, "0");
}

/** The time step of a moment (RFC 6238 section 4.2). */
export function stepAt(now: number): number {
  return Math.floor(now / 1000 / STEP_SECONDS);
}

/**
 * The step of which this is the code: that of the moment, the one before or the one after (RFC 6238 section 5.2). All of
 * them are computed and compared, so that the time tells nothing.
 *
 * @param code six digits
 * @returns `undefined` when it is the code of none of them
 */
export function matchingStep(secret: Buffer, code: string, now: number): number | undefined {
  const given = Buffer.from(code);
  const current = stepAt(now);
  let found: number | undefined;
  for (const step of [current - 1, current, current + 1]) {
    if (step < 0) continue;
    const right = Buffer.from(counterCode(secret, step));
    if (right.length === given.length && timingSafeEqual(right, given)) found = step;
  }
  return found;
}

/**
 * Reads a code as it was typed: spaces and hyphens between the digits count for nothing. Digits of other scripts are
 * refused: no app shows them, and a code has one spelling.
 *
 * @returns `undefined` for anything but six digits
 */
export function readCode(typed: string): string | undefined {
  const digits = typed.replace(/[ \-\u00a0\u202f]/g, "");
  return /^[0-9]{6}$/.test(digits) ? digits : undefined;
}
