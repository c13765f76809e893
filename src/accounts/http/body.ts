import express, { type Request, type RequestHandler, type Response } from "express";
import type { Refusal } from "../../core/response/problem.js";
import { MAX_BODY_BYTES, readJsonBody } from "../../core/http/json-body.js";

// Compressed bodies are refused: a body this small needs no compression.
const parseForm = express.urlencoded({ extended: false, limit: MAX_BODY_BYTES, parameterLimit: 20, inflate: false });

const TOO_LARGE: Refusal = Object.freeze({ code: "payload-too-large", reason: "body-too-large" });
const NOT_UTF_8: Refusal = Object.freeze({
  code: "unsupported-media-type",
  reason: "form-encoding",
  detail: "A form must be sent in UTF-8 and not compressed.",
});
const BROKEN: Refusal = Object.freeze({
  code: "invalid-request",
  reason: "body-unreadable",
  detail: "The form cannot be read.",
});

const FORM = /^application\/x-www-form-urlencoded(?:;|$)/i;
const CHARSET = /;\s*charset\s*=\s*("?)([^\s;"]*)\1/i;

/** Whether the request was sent by a form of a page, and so is answered with a page. */
export function isForm(req: Request): boolean {
  const type = req.headers["content-type"];
  return type !== undefined && FORM.test(type.trim());
}

/**
 * Reads a body as JSON or as the fields of a form.
 *
 * @param refuseForm answers a form that cannot be read
 */
export function readBody(
  source: string,
  refuseForm: (req: Request, res: Response, refusal: Refusal) => void,
): RequestHandler {
  const readJson = readJsonBody(source);
  return function accountsBody(req, res, next) {
    if (!isForm(req)) return void readJson(req, res, next);
    const [, , charset = "utf-8"] = CHARSET.exec(req.headers["content-type"] ?? "") ?? [];
    // In another encoding a password would be another one.
    if (charset.toLowerCase() !== "utf-8") return refuseForm(req, res, NOT_UTF_8);
    if (Number(req.headers["content-length"] ?? 0) > MAX_BODY_BYTES) return refuseForm(req, res, TOO_LARGE);
    parseForm(req, res, (error?: unknown) => {
      if (error === undefined) return next();
      const status = typeof error === "object" && error !== null && "status" in error ? error.status : undefined;
      refuseForm(req, res, status === 413 ? TOO_LARGE : status === 415 ? NOT_UTF_8 : BROKEN);
    });
  };
}
