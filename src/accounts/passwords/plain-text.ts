/** Most bytes of any password, whatever the settings say. */
export const MOST_BYTES = 1024;

/** A password that can be worked with. */
export interface PlainPassword {
  /** In Unicode normalisation form NFKC: what is counted, compared and hashed. */
  readonly text: string;
  /** As it was typed: what other systems have hashed. */
  readonly typed: string;
}

/**
 * Normalises a password, once for all that follows (NIST SP 800-63B-4 3.1.1.2). Text that is too long costs no work; half
 * a surrogate pair has no bytes of its own, so that different passwords would be one. Pure.
 *
 * @param mostBytes in UTF-8, after normalisation
 */
export function readPassword(typed: string, mostBytes: number = MOST_BYTES): PlainPassword | "too-long" | "unreadable" {
  // No character becomes shorter by more than a third.
  if (typed.length > 2 * mostBytes) return "too-long";
  if (/\p{Surrogate}/u.test(typed)) return "unreadable";
  const text = typed.normalize("NFKC");
  return Buffer.byteLength(text) > mostBytes ? "too-long" : { text, typed };
}
