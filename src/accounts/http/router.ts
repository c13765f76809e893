import express, { type NextFunction, type Request, type Response, type Router } from "express";
import { z } from "zod";
import { bodyOf } from "../../core/http/json-body.js";
import { isLocalPath } from "../../core/http/local-path.js";
import type { Refusal } from "../../core/response/problem.js";
import { refuse } from "../../core/response/refuse.js";
import { beginState } from "../../core/request-state.js";
import type { Runtime } from "../../core/runtime.js";
import { StoreTime } from "../../stores/health/store-time.js";
import { SESSION_ENDED } from "../refusals.js";
import { isToken } from "../secrets.js";
import type { ResolvedAccountsSettings } from "../settings.js";
import { isForm, readBody } from "./body.js";
import { pathOf, withOutcome } from "./next-page.js";
import { refusalOfError } from "./refusal-of-error.js";
import { type Answer, type Exchange, isRefusal, type NextPage, type Reply, type Route } from "./route.js";

export const SOURCE = "accounts";

const WRONG_FORM: Refusal = Object.freeze({ code: "invalid-request", reason: "form" });
const NO_FIELDS = z.strictObject({});

/** Whether a request may use a route that needs a person. */
export type Admit = (req: Request, access: Route["access"]) => Refusal | undefined;

/** Whether what the request has proved is in force still. Never rejects. */
export type IsInForce = (req: Request) => Promise<boolean>;

/**
 * Makes the router of a table of routes: reads the body, checks who calls, and answers a form with a page and a program
 * with JSON. What is not in the table goes on to the app.
 */
export function accountsRouter(
  routes: readonly Route[],
  settings: ResolvedAccountsSettings,
  runtime: Runtime,
  admit: Admit,
  isInForce: IsInForce,
): Router {
  const router = express.Router();
  const place = placeOf(settings.mountPath);
  const misplaced: Refusal = {
    code: "protection-not-run",
    reason: "mount-path",
    detail: `accounts.routes() is mounted at another path than the setting mountPath says. Write app.use(${JSON.stringify(settings.mountPath)}, accounts.routes()), or set mountPath.`,
  };
  for (const one of routes) {
    const body = readBody(SOURCE, (req, res, refusal) => answer(req, res, one, refusal, settings));
    const method = one.method.toLowerCase() as "get" | "post" | "patch" | "delete";
    router[method](
      one.path,
      function accountsPlace(req: Request, res: Response, next: NextFunction) {
        beginState(req, runtime);
        // Set before anything can go wrong: answers have credentials in them.
        res.setHeader("Cache-Control", "no-store");
        // Express compares paths without regard to case unless it is told otherwise.
        if (req.baseUrl.toLowerCase() !== place) return void refuse(req, res, SOURCE, misplaced);
        // The body of a request that is refused anyway is not read.
        const refusal = admit(req, one.access);
        if (refusal !== undefined) return void answer(req, res, one, refusal, settings);
        if (one.method === "GET") next();
        else body(req, res, next);
      },
      function accountsRoute(req: Request, res: Response, next: NextFunction) {
        const parsed = (one.body ?? NO_FIELDS).safeParse(bodyOf(req) ?? {});
        if (!parsed.success) return void answer(req, res, one, wrongForm(parsed.error), settings);
        if (isForm(req) && (parsed.data as { readonly deliver?: unknown }).deliver === "tokens")
          return void answer(req, res, one, TOKENS_FOR_A_FORM, settings);
        const exchange: Exchange<never> = {
          req,
          res,
          body: parsed.data as never,
          time: new StoreTime(settings.storeTimeoutMs),
        };
        handled(one, exchange)
          .catch(refusalOrThrow)
          .then((reply) => answer(req, res, one, reply, settings))
          .catch(next);
      },
    );
  }
  return router;

  /** A body may be sent slowly, until a reset has ended the session that its head came with. */
  async function handled(one: Route, exchange: Exchange<never>): Promise<Reply> {
    const mayHaveEnded = one.access !== "anyone" && one.method !== "GET";
    if (mayHaveEnded && !(await isInForce(exchange.req))) return SESSION_ENDED;
    return one.handle(exchange);
  }
}

/** Its answer leads to a page, so nobody would get the tokens. */
const TOKENS_FOR_A_FORM: Refusal = Object.freeze({
  ...WRONG_FORM,
  detail: 'Tokens are for programs, which send JSON. A form takes "session" for deliver, or leaves it out.',
});

/** Names our fields, never what was sent in or beside them. */
function wrongForm(error: z.ZodError): Refusal {
  const lines = error.issues.map(({ path, message, code }) =>
    code === "unrecognized_keys" ? "There is a field that this route does not know" : `${path.join(".")}: ${message}`,
  );
  return {
    ...WRONG_FORM,
    detail: `The request does not have the expected format. ${[...new Set(lines)].join("; ")}.`,
  };
}

function answer(req: Request, res: Response, route: Route, reply: Reply, settings: ResolvedAccountsSettings): void {
  const refused = isRefusal(reply);
  if (!isForm(req)) return refused ? void refuse(req, res, SOURCE, reply) : send(res, reply);
  const next = refused ? nextOf(reply, settings) : (reply.next ?? "sender");
  const path = pathOf(next, route.page, settings, req, queryOf(req, route));
  if (refused) {
    const { code, members } = reply;
    const redirect = withOutcome(path, { error: code, reasons: members?.reasons ?? [] });
    return void refuse(req, res, SOURCE, { ...reply, redirect });
  }
  if (reply.html !== undefined) {
    res.setHeader("Content-Type", "text/html; charset=utf-8");
    res.end(reply.html);
    return;
  }
  res.statusCode = 303;
  if (reply.returnTo !== undefined) res.setHeader("Location", reply.returnTo);
  else res.setHeader("Location", reply.done === undefined ? path : withOutcome(path, { status: reply.done }));
  res.end();
}

/** A refused form goes back to its page, unless another page asks for what is missing. */
function nextOf({ code }: Refusal, { pages }: ResolvedAccountsSettings): NextPage {
  return code === "reauthentication-required" && pages.reauthenticate !== undefined ? "reauthenticate" : "sender";
}

/** What the page of a form has in its query, as the form sends it. Nothing but a token and a path of ours goes into a URL. */
function queryOf(req: Request, { hasToken, hasReturnTo }: Route): Record<string, string> {
  const { token, returnTo } = (bodyOf(req) ?? {}) as { readonly token?: unknown; readonly returnTo?: unknown };
  return {
    ...(hasToken === true && isToken(token) ? { token } : {}),
    ...(hasReturnTo === true && isLocalPath(returnTo) ? { returnTo } : {}),
  };
}

/** The path at which Express mounts a router that was given this one. */
function placeOf(mountPath: string): string {
  return mountPath.replace(/\/+$/, "").toLowerCase();
}

function send(res: Response, { status, body }: Answer): void {
  res.statusCode = status;
  if (body === undefined) return void res.end();
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.end(JSON.stringify(body));
}

/** Other errors go to the app. */
function refusalOrThrow(error: unknown): Refusal {
  const refusal = refusalOfError(error);
  if (refusal === undefined) throw error;
  return refusal;
}
