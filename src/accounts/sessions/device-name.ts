/** Browsers by what only they send in User-Agent. The first match counts: most of them name others too. */
const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/\bEdgA?\/|\bEdgiOS\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\bFirefox\/|\bFxiOS\//, "Firefox"],
  [/\bChrome\/|\bCriOS\//, "Chrome"],
  [/\bVersion\/\S+ (?:Mobile\/\S+ )?Safari\//, "Safari"],
];

const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/\bAndroid\b/, "Android"],
  [/\biPhone\b/, "iPhone"],
  [/\biPad\b/, "iPad"],
  [/\bWindows NT\b/, "Windows"],
  [/\bCrOS\b/, "ChromeOS"],
  [/\bMac OS X\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
];

/** A longer field is not read; browsers send about 150 characters. */
const MAX_LENGTH = 512;

/**
 * What to call a device in a list of sessions: "Firefox on Linux". It is for people who look for a log-in that was not
 * theirs, and proves nothing: a client sends what it likes. It is made of words of this file alone.
 *
 * @returns `undefined` for a client that is no browser known here
 */
export function deviceName(userAgent: unknown): string | undefined {
  if (typeof userAgent !== "string" || userAgent.length > MAX_LENGTH) return undefined;
  const named = (table: typeof BROWSERS): string | undefined => table.find(([form]) => form.test(userAgent))?.[1];
  const browser = named(BROWSERS);
  const system = named(SYSTEMS);
  return browser === undefined || system === undefined ? undefined : `${browser} on ${system}`;
}
