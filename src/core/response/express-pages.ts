import type { ServerResponse } from "node:http";
import type { HeaderBuffer } from "./header-buffer.js";

/**
 * The policy of the pages that Express generates itself: errors and "not found" (finalhandler), redirects and errors
 * of express.static (send). It does not cover framing, base and forms, which have no fallback; and send removes all
 * headers before its error page. Only this policy identifies such a page.
 */
const EXPRESS_POLICY = "default-src 'none'";

/** As strict as Express's own, and with frame-ancestors on every response (ASVS 5.0 V3.4.6). */
export const FINAL_POLICY =
  "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none';object-src 'none'";

/**
 * Whether Express generated the page: an error or a redirect, never a success. If the settings ask for a policy with
 * exactly this text, the policy does not identify such a page.
 */
export function isExpressPage(res: ServerResponse, { lines }: HeaderBuffer): boolean {
  return (
    res.statusCode >= 300 &&
    res.getHeader("Content-Security-Policy") === EXPRESS_POLICY &&
    !lines.includes(EXPRESS_POLICY)
  );
}
