import { z } from "zod";
import { selectSchema } from "../settings/object.js";

/**
 * An issuer or audience: visible characters, not blank. `audience: ""` must never mean "any", as it does in
 * jsonwebtoken.
 */
export const nameSchema = z
  .string()
  .regex(
    /^[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?$/,
    "Must be 1 to 512 printable ASCII characters without leading or trailing spaces",
  );

/** One audience or a list. */
export const audienceSchema = selectSchema<string | readonly string[], readonly string[]>((value) =>
  Array.isArray(value) ? z.array(nameSchema).min(1, "The list is empty.") : nameSchema.transform((name) => [name]),
);
