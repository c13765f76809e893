import type { OverTls } from "./over-tls.js";

export interface Finding {
  category: string;
  method: string;
  path: string;
  info: string;
}

interface NotTrue {
  category: string;
  info: string;
  path?: string;
  /** Why wapiti is mistaken. */
  reason: string;
  /** Asks the app whether that is so: the reason alone would go on excusing an app that has changed. */
  holds(target: OverTls): Promise<boolean>;
}

/** What wapiti 3.0.4 reports of the quickstart though it is not so. */
export const NOT_TRUE: readonly NotTrue[] = [
  {
    category: "HTTP Secure Headers",
    info: "X-XSS-Protection is not set",
    reason:
      "it is set to 0, as OWASP and helmet advise; wapiti takes only values with a 1 in them for set (mod_http_headers.py, check_list_xss)",
    holds: async (target) => (await target.ask("/")).headers["x-xss-protection"] === "0",
  },
  {
    category: "Cross Site Request Forgery",
    info: "Lack of anti CSRF token",
    path: "/login",
    reason:
      "wapiti looks for a field that is called like a token and sends no request; the app refuses by Sec-Fetch-Site and Origin (OWASP's Fetch Metadata defence), and refused this form from other sites just now",
    holds: async (target) => {
      const form = { method: "POST", body: "username=ada" };
      const from = (headers: Record<string, string>) =>
        target.ask("/login", { ...form, headers: { "Content-Type": "application/x-www-form-urlencoded", ...headers } });
      const foreign = [
        await from({ "Sec-Fetch-Site": "cross-site" }),
        await from({ "Sec-Fetch-Site": "same-site" }),
        await from({ Origin: "https://evil.example" }),
        await from({ Origin: "null" }),
      ];
      const own = await from({ "Sec-Fetch-Site": "same-origin", Origin: target.origin });
      return (
        foreign.every(
          ({ status, text, headers }) =>
            status === 403 && text.includes('"code":"cross-origin-refused"') && headers["set-cookie"] === undefined,
        ) && own.status === 200
      );
    },
  },
];
