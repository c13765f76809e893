/** What stands in an event in place of a credential. */
export const MASK = "[credential]";

/** A key is `<prefix><id><secret><checksum>`: at least 37 characters of base62 after the prefix. */
const keyForm = (prefix: string): RegExp => new RegExp(`${prefix}[0-9A-Za-z]{37,}`, "g");

/** The forms of the keys of this process, by prefix; the usual one from the start. */
const KEY_FORMS = new Map([["mcp_", keyForm("mcp_")]]);

const REFRESH_TOKEN = /rt_[\w-]{22}\.[\w-]{43}/g;
/** The value of a session cookie, as it is signed or as it is written into Cookie. */
const SESSION_COOKIE = /s(?::|%3A)[\w-]{32}\.(?:[0-9A-Za-z+/]|%2[BF]){43}/gi;

/**
 * Adds a prefix of API keys to what is masked in this process: a key is masked wherever it is seen, also by a protection that
 * knows nothing of the service that made it.
 *
 * @param prefix letters, digits, `_` and `-`
 */
export function maskKeysWith(prefix: string): void {
  if (!KEY_FORMS.has(prefix)) KEY_FORMS.set(prefix, keyForm(prefix));
}

/**
 * A path without the credentials that stand in it: API keys, JWTs, refresh tokens and signed session cookies, by their form.
 * Linear in the length. A path without any comes back as it was.
 */
export function maskCredentials(path: string): string {
  const masked = mask(path);
  if (masked !== path || !path.includes("%")) return masked;
  // `%5F` is another way to write `_` (RFC 3986 section 2.3), and the receiver of an event may undo it.
  const decoded = path.replace(/%(?:2[1-9A-F]|[3-6][0-9A-F]|7[0-9A-E])/gi, (escaped) =>
    String.fromCharCode(parseInt(escaped.slice(1), 16)),
  );
  const maskedDecoded = mask(decoded);
  return maskedDecoded === decoded ? path : maskedDecoded;
}

function mask(text: string): string {
  let masked = maskTokens(text).replace(REFRESH_TOKEN, MASK).replace(SESSION_COOKIE, MASK);
  for (const form of KEY_FORMS.values()) masked = masked.replace(form, MASK);
  return masked;
}

/** JWTs: base64url parts joined by dots, of which the first begins with `eyJ`, which is `{"`. */
function maskTokens(text: string): string {
  return text.includes("eyJ") ? text.replace(/[\w.-]+/g, maskTokenIn) : text;
}

/** Looks at each part once: where the first `eyJ` of a part begins no token, the others in that part do not either. */
function maskTokenIn(run: string): string {
  const parts = run.split(".");
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const start = part.indexOf("eyJ");
    if (start !== -1 && parts[index + 1] && parts[index + 2]) return run.slice(0, at + start) + MASK;
    at += part.length + 1;
  }
  return run;
}
