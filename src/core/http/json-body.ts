import express, { type NextFunction, type Request, type RequestHandler, type Response } from "express";
import type { Refusal } from "../response/problem.js";
import { refuse } from "../response/refuse.js";

/** Maximum size of a body, in bytes: metadata of 4 KiB and full lists of scopes and addresses fit. */
export const MAX_BODY_BYTES = 16_384;

// Compressed bodies are refused: bodies this small do not need compression, and inflating one costs work before its
// size is known.
const parseJson = express.json({ limit: MAX_BODY_BYTES, strict: true, inflate: false });

const UTF_8 = /^charset=(?:utf-8|"utf-8")$/;

const TOO_LARGE: Refusal = Object.freeze({ code: "payload-too-large", reason: "body-too-large" });
const NOT_JSON: Refusal = Object.freeze({ code: "unsupported-media-type", reason: "not-json" });
const BROKEN: Refusal = Object.freeze({
  code: "invalid-request",
  reason: "body-unreadable",
  detail: "The body is not valid JSON.",
});

/** Whether the request announces a body (RFC 9112 section 6.3). */
function hasBody(req: Request): boolean {
  const length = req.headers["content-length"];
  return req.headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
}

/**
 * Parses a JSON body, or uses the one that a parser of the app has read. The type is checked either way: a form that
 * another site can send must not become a key because the app also parses forms.
 */
export function readJsonBody(source: string): RequestHandler {
  return function jsonBodyMiddleware(req: Request, res: Response, next: NextFunction): void {
    if (!hasBody(req)) {
      next();
      return;
    }
    if (!isJson(req.headers["content-type"])) {
      refuse(req, res, source, NOT_JSON);
      return;
    }
    if (Number(req.headers["content-length"] ?? 0) > MAX_BODY_BYTES) {
      refuse(req, res, source, TOO_LARGE);
      return;
    }
    // Does nothing when the body has been read already.
    parseJson(req, res, (error?: unknown) => {
      if (error === undefined) next();
      else refuse(req, res, source, refusalOf(error));
    });
  };
}

/** The parsed body, or `undefined` when the request has none (Express 4's parsers then leave an empty object). */
export function bodyOf(req: Request): unknown {
  return hasBody(req) ? (req.body as unknown) : undefined;
}

/**
 * Accepts JSON in UTF-8, the only encoding allowed between systems (RFC 8259 section 8.1). body-parser also decodes
 * UTF-7, UTF-16 and UTF-32, in which a firewall that reads the body as UTF-8 sees a different text.
 */
function isJson(contentType: string | undefined): boolean {
  if (contentType === undefined) return false;
  const [type = "", ...parameters] = contentType.toLowerCase().split(";");
  return (
    type.trim() === "application/json" &&
    parameters.every((parameter) => !parameter.includes("charset") || UTF_8.test(parameter.trim()))
  );
}

/** Chooses the refusal by body-parser's status. Its messages repeat what was sent, so they are not used. */
function refusalOf(error: unknown): Refusal {
  const status = typeof error === "object" && error !== null && "status" in error ? error.status : undefined;
  if (status === 413) return TOO_LARGE;
  return status === 415 ? NOT_JSON : BROKEN;
}
