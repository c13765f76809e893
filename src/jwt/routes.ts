import express, { type NextFunction, type Request, type Response, type Router } from "express";
import { z } from "zod";
import { challenge } from "../core/http/authorization.js";
import { bodyOf, readJsonBody } from "../core/http/json-body.js";
import { refuse } from "../core/response/refuse.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import { beginState } from "../core/request-state.js";
import { type PartDependencies, partRuntime } from "../core/runtime.js";
import { SetupError } from "../core/setup-error.js";
import { parseFactory, settingsObject } from "../settings/object.js";
import { isUnavailable, TokenError } from "./errors.js";
import type { JwtManager } from "./manager.js";

const SOURCE = "jwt";

const tokenRoutesSchema = settingsObject({
  /**
   * For how many seconds a verifier may keep the key set. List a new key for as long before it signs. Default: `300`.
   */
  jwksMaxAgeSeconds: z.int().min(0).max(86_400).default(300),
});

/** Settings of `tokenRoutes`. */
export interface TokenRoutesSettings extends z.input<typeof tokenRoutesSchema> {}

const token = z.string().min(1).max(8192);
const refreshBody = z.strictObject({ refreshToken: token });
const revokeBody = z.union([z.strictObject({ refreshToken: token }), z.strictObject({ accessToken: token })]);

const WRONG_FORM = { code: "invalid-request", reason: "form" } as const;
const NO_REFRESH_TOKEN: Refusal = { ...WRONG_FORM, detail: 'Send { "refreshToken": "…" }.' };
const NO_TOKEN: Refusal = { ...WRONG_FORM, detail: 'Send { "refreshToken": "…" } or { "accessToken": "…" }.' };
const NO_STORE: Refusal = { code: "store-unavailable", reason: "refresh-token", event: false };
const TRY_AGAIN: Refusal = { ...NO_STORE, headers: RETRY_SOON };

const jsonBody = readJsonBody(SOURCE);

/**
 * `POST /refresh` { refreshToken } → 200 with a new pair; `POST /revoke` { refreshToken } or { accessToken } → 204,
 * also for an unknown token (RFC 7009 section 2.2); `GET /jwks.json`. Clients must send no Authorization header with
 * `/refresh`: the layer refuses an expired access token there before the route runs.
 *
 * @param deps `{ events?, clock?, onRefusal? }`; default: those of the manager
 * @throws SettingsError when the options are wrong
 * @throws SetupError when there is no manager
 *
 * @example
 * ```ts
 * import express from "express";
 * import { JwtManager, tokenRoutes } from "portcullis";
 *
 * const tokens = new JwtManager({ secret: process.env.JWT_SECRET });
 * const app = express();
 * app.use("/auth", tokenRoutes(tokens));
 * ```
 */
export function tokenRoutes(manager: JwtManager, options?: TokenRoutesSettings, deps?: PartDependencies): Router {
  if (typeof (manager as Partial<JwtManager> | undefined)?.refresh !== "function") {
    throw new SetupError(
      "tokenRoutes needs a JwtManager as its first argument: tokenRoutes(new JwtManager({ secret })).",
    );
  }
  const runtime = partRuntime(deps, manager.runtime);
  const { jwksMaxAgeSeconds } = parseFactory("security.tokenRoutes", tokenRoutesSchema, options ?? {});
  const headers = { "WWW-Authenticate": challenge("Bearer", { realm: manager.options.realm, error: "invalid_token" }) };
  // A retry after one second is within the grace time, or finds the undelivered successor. Without a grace time a retry
  // is a risk.
  const refreshUnavailable = manager.options.reuseGraceSeconds > 0 ? TRY_AGAIN : NO_STORE;
  const router = express.Router();

  router.use(function tokenRoutesState(req: Request, _res: Response, next: NextFunction) {
    beginState(req, runtime);
    next();
  });

  router.post("/refresh", jsonBody, function refreshRoute(req: Request, res: Response, next: NextFunction) {
    const body = refreshBody.safeParse(bodyOf(req));
    if (!body.success) return void refuse(req, res, SOURCE, NO_REFRESH_TOKEN);
    manager.refresh(body.data.refreshToken).then(
      (issued) => answer(res, 200, issued),
      (error: unknown) => {
        if (!(error instanceof TokenError)) return next(error);
        refuse(
          req,
          res,
          SOURCE,
          error.code === "store-unavailable"
            ? refreshUnavailable
            : { code: "invalid-credentials", reason: error.code, headers },
        );
      },
    );
  });

  router.post("/revoke", jsonBody, function revokeRoute(req: Request, res: Response, next: NextFunction) {
    const body = revokeBody.safeParse(bodyOf(req));
    if (!body.success) return void refuse(req, res, SOURCE, NO_TOKEN);
    const done =
      "refreshToken" in body.data
        ? manager.revokeFamily(body.data.refreshToken)
        : manager.revokeAccessToken(body.data.accessToken);
    done.then(
      () => answer(res, 204),
      (error: unknown) => {
        if (!(error instanceof TokenError)) return next(error);
        // A token that can be neither used nor traced to its family is no better than an unknown one.
        if (error.code === "unreadable") return answer(res, 204);
        refuse(req, res, SOURCE, isUnavailable(error.code) ? TRY_AGAIN : WRONG_FORM);
      },
    );
  });

  router.get("/jwks.json", function jwksRoute(_req: Request, res: Response, next: NextFunction) {
    manager.jwks().then((set) => {
      res.setHeader("Cache-Control", `public, max-age=${jwksMaxAgeSeconds}`);
      // RFC 7517 section 8.5.
      res.setHeader("Content-Type", "application/jwk-set+json");
      res.end(JSON.stringify(set));
    }, next);
  });

  return router;
}

/** Sends a response. RFC 6749 section 5.1: a response with tokens must not be cached. */
function answer(res: Response, status: number, body?: object): void {
  res.statusCode = status;
  res.setHeader("Cache-Control", "no-store");
  if (body === undefined) return void res.end();
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.end(JSON.stringify(body));
}
