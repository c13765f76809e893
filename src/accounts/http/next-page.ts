import type { Request } from "express";
import { isLocalPath } from "../../core/http/local-path.js";
import { parseUrl } from "../../settings/parse-url.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import type { NextPage } from "./route.js";

/** What the page shows that a form is sent on to. */
export interface Outcome {
  /** The code of a refusal. */
  readonly error?: string;
  /** Why a password was refused: words of ours. */
  readonly reasons?: readonly string[];
  /** What was done. */
  readonly status?: string;
}

/** The parameters in which a page finds the outcome. */
const OUTCOME = ["error", "reason", "status"] as const;

/**
 * Where a form is sent on: a path of the app.
 *
 * @param page the page that has this form, for a browser that does not say where it comes from
 * @param query what that page has in its query: the token of the link that the form is about, the page that is wanted
 */
export function pathOf(
  next: NextPage,
  page: Exclude<NextPage, "sender">,
  settings: ResolvedAccountsSettings,
  req: Request,
  query: Readonly<Record<string, string>> = {},
): string {
  if (next === "after-login") return settings.afterLogin;
  if (next === "after-logout") return settings.afterLogout;
  if (next === "reauthenticate") return settings.pages.reauthenticate ?? settings.pages.account;
  if (next !== "sender") return settings.pages[next] ?? settings.pages.login;
  const path = senderOf(req, settings.baseUrl);
  if (path !== undefined) return path;
  const parameters = new URLSearchParams(query);
  return `${pathOf(page, page, settings, req)}${parameters.size === 0 ? "" : `?${parameters.toString()}`}`;
}

/** The path with an outcome, in place of that of an earlier try. */
export function withOutcome(path: string, { error, reasons = [], status }: Outcome): string {
  const [before = "/", query = ""] = path.split("?", 2);
  const parameters = new URLSearchParams(query);
  if (error !== undefined) parameters.set("error", error);
  if (status !== undefined) parameters.set("status", status);
  for (const reason of reasons) parameters.append("reason", reason);
  return parameters.size === 0 ? before : `${before}?${parameters.toString()}`;
}

/** The page of this origin that sent the form: with its query, but without the outcome of an earlier try. */
function senderOf(req: Request, baseUrl: string): string | undefined {
  const { referer } = req.headers;
  const url = referer === undefined ? undefined : parseUrl(referer);
  if (url?.origin !== baseUrl) return undefined;
  for (const name of OUTCOME) url.searchParams.delete(name);
  const path = `${url.pathname}${url.search}`;
  return isLocalPath(path) ? path : undefined;
}
