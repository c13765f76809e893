import type { Request, Response } from "express";
import type { z } from "zod";
import type { Refusal } from "../../core/response/problem.js";
import type { StoreTime } from "../../stores/health/store-time.js";

/** One request of a route of accounts, with its checked body. */
export interface Exchange<Body = unknown> {
  readonly req: Request;
  readonly res: Response;
  readonly body: Body;
  /** The time that the store calls of this request have together. */
  readonly time: StoreTime;
}

/** The pages of the app to which a form is sent on (303). */
export type NextPage =
  | "factor"
  | "enrol"
  | "after-login"
  | "after-logout"
  | "login"
  | "account"
  | "register"
  | "forgotPassword"
  | "resetPassword"
  | "verifyEmail"
  | "reauthenticate"
  | "sender";

/** A successful answer. */
export interface Answer {
  readonly status: 200 | 201 | 202 | 204;
  /** For clients that speak JSON. */
  readonly body?: Readonly<Record<string, unknown>>;
  /** Where a form goes. Default: `sender`, the page that it came from. */
  readonly next?: NextPage;
  /** The page that the browser wanted, a path of this origin: a form goes there instead. */
  readonly returnTo?: string | undefined;
  /** What was done, for the page that a form goes to: a word, in `?status=`. */
  readonly done?: string;
  /** HTML that answers a form, in place of sending it on: for what is shown once. */
  readonly html?: string;
}

export type Reply = Answer | Refusal;

/** The one answer to a request for mail, whether or not there is any. */
export const SENT: Answer = Object.freeze({
  status: 202,
  body: Object.freeze({ status: "accepted" }),
  done: "accepted",
});

export function isRefusal(reply: Reply): reply is Refusal {
  return "code" in reply;
}

/** One route, below `mountPath`. */
export interface Route<Body = never> {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  /** The only form of the body that is accepted. Default: none is read. */
  readonly body?: z.ZodType<Body>;
  /**
   * Who may call it: `anyone`; `person`, whoever has logged in; `fresh`, who has proved their identity within
   * `freshSeconds`. The handler decides for itself with `anyone`.
   */
  readonly access: "anyone" | "person" | "fresh";
  /** The page that its form is on, for a refusal of a request that does not say where it came from. */
  readonly page: Exclude<NextPage, "sender">;
  /** Whether the page has the page that the browser wanted in its query, as `returnTo`. */
  readonly hasReturnTo?: boolean;
  /**
   * Whether the page has the token of a link in its query. A refusal sends the browser back with the `token` of the form,
   * because a page says nothing of its query under `Referrer-Policy: no-referrer`, our default.
   */
  readonly hasToken?: boolean;
  handle(exchange: Exchange<Body>): Promise<Reply>;
}

/** Lets a route with a checked body stand in a list. */
export function route<Body>(one: Route<Body>): Route {
  return one as unknown as Route;
}
