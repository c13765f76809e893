import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { z } from "zod";
import { Secret } from "../core/secret.js";
import { addIssue, selectSchema } from "./object.js";

/** RFC 7518 section 3.2 requires a key of at least the hash's size; the same minimum applies to HKDF's input. */
const MIN_SECRET_BYTES = 32;

/**
 * Short words occur in random base64 by chance (one secret in 13 000 contained `todo` or `xxxx`), so they must stand
 * alone or be longer.
 */
const PLACEHOLDER =
  /change[-_ ]?me|changeit|secret[-_ ]?key|your[-_ ]?secret|my[-_ ]?secret|super[-_ ]?secret|placeholder|example|insecure|default|password|replace[-_ ]?(me|this)|keyboard ?cat|not[-_ ]?secret|(?<![a-z0-9])todo(?![a-z0-9])|x{8}/i;

/** Why a secret is too weak to sign with, or `undefined` when it is strong enough. */
export function secretWeakness(secret: string): "empty" | "too-short" | "placeholder" | "low-entropy" | undefined {
  if (secret === "") return "empty";
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) return "too-short";
  if (PLACEHOLDER.test(secret)) return "placeholder";
  if (shannonBits(secret) < 80 || isRepetition(secret)) return "low-entropy";
  return undefined;
}

/** Shannon entropy of the characters times their number: an upper bound of the entropy of the text. */
function shannonBits(text: string): number {
  const counts = new Map<string, number>();
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= count * Math.log2(count / text.length);
  return bits;
}

/** Whether the text repeats a short piece ("abcabcabc…"), or is a run of the alphabet or digits. */
function isRepetition(text: string): boolean {
  for (let size = 1; size <= text.length / 2; size += 1) {
    if (
      text ===
      text
        .slice(0, size)
        .repeat(Math.ceil(text.length / size))
        .slice(0, text.length)
    )
      return true;
  }
  let steps = 0;
  for (let i = 1; i < text.length; i += 1) if (text.charCodeAt(i) - text.charCodeAt(i - 1) === 1) steps += 1;
  return steps > text.length * 0.7;
}

const WEAKNESS_MESSAGES = {
  empty: "The secret is empty; the environment variable that it comes from is probably not set.",
  "too-short": `The secret is shorter than ${MIN_SECRET_BYTES} bytes.`,
  placeholder: "The secret looks like a placeholder from an example.",
  "low-entropy": "The secret is too regular to be random.",
} as const;

/** How to generate a secret, for remedies. */
export const GENERATE_SECRET =
  "Generate one with: node -p \"require('node:crypto').randomBytes(32).toString('base64url')\"";

/**
 * One secret: a string or a `Secret`, checked by `secretWeakness`, stored as a `Secret` so that it cannot be printed.
 */
export const secretSchema: z.ZodType<Secret, string | Secret> = z
  .union([z.string(), z.instanceof(Secret)], { error: "This must be a string." })
  .transform((value) => (typeof value === "string" ? new Secret(value) : value))
  .superRefine((value, context) => {
    const found = secretWeakness(value.reveal());
    if (found !== undefined)
      addIssue(context, { code: "weak-secret", message: WEAKNESS_MESSAGES[found], remedy: GENERATE_SECRET });
  });

/** A secret or a list of them: the first signs, all verify, so that a secret can be rotated. */
export const secretRingSchema: z.ZodType<readonly Secret[], string | Secret | readonly (string | Secret)[]> =
  selectSchema((value) =>
    Array.isArray(value)
      ? z.array(secretSchema).min(1, "The list is empty.")
      : secretSchema.transform((secret) => [secret]),
  );

const formerSecretSchema: z.ZodType<Secret, string | Secret> = z
  .union([z.string().min(1, "The secret is empty."), z.instanceof(Secret)], {
    error: "This must be a string.",
  })
  .transform((value) => (typeof value === "string" ? new Secret(value) : value));

/** One or several secrets of another program, of any length. They only verify what that program has signed. */
export const formerSecretRingSchema: z.ZodType<readonly Secret[], string | Secret | readonly (string | Secret)[]> =
  selectSchema((value) =>
    Array.isArray(value)
      ? z.array(formerSecretSchema).min(1, "The list is empty.")
      : formerSecretSchema.transform((secret) => [secret]),
  );

/** The purposes keys are derived for. Two purposes never share a key. */
export type SecretPurpose =
  | "session"
  | "jwt"
  | "api-key-hash"
  | "api-key-cache"
  | "refresh-token"
  | "credential-id"
  | "account-seal"
  | "account-code"
  | "account-device"
  | "account-pepper";

/** Derives a 256-bit key for one purpose: HKDF-SHA-256 (RFC 5869) with the purpose as its info. */
export function deriveKey(secret: Secret, purpose: SecretPurpose): KeyObject {
  const bytes = hkdfSync("sha256", secret.reveal(), Buffer.alloc(0), `portcullis/v1/${purpose}`, 32);
  return createSecretKey(Buffer.from(bytes));
}
