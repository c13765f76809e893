import { createRequire } from "node:module";
import type cors from "cors";
import type * as expressRateLimit from "express-rate-limit";
import type helmet from "helmet";
import type jsonwebtoken from "jsonwebtoken";
import type * as tldts from "tldts";
import { SetupError } from "./setup-error.js";

// The build removes this line: CommonJS has a require.
const require = createRequire(import.meta.url);

/**
 * A package that is loaded on first use, so that an app does not load what it has turned off. Synchronous, because
 * `applySecurity` is.
 *
 * @param load a literal `require`, which bundlers follow in CommonJS
 * @throws SetupError (the returned function) when the package is missing
 */
function lazy<Package>(name: string, load: () => Package): () => Package {
  let loaded: { readonly value: Package } | undefined;
  return () => (loaded ??= { value: orSetupError(name, load) }).value;
}

function orSetupError<Package>(name: string, load: () => Package): Package {
  try {
    return load();
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    if (code !== "MODULE_NOT_FOUND" || !String(message).includes(`'${name}'`)) throw error;
    throw new SetupError(
      `The package ${name} cannot be found. If a bundler built this app, keep portcullis out of the bundle (esbuild: --external:portcullis) and install it where the app runs. Otherwise run: npm install portcullis`,
      { cause: error },
    );
  }
}

/** helmet: the values of the security headers. */
export const loadHelmet: () => typeof helmet = lazy("helmet", () => require("helmet") as typeof helmet);
/** cors: the headers of CORS responses. */
export const loadCors = lazy("cors", () => require("cors") as typeof cors);
/** express-rate-limit: the options that its stores are initialised with. */
export const loadExpressRateLimit = lazy(
  "express-rate-limit",
  () => require("express-rate-limit") as typeof expressRateLimit,
);
/** jsonwebtoken: signs and verifies access tokens. */
export const loadJsonwebtoken = lazy("jsonwebtoken", () => require("jsonwebtoken") as typeof jsonwebtoken);
/** tldts: the public suffix list. The build bundles it; it is large, and only wildcards and the domain of a cookie need it. */
export const loadTldts = lazy("tldts", () => require("tldts") as typeof tldts);
/** express-session: the classes of sessions, cookies and stores; `stores/express-session.ts` has their types. */
export const loadExpressSession = lazy("express-session", (): unknown => require("express-session"));
