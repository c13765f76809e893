import type { Express, Request, RequestHandler } from "express";
import { isExpress4, ownSetting } from "./prepare-app.js";

/**
 * Remembers the settings that Express fixes when the first middleware is mounted.
 *
 * @returns a function that returns the names of the settings that the app changed since then, without effect
 */
export function watchRoutingSettings(app: Express): () => string[] {
  const names = ["strict routing", "case sensitive routing"];
  const before = names.map((name) => Boolean(ownSetting(app, name)));
  return () => names.filter((name, index) => Boolean(ownSetting(app, name)) !== before[index]);
}

/**
 * Remembers whom the app trusts as a proxy.
 *
 * @returns a function that returns whether the app itself has set `trust proxy` since then
 */
export function watchTrustProxy(app: Express): () => boolean {
  const before = ownSetting(app, "trust proxy fn");
  return () => {
    const now = ownSetting(app, "trust proxy fn");
    // An app that is mounted in another one loses its own setting, and has that of the outer app.
    return now !== undefined && now !== before;
  };
}

/**
 * Express 4 also fixes the query parser when the first middleware is mounted. This middleware applies a parser that
 * the app sets later: it is often the stricter one (`simple` makes no objects of `?a[$ne]=1`). `undefined` on Express
 * 5, which reads the setting for each request.
 */
export function lateQueryParser(app: Express): RequestHandler | undefined {
  if (!isExpress4(app)) return undefined;
  const fixed = ownSetting(app, "query parser fn");
  return function queryParserMiddleware(req, _res, next) {
    const parse = ownSetting(app, "query parser fn");
    if (parse !== fixed && typeof parse === "function") {
      const start = req.url.indexOf("?");
      req.query = (parse as (text: string) => Request["query"])(start === -1 ? "" : req.url.slice(start + 1));
    }
    next();
  };
}
