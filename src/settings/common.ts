import { z } from "zod";
import { addressRangeProblem } from "../core/http/address-list.js";
import { ID_FORM, idText, isPrincipalId, isRole, isScope, ROLE_FORM, SCOPE_FORM } from "../core/identity.js";
import { durationSchema, MAX_SECONDS } from "./durations.js";
import { addIssue } from "./object.js";

/** Every protection: `enforce` refuses; `report` decides and announces the event, and lets the request pass. */
export const modeSchema = z.enum(["enforce", "report"]).default("enforce");

/** A whole number of seconds, at least 1. */
export const secondsSchema = durationSchema("seconds", 1, MAX_SECONDS);

/** A realm in WWW-Authenticate (RFC 9110 section 11.5), which needs no escapes. */
export const realmSchema = z
  .string()
  .regex(/^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$/, "Must be 1 to 64 printable ASCII characters without quotes");

/** An IPv4 or IPv6 address or CIDR range. */
export const addressRangeSchema = z.string().superRefine((text, context) => {
  const problem = addressRangeProblem(text);
  if (problem === undefined) return;
  addIssue(context, {
    code: "wrong-value",
    message:
      problem === "bad-prefix"
        ? "The prefix length after the slash is out of range."
        : "This is not an IP address or a CIDR range.",
    remedy: "Write an address (192.0.2.7, 2001:db8::1) or a range (192.0.2.0/24, 2001:db8::/32).",
  });
});

/** The id of a principal: text, or a safe integer, which becomes decimal text. */
export const principalIdSchema = z.preprocess(
  idText,
  z.string().refine(isPrincipalId, `Must be ${ID_FORM}`),
) as unknown as z.ZodType<string, string | number>;

/** One scope (`read`, `orders:write`, `orders:*`). */
export const scopeSchema = z.string().refine(isScope, `Must be ${SCOPE_FORM}`);

/** One role (`admin`, `billing:viewer`). */
export const roleSchema = z.string().refine(isRole, `Must be ${ROLE_FORM}`);

/** Syntax of Express and glob patterns that a literal path does not contain: `*`, `{…}`, `\\`, `/:id`. */
const PATTERN = /[*{}\\]|\/:[A-Za-z_]/;

/** A path that a check exempts: exact, absolute, without query. */
export const exemptPathSchema = z.string().superRefine((text, context) => {
  if (PATTERN.test(text)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This is a pattern, but exempt paths are compared exactly, so it would never match.",
      remedy: "Write each path exactly as it is requested: /webhooks/stripe.",
    });
  } else if (!/^\/[\x21-\x22\x24-\x3e\x40-\x7e]*$/.test(text)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This must be an absolute path without a query or fragment.",
      remedy: "Write the path exactly as it is requested: /health.",
    });
  }
});
