/** What is sent without settings: written out, so that a change of a default is a change of this file. */
export const DEFAULT_PLAIN: Readonly<Record<string, string>> = {
  "Content-Security-Policy":
    "default-src 'self';base-uri 'none';object-src 'none';frame-ancestors 'none';form-action 'self';script-src 'self';script-src-attr 'none';style-src 'self';img-src 'self' data:;font-src 'self';upgrade-insecure-requests",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy":
    "accelerometer=(), bluetooth=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), screen-wake-lock=(), serial=(), usb=(), window-management=(), xr-spatial-tracking=()",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
  "X-XSS-Protection": "0",
};

export const DEFAULT_SECURE: Readonly<Record<string, string>> = {
  ...DEFAULT_PLAIN,
  "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
};

/** On Express's own error and not-found pages. */
export const FINAL_CSP =
  "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none';object-src 'none'";

/** The same headers without one. */
export function without(headers: Readonly<Record<string, string>>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
}
