import type { Response } from "express";
import { sharedPrototype } from "../core/head-on-response.js";

/**
 * What Express writes after us. Its error and not-found page (finalhandler) and the redirects of express.static (send)
 * replace the policy by `default-src 'none'`, which says nothing of framing, base and forms: those three have no fallback.
 * And an app mounted in an app announces itself in X-Powered-By again. Both go through `setHeader` of the prototype that
 * all responses of one Express copy share, so that is where they are met: once, and without cost for a request.
 */
const EXPRESS_POLICY = "default-src 'none'";

/** As strict as Express's own, and keeping frame-ancestors on every response (ASVS 5.0 V3.4.6). */
export const FINAL_POLICY = "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none';object-src 'none'";

/** What is to be known of a response of ours. */
export interface FinalResponse {
  /** Whether a policy of ours is enforced on it. */
  readonly enforced: boolean;
  /** Writes the other headers again where they have been cleared. */
  restore(): void;
}

type Inspect = (res: Response) => FinalResponse | undefined;

let lastSeen: object | undefined;
const seen = new WeakSet<object>();

/** Guards every response of the Express copy this one comes from. Responses that are not ours are passed through. */
export function guardResponsesOf(res: Response, inspect: Inspect): void {
  const prototype = Object.getPrototypeOf(res) as object;
  if (prototype === lastSeen) return;
  lastSeen = prototype;
  if (seen.has(prototype)) return;
  seen.add(prototype);
  const root = sharedPrototype(prototype);
  if (root === undefined || (root !== prototype && seen.has(root))) return;
  seen.add(root);
  guard(root, inspect);
}

function guard(prototype: object, inspect: Inspect): void {
  const target = prototype as Pick<Response, "setHeader">;
  const inherited = target.setHeader as (this: Response, name: string, value: number | string | readonly string[]) => Response;
  function setHeader(this: Response, name: string, value: number | string | readonly string[]): Response {
    if (value === EXPRESS_POLICY && name === "Content-Security-Policy") {
      const ours = inspect(this);
      // send, used without an "error" listener, clears every header before it writes its error page.
      ours?.restore();
      if (ours?.enforced === true) return inherited.call(this, name, FINAL_POLICY);
    }
    if (value === "Express" && name === "X-Powered-By" && inspect(this) !== undefined) return this;
    return inherited.call(this, name, value);
  }
  Object.defineProperty(target, "setHeader", { configurable: true, enumerable: false, writable: true, value: setHeader });
}
