import { z } from "zod";
import { addressRangeProblem } from "../core/http/address-list.js";
import { durationSchema, MAX_SECONDS } from "./durations.js";
import { addIssue } from "./object.js";

/** Every protection: `enforce` refuses; `report` decides and announces the event, and lets the request pass. */
export const modeSchema = z.enum(["enforce", "report"]).default("enforce");

/** A whole number of seconds, at least 1. */
export const secondsSchema = durationSchema("seconds", 1, MAX_SECONDS);

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
