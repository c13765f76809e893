import { z } from "zod";
import { selectSchema } from "../settings/object.js";

/** Forms of the rate limit headers. */
const FORMS = ["draft-8", "draft-6", "legacy"] as const;
/** A form of the rate limit headers. */
export type HeaderForm = (typeof FORMS)[number];

/** One form of the headers, a list of two, or `false`. */
export const headersSchema = selectSchema<
  HeaderForm | false | readonly HeaderForm[],
  HeaderForm | false | readonly HeaderForm[]
>((value) =>
  Array.isArray(value)
    ? z
        .array(z.enum(FORMS))
        .min(1)
        .max(2)
        .refine((forms) => new Set(forms).size === forms.length, {
          error: "Must not contain a form twice",
          params: { remedy: 'Write each form once: ["draft-8", "legacy"].' },
        })
    : z.literal([...FORMS, false]),
);
