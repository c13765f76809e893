import { z } from "zod";
import type { TrustFunction } from "../core/trust-check.js";
import { addIssue, selectSchema } from "./object.js";

/** The `cors` package passes a callback; here none is called, and the function would refuse everything. */
const functionSchema = z.custom<TrustFunction>().superRefine((trusts, context) => {
  if (trusts.length < 2) return;
  addIssue(context, {
    code: "wrong-value",
    message: "This function has a second parameter, but is called with the name alone, without a callback.",
    remedy: "Return true or false, or a promise of one: (name) => tenants.has(name).",
  });
});

const mixedSchema = z.array(z.unknown()).superRefine((list, context) =>
  list.forEach((entry, index) => {
    if (typeof entry !== "function") return;
    addIssue(context, {
      code: "wrong-type",
      path: [index],
      message: "A list cannot contain a function, because a function decides about every name.",
      remedy: "Write the function in place of the list, and compare with the other entries inside it.",
    });
  }),
);

/** A function of the app, or what else the setting may be. */
export function functionOr<Input, Output>(
  other: z.ZodType<Output, Input>,
): z.ZodType<TrustFunction | Output, TrustFunction | Input> {
  return selectSchema((value) => {
    if (typeof value === "function") return functionSchema;
    return Array.isArray(value) && value.some((entry) => typeof entry === "function") ? mixedSchema : other;
  });
}
