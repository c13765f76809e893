import { z } from "zod";
import { OWN_LIMITS } from "../core/rate-limits.js";
import { addIssue } from "../settings/object.js";

/** A name in a `RateLimit` header and in the store. */
export const nameSchema = z.string().superRefine((name, context) => {
  if (/^[A-Za-z0-9._-]{1,64}$/.test(name)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This is not a valid name for a limit.",
    remedy: "Use 1 to 64 letters, digits, '.', '_' or '-'.",
  });
});

/**
 * Names that the main limit cannot have: those of our own limits, and `route`, with which the names of the limits of
 * routes begin in the store. `route:block` would be its block and a limit called `block`.
 */
const TAKEN_NAMES: ReadonlySet<string> = new Set([...Object.values(OWN_LIMITS), "route"]);

/** The name of the main limit. */
export const mainNameSchema = nameSchema.superRefine((name, context) => {
  if (!TAKEN_NAMES.has(name)) return;
  addIssue(context, {
    code: "wrong-value",
    message: "The library counts other limits under this name.",
    remedy: "Choose another name, or remove name.",
  });
});
