import type { Request, Response } from "express";
import { FactorRequiredError } from "../core/credential-gate.js";
import { type Refusal, RETRY_SOON } from "../core/response/problem.js";
import { refuse } from "../core/response/refuse.js";
import { StoreUnavailableError } from "../stores/health/store-guard.js";
import { ApiKeyError } from "./errors.js";
import { HashUnavailableError } from "./keys/hash-queue.js";

/** The source of the events. */
export const SOURCE = "api-key-routes";

/** No such key. A mistyped id is not an attack. */
export const UNKNOWN: Refusal = Object.freeze({ code: "not-found", reason: "unknown", event: "input_validation_fail" });

/** A successful response, or a refusal. */
export type Reply = { readonly status: 200 | 201; readonly body: unknown } | { readonly status: 204 } | Refusal;

/** Sends a response, or a refusal. */
export function send(req: Request, res: Response, reply: Reply): void {
  if ("code" in reply) {
    refuse(req, res, SOURCE, reply);
    return;
  }
  res.statusCode = reply.status;
  if (!("body" in reply)) {
    res.end();
    return;
  }
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.end(JSON.stringify(reply.body));
}

/** Converts an error of the service to a refusal; other errors go to the app. */
export function refusalOfError(error: unknown): Refusal {
  if (error instanceof StoreUnavailableError)
    return { code: "store-unavailable", reason: "store-unavailable", headers: RETRY_SOON, event: false };
  if (error instanceof FactorRequiredError) return { code: "factor-required", reason: "key" };
  if (error instanceof HashUnavailableError) return { code: "store-unavailable", reason: "busy", headers: RETRY_SOON };
  if (!(error instanceof ApiKeyError)) throw error;
  if (error.code === "not-found") return UNKNOWN;
  if (error.code === "invalid-input")
    return { code: "invalid-request", reason: "invalid-input", detail: issueText(error) };
  return { code: "conflict", reason: error.code, detail: error.message };
}

/**
 * Formats the issues by path. Paths consist of our own names and positions, so they contain neither values nor unknown
 * names.
 */
function issueText({ issues }: ApiKeyError): string {
  const lines = issues.map(({ path, message }) => `${path === "" ? "(request)" : path}: ${message}`);
  return `The request does not have the expected format. ${[...new Set(lines)].join("; ")}.`;
}
