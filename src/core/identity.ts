/**
 * The syntax of ids, scopes and roles. Sessions, tokens, keys and guards share it, so that none of them can contain
 * or require a value that another cannot.
 */

/** Maximum length of a principal's id, in UTF-16 units: the columns of every database can store it. */
export const MAX_ID_LENGTH = 255;

/**
 * No control characters, because events contain the id and a line break could forge a log line. No lone surrogates:
 * they do not survive UTF-8, so two different ids would become one.
 */
const NOT_IN_AN_ID = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\p{Surrogate}]/u;
const SCOPE = /^[A-Za-z0-9._-]{1,64}(?::[A-Za-z0-9._-]{1,64}){0,7}(?::\*)?$/;
const ROLE = /^[A-Za-z0-9._:-]{1,64}$/;

export const ID_FORM = `a string of 1 to ${MAX_ID_LENGTH} characters without control characters or lone surrogates, or a safe integer`;
export const SCOPE_FORM = "words of letters, digits, '.', '_' or '-', joined by colons, and optionally ':*' at the end";
export const ROLE_FORM = "1 to 64 letters, digits, '.', '_', ':' or '-'";

/**
 * Converts an id to the text that is stored: a safe integer, which many databases return, becomes decimal. Any other
 * value is returned unchanged, for its check.
 */
export function idText(id: unknown): unknown {
  return Number.isSafeInteger(id) ? String(id) : id;
}

/** The id of a principal, as text. */
export function isPrincipalId(id: unknown): id is string {
  return typeof id === "string" && id !== "" && id.length <= MAX_ID_LENGTH && !NOT_IN_AN_ID.test(id);
}

/** One scope: words joined by colons, the last of which may be `*` (`read`, `orders:write`, `orders:*`). */
export function isScope(scope: unknown): scope is string {
  return typeof scope === "string" && SCOPE.test(scope);
}

/** One role (`admin`, `billing:viewer`). */
export function isRole(role: unknown): role is string {
  return typeof role === "string" && ROLE.test(role);
}
