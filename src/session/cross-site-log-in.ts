import type { Request } from "express";
import { headerLines } from "../core/http/authority.js";
import { requestContext } from "../core/request-events.js";
import type { Runtime } from "../core/runtime.js";
import type { ResolvedSessionSettings } from "./settings.js";

const reported = new WeakSet<Runtime>();

/**
 * While `debug` is on, reports once that a script of another site has logged somebody in: the browser drops a SameSite
 * cookie from such an answer (RFC 6265bis section 5.7), so the next request is anonymous and nothing says why.
 */
export function reportCrossSiteLogIn(req: Request, { sameSite }: ResolvedSessionSettings, runtime: Runtime): void {
  if (!runtime.debug || sameSite === "none" || reported.has(runtime)) return;
  const says = (name: string, value: string): boolean => headerLines(req, name)[0] === value;
  // A form of another site navigates: its answer may set the cookie.
  if (!says("sec-fetch-site", "cross-site") || !says("sec-fetch-mode", "cors")) return;
  reported.add(runtime);
  process.emitWarning(
    "A page of another site logged a user in, so the browser drops the session cookie. localhost and 127.0.0.1 are different sites: use one name for the page and for the API.",
    { code: "PORTCULLIS_CROSS_SITE" },
  );
  runtime.events.emit("portcullis_misconfigured", () => ({
    source: "session",
    reason: "cross-site-log-in",
    ...requestContext(req),
  }));
}
