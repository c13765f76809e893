import type { Request } from "express";
import type { AccountsContext } from "../context.js";
import type { Answer } from "../http/route.js";
import { recoveryCodesPage } from "../pages/recovery-codes-page.js";

/** The answer with new recovery codes, which are shown this once: JSON for programs, a page for forms. */
export function showCodes(
  { settings }: AccountsContext,
  req: Request,
  answer: Answer,
  codes: readonly string[],
  next: string,
): Answer {
  const body = { ...answer.body, recoveryCodes: codes };
  if (codes.length === 0) return { ...answer, body };
  return { ...answer, body, html: settings.showRecoveryCodes?.(codes, req) ?? recoveryCodesPage(codes, next) };
}
