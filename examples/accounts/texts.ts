/** What a page says after a refusal: the code stands in its address, `?error=<code>`. */
const PROBLEMS: Readonly<Record<string, string>> = {
  "invalid-credentials": "That is not right. Check what you typed and try again.",
  "password-refused":
    "This password cannot be used. Choose a longer one that is not a common password and does not contain your address.",
  "rate-limited": "There were too many attempts. Try again later.",
  "too-many-failures": "There were too many wrong codes. Try again later, or use a recovery code.",
  "reauthentication-required": "Confirm first that it is you.",
  "missing-credentials": "Log in first.",
  "factor-needed": "Your account needs a second factor, so the last one cannot be removed.",
  "password-too-short": "Without a second factor your password is too short. Change it first.",
  "store-unavailable": "That did not work at the moment. Nothing was changed. Try again.",
};

export function problemText(code: unknown): string | undefined {
  if (typeof code !== "string") return undefined;
  return Object.hasOwn(PROBLEMS, code) ? PROBLEMS[code] : "That did not work. Check what you typed and try again.";
}
