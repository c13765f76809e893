import { addIssue } from "../settings/object.js";
import { decideHeaders } from "./decide.js";
import { modelProblems } from "./model-lint.js";
import { headersShape } from "./settings.js";

/** Settings of the security headers, checked one by one and against each other. */
export const headersSchema = headersShape.superRefine((options, context) => {
  for (const problem of modelProblems(decideHeaders(options, false))) addIssue(context, problem);
});
