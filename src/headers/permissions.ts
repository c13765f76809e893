import { parseUrl } from "../settings/parse-url.js";
import { sfDictionary, sfInnerList, sfKey, sfString, sfToken } from "../core/http/structured-fields.js";

/** Origins that may use a feature: a list (`self`, `src`, origins), an empty list for none, or `*` for all. */
export type PermissionsAllowlist = readonly string[] | "*";

/** Permissions: feature to allowlist, in the order they are sent. */
export type Permissions = ReadonlyMap<string, PermissionsAllowlist>;

/**
 * Features that reach a sensor, a device, money or another screen: denied unless set. Browsers decide, or ask the user,
 * about passkeys, full screen, media and the clipboard, because ordinary sites use them.
 */
export const DENIED_FEATURES: readonly string[] = [
  "accelerometer",
  "bluetooth",
  "camera",
  "display-capture",
  "geolocation",
  "gyroscope",
  "hid",
  "idle-detection",
  "local-fonts",
  "magnetometer",
  "microphone",
  "midi",
  "payment",
  "screen-wake-lock",
  "serial",
  "usb",
  "window-management",
  "xr-spatial-tracking",
];

/** Features evolve, so only the form of a name is checked. */
export function featureProblem(name: string): string | undefined {
  return /^[a-z][a-z0-9-]{0,63}$/.test(name)
    ? undefined
    : "A feature name must consist of lower-case letters, digits and hyphens.";
}

/** What is wrong with one entry of an allowlist, and what to write. */
export function allowProblem(entry: string): { message: string; remedy: string } | undefined {
  if (entry === "self" || entry === "src") return undefined;
  if (entry === "'self'" || entry === "'src'")
    return {
      message: "Keywords of Permissions-Policy have no quotes.",
      remedy: "Write self without quotes.",
    };
  if (entry === "*") return { message: '"*" cannot be part of a list.', remedy: 'Write "*" instead of the list.' };
  if (entry === "none" || entry === "'none'")
    return { message: "Permissions-Policy has no keyword none.", remedy: "Write an empty list." };
  return isOriginPattern(entry)
    ? undefined
    : {
        message: "This is not an origin.",
        remedy:
          "Write scheme, host and port as a browser does: https://maps.example.com or https://*.example.com, without a path or a default port.",
      };
}

/** A serialised origin (RFC 6454), or one with `*.` for its subdomains. */
function isOriginPattern(entry: string): boolean {
  if (!/^https?:\/\/[\x21-\x7e]+$/.test(entry)) return false;
  const plain = entry.replace("://*.", "://w.");
  return !plain.includes("*") && parseUrl(plain)?.origin === plain;
}

/** The header's value: an RFC 9651 dictionary (Permissions Policy section 5.2). */
export function permissionsText(permissions: Permissions): string {
  const members: [string, string][] = [];
  for (const [feature, allow] of permissions) {
    members.push([sfKey(feature), allow === "*" ? "*" : sfInnerList(allow.map(entryText))]);
  }
  return sfDictionary(members);
}

function entryText(entry: string): string {
  return entry === "self" || entry === "src" ? sfToken(entry) : sfString(entry);
}
