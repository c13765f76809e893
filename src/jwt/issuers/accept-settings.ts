import { z } from "zod";
import type { Secret } from "../../core/secret.js";
import { momentSchema } from "../../settings/durations.js";
import { addIssue, selectSchema, settingsObject } from "../../settings/object.js";
import { formerSecretRingSchema } from "../../settings/secrets.js";
import { looksLikeAsymmetricKey } from "../keys/validation.js";
import { audienceSchema, nameSchema } from "../names.js";
import { MAPPING } from "./mapping-settings.js";

const MIN_FORMER_SECRET_BYTES = 16;

const NO_SECRET = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "missing-setting",
    message: "The secret of the former app is missing.",
    remedy: "Set the HMAC secret with which the former app signed.",
  }),
);

const formerSecretsSchema = selectSchema<z.input<typeof formerSecretRingSchema>, readonly Secret[]>((value) =>
  value === undefined ? NO_SECRET : strongEnoughSecrets,
);

const strongEnoughSecrets = formerSecretRingSchema.superRefine((secrets, context) => {
  for (const secret of secrets) {
    const text = secret.reveal();
    if (looksLikeAsymmetricKey(text))
      addIssue(context, {
        code: "contradiction",
        message: "The secret is the text of an asymmetric key: anyone with the public key could forge tokens.",
        remedy: "Set the HMAC secret with which the former app signed.",
      });
    else if (Buffer.byteLength(text) < MIN_FORMER_SECRET_BYTES)
      addIssue(context, {
        code: "weak-secret",
        message: `The secret is shorter than ${MIN_FORMER_SECRET_BYTES} bytes: tokens could be forged.`,
        remedy: "Let the users log in again, without accept.",
      });
  }
});

const NO_END = z.unknown().superRefine((_value, context) =>
  addIssue(context, {
    code: "missing-setting",
    message: "The date after which tokens of the former app are refused is missing.",
    remedy: 'Write until: "2027-01-31", a date by which they have expired.',
  }),
);

/** Tokens of the app before it used this library. */
export const acceptSchema = settingsObject({
  /**
   * The secret with which the former app signed (HS256), or a list of them; at least 16 bytes each. It only verifies.
   * Required.
   */
  secret: formerSecretsSchema,
  /** `iss` that the tokens must have. Default: it is not checked. */
  issuer: nameSchema.optional(),
  /** `aud` that the tokens must have, one or a list. Default: none; a token with `aud` is then refused. */
  audience: audienceSchema.optional(),
  /** When these tokens end: a Date, ISO 8601 text, or milliseconds since the epoch. Required. */
  until: selectSchema<z.input<typeof momentSchema>, number>((value) => (value === undefined ? NO_END : momentSchema)),
  ...MAPPING,
});

/** `jwt.accept`: tokens of the app before it used this library. */
export interface JwtAcceptSettings extends z.input<typeof acceptSchema> {}
/** `jwt.accept`, parsed. */
export interface ResolvedJwtAcceptSettings extends z.output<typeof acceptSchema> {}
