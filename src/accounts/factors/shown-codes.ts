import type { Request } from "express";
import { InvalidInputError } from "../../core/portcullis-error.js";
import type { AccountsContext } from "../context.js";
import { isForm } from "../http/body.js";
import type { Answer } from "../http/route.js";
import { recoveryCodesPage } from "../pages/recovery-codes-page.js";

/** The answer with new recovery codes, which are shown this once: JSON for programs, a page for forms. */
export function showCodes(
  context: AccountsContext,
  req: Request,
  answer: Answer,
  codes: readonly string[],
  next: string,
): Answer {
  const body = { ...answer.body, recoveryCodes: codes };
  if (codes.length === 0 || !isForm(req)) return { ...answer, body };
  return { ...answer, body, html: ownPage(context, req, codes, next) ?? recoveryCodesPage(codes, next) };
}

/** The page that the app makes. When it makes none, the codes are shown all the same: the old ones are gone. */
function ownPage(
  { settings, functions }: AccountsContext,
  req: Request,
  codes: readonly string[],
  next: string,
): string | undefined {
  const { showRecoveryCodes } = settings;
  if (showRecoveryCodes === undefined) return undefined;
  try {
    const page: unknown = showRecoveryCodes(codes, req, next);
    if (typeof page === "string") return page;
    if (page instanceof Promise) page.catch(() => undefined);
    throw new InvalidInputError("showRecoveryCodes must return the page as a string.");
  } catch (error) {
    functions.failed("showRecoveryCodes", error);
    return undefined;
  }
}
