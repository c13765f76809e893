import type { Request } from "express";
import { isLocalPath } from "../../core/http/local-path.js";
import { parseUrl } from "../../settings/parse-url.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import type { NextPage } from "./route.js";

/**
 * Where a form is sent on: a path of the app.
 *
 * @param page the page that has this form, for a browser that does not say where it comes from
 */
export function pathOf(
  next: NextPage,
  page: Exclude<NextPage, "sender">,
  settings: ResolvedAccountsSettings,
  req: Request,
): string {
  if (next === "sender") return senderOf(req, settings.baseUrl) ?? pathOf(page, page, settings, req);
  if (next === "after-login") return settings.afterLogin;
  if (next === "after-logout") return settings.afterLogout;
  return settings.pages[next];
}

/** The path with the code of a refusal, in place of that of an earlier one. */
export function withError(path: string, code: string): string {
  const [before = "/", query = ""] = path.split("?", 2);
  const parameters = new URLSearchParams(query);
  parameters.set("error", code);
  return `${before}?${parameters.toString()}`;
}

/** The page of this origin that sent the form: with its query, but without the code of an earlier refusal. */
function senderOf(req: Request, baseUrl: string): string | undefined {
  const { referer } = req.headers;
  const url = referer === undefined ? undefined : parseUrl(referer);
  if (url?.origin !== baseUrl) return undefined;
  url.searchParams.delete("error");
  const path = `${url.pathname}${url.search}`;
  return isLocalPath(path) ? path : undefined;
}
