import type { Response } from "express";

/** Rejects header changes while the response is held: the app has already ended it. */
const LOCK: PropertyDescriptorMap = {
  headersSent: { configurable: true, get: () => true },
  ...Object.fromEntries(
    ["setHeader", "setHeaders", "appendHeader", "removeHeader"].map((name) => [
      name,
      { configurable: true, writable: true, value: refuseLateHeader },
    ]),
  ),
};

/**
 * Makes changes of the headers throw, as Node does once they are sent.
 *
 * @returns a function that undoes the lock, with the status of the moment when it began
 */
export function lockHeaders(res: Response): () => void {
  const { statusCode, statusMessage } = res;
  const before = Object.keys(LOCK).map((name) => [name, Object.getOwnPropertyDescriptor(res, name)] as const);
  Object.defineProperties(res, LOCK);
  return () => {
    for (const [name, own] of before) {
      if (own === undefined) Reflect.deleteProperty(res, name);
      else Object.defineProperty(res, name, own);
    }
    res.statusCode = statusCode;
    res.statusMessage = statusMessage;
  };
}

/**
 * Throws as Node does once the headers are sent. A Content-Length changed now could give one client bytes of another
 * client's response.
 */
function refuseLateHeader(): never {
  throw Object.assign(new Error("Cannot change headers after they are sent to the client"), {
    code: "ERR_HTTP_HEADERS_SENT",
  });
}
