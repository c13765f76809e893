import { z } from "zod";
import { addressRangeProblem } from "../core/http/address-list.js";
import { SCOPE_PATTERN } from "../core/scopes.js";
import { addIssue } from "./object.js";

/** Every protection: `enforce` refuses; `report` decides and announces the event, and lets the request pass. */
export const modeSchema = z.enum(["enforce", "report"]).default("enforce");

/** A whole number of seconds, at least 1. */
export const secondsSchema = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

/** An IPv4 or IPv6 address or CIDR range. */
export const addressRangeSchema = z.string().superRefine((text, context) => {
  const problem = addressRangeProblem(text);
  if (problem === undefined) return;
  addIssue(context, {
    code: "wrong-value",
    message:
      problem === "bad-prefix"
        ? "The prefix length after the slash is out of range."
        : "This is neither an IP address nor a CIDR range.",
    remedy: "Write an address (192.0.2.7, 2001:db8::1) or a range (192.0.2.0/24, 2001:db8::/32).",
  });
});

/** One scope (`read`, `orders:write`, `orders:*`). */
export const scopeSchema = z
  .string()
  .regex(SCOPE_PATTERN, "Not a scope: words of letters, digits, '.', '_' or '-' joined by colons");

/** What Express and glob patterns have and a path that is requested literally has not: `*`, `{…}`, `\\`, `/:id`. */
const PATTERN = /[*{}\\]|\/:[A-Za-z_]/;

/** A path on which a check is left out: exact, absolute, without query. */
export const exemptPathSchema = z.string().superRefine((text, context) => {
  if (PATTERN.test(text)) {
    addIssue(context, {
      code: "wrong-value",
      message: "Exempt paths are exact, and this is a pattern: it would never match.",
      remedy: "Write each path exactly as it is requested: /webhooks/stripe.",
    });
  } else if (!/^\/[\x21-\x22\x24-\x3e\x40-\x7e]*$/.test(text)) {
    addIssue(context, {
      code: "wrong-value",
      message: "This is not an absolute path without query and fragment.",
      remedy: "Write the path exactly as it is requested: /health.",
    });
  }
});
