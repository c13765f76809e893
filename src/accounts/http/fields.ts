import { z } from "zod";
import { isLocalPath } from "../../core/http/local-path.js";
import { isStorable } from "../../stores/records.js";
import { isMailAddress } from "../mail-address.js";

/** The name with which a person logs in. Long text costs no look-up. */
export const loginField = z
  .string()
  .min(1)
  .max(255)
  .refine(isStorable, "Must be text without NUL and without halves of characters");

/** White space at an end and control characters have no place in a name; they would also end a header of a mail. */
const NAME = /^[^\s\p{C}\p{Zl}\p{Zp}](?:[^\p{C}\p{Zl}\p{Zp}]*[^\s\p{C}\p{Zl}\p{Zp}])?$/u;

/** The name that a person chooses: with `@` it is a mail address, and only one. */
export const newLoginField = loginField
  .refine((login) => NAME.test(login), "Must not contain a control character, or begin or end with a space")
  .refine((login) => !login.includes("@") || isMailAddress(login), "Must be one mail address");

/** A password as it was typed: its rules are elsewhere. At most as long as a body may be. */
export const passwordField = z.string().min(1).max(16_384);

/** A box that was ticked: a form sends `on` or nothing. */
export const tickField = z
  .union([z.boolean(), z.enum(["on", "true", "false", ""])])
  .transform((value) => value === true || value === "on" || value === "true")
  .default(false);

/** A code of a second factor as it was typed. */
export const codeField = z.string().min(1).max(64);

/** A secret of a link, or of a log-in that is not finished. */
export const tokenField = z.string().min(1).max(128);

/** How the result is delivered. */
export const deliverField = z.enum(["session", "tokens"]).default("session");

/**
 * The page that a browser wanted before it was sent to log in: `returnTo` of the query of that page, in a hidden field. What
 * is no path of this origin counts as none, because anybody can make a link to the page to log in.
 */
export const returnToField = z
  .string()
  .transform((path) => (isLocalPath(path) ? path : undefined))
  .optional();
