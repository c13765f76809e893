import express, { type Request, type RequestHandler } from "express";
import type { Refusal } from "../../core/response/problem.js";
import { refuse } from "../../core/response/refuse.js";
import { MAX_BODY_BYTES, readJsonBody } from "../../core/http/json-body.js";

// Compressed bodies are refused: a body this small needs no compression.
const parseForm = express.urlencoded({ extended: false, limit: MAX_BODY_BYTES, parameterLimit: 20, inflate: false });

const TOO_LARGE: Refusal = Object.freeze({ code: "payload-too-large", reason: "body-too-large" });
const BROKEN: Refusal = Object.freeze({
  code: "invalid-request",
  reason: "body-unreadable",
  detail: "The form cannot be read.",
});

/** Whether the request was sent by a form of a page, and so is answered with a page. */
export function isForm(req: Request): boolean {
  const type = req.headers["content-type"];
  return type !== undefined && /^application\/x-www-form-urlencoded(?:;|$)/i.test(type.trim());
}

/** Reads a body as JSON or as the fields of a form. */
export function readBody(source: string): RequestHandler {
  const readJson = readJsonBody(source);
  return function accountsBody(req, res, next) {
    if (!isForm(req)) return void readJson(req, res, next);
    if (Number(req.headers["content-length"] ?? 0) > MAX_BODY_BYTES) return void refuse(req, res, source, TOO_LARGE);
    parseForm(req, res, (error?: unknown) => {
      if (error === undefined) return next();
      const status = typeof error === "object" && error !== null && "status" in error ? error.status : undefined;
      refuse(req, res, source, status === 413 ? TOO_LARGE : BROKEN);
    });
  };
}
