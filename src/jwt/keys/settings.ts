import { createPrivateKey, createPublicKey, KeyObject } from "node:crypto";
import { z } from "zod";
import { Secret } from "../../core/secret.js";
import { addIssue, settingsObject } from "../../settings/object.js";
import { secretSchema } from "../../settings/secrets.js";
import type { KeyProblem } from "./validation.js";
import { pemProblem } from "./pem-problem.js";

/** The accepted forms of a key. A parsed key is a KeyObject, which prints no key material. */
export type JwtKeyInput = string | Secret | KeyObject;

function keySchema(half: "private" | "public"): z.ZodType<KeyObject, JwtKeyInput> {
  return z
    .union([z.string(), z.instanceof(Secret), z.custom<KeyObject>((value) => value instanceof KeyObject)], {
      error: "Must be a PEM string or a KeyObject",
    })
    .transform((value, context) => {
      const found = value instanceof KeyObject ? value : read(value instanceof Secret ? value.reveal() : value, half);
      if (found instanceof KeyObject && found.type === half) return found;
      addIssue(
        context,
        !(found instanceof KeyObject)
          ? found
          : {
              code: "contradiction",
              message: `This is a ${found.type} key, but a ${half} key is required.`,
              remedy: `Pass a PEM of the ${half} key, or crypto.${half === "private" ? "createPrivateKey" : "createPublicKey"}(…).`,
            },
      );
      return z.NEVER;
    });
}

/**
 * Returns the key, or a description of the problem. The error of node:crypto is dropped, because it may quote its
 * input.
 */
function read(pem: string, half: "private" | "public"): KeyObject | KeyProblem {
  try {
    // createPublicKey would accept a private key and drop its private half, and the mistake would stay unnoticed.
    return half === "private" || pem.includes("PRIVATE KEY-----") ? createPrivateKey(pem) : createPublicKey(pem);
  } catch {
    return pemProblem(pem, half);
  }
}

export const privateKeySchema = keySchema("private");
const publicKeySchema = keySchema("public");

/** One key of a ring: exactly one of `secret`, `privateKey` and `publicKey`. */
export const keyEntrySchema = settingsObject({
  /**
   * Name of the key in the header of tokens: 1 to 64 letters, digits, `.`, `_`, `~` or `-`. Default: derived from the
   * key.
   */
  kid: z
    .string()
    .regex(/^[A-Za-z0-9._~-]{1,64}$/, "Must be 1 to 64 letters, digits, '.', '_', '~' or '-'")
    .optional(),
  /** HMAC secret, used as it is. Default: none. */
  secret: secretSchema.optional(),
  /** Signs and verifies: PEM text, a `Secret` or a KeyObject. Default: none. */
  privateKey: privateKeySchema.optional(),
  /** Verifies only, for a key whose private half is gone or elsewhere: PEM text or a KeyObject. Default: none. */
  publicKey: publicKeySchema.optional(),
}).superRefine((entry, context) => {
  const given = [entry.secret, entry.privateKey, entry.publicKey].filter((value) => value !== undefined).length;
  if (given === 1) return;
  addIssue(context, {
    code: given === 0 ? "missing-setting" : "contradiction",
    message: given === 0 ? "This entry has no key." : "This entry has more than one key.",
    remedy: "Set exactly one of secret, privateKey and publicKey.",
  });
});

/** One key of `jwt.keys`: exactly one of `secret`, `privateKey` and `publicKey`. */
export interface JwtKeySettings extends z.input<typeof keyEntrySchema> {}
/** One key of `jwt.keys`, parsed. */
export interface ResolvedJwtKeySettings extends z.output<typeof keyEntrySchema> {}
