import { ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Response } from "express";
import type { HeaderBuffer, HeaderLines } from "./header-buffer.js";

/** Answers the request instead of the app, with the headers of the layers and with `lines`. */
export function send(
  res: Response,
  headers: HeaderBuffer,
  status: number,
  lines: HeaderLines,
  body: string | Buffer | undefined,
): void {
  if (headers.isWaiting && isUntouched(res)) {
    res.writeHead(status, [...headers.lines, ...lines]);
  } else {
    headers.release(res);
    res.statusCode = status;
    for (let at = 0; at < lines.length; at += 2) res.setHeader(lines[at] as string, lines[at + 1] as string);
  }
  res.end(body);
}

/**
 * Whether this is a response of Node's server whose methods are not wrapped to observe or change calls. Other
 * responses, of serverless adapters and of tests, are read with `getHeaders`.
 */
function isUntouched(res: Response): boolean {
  return (
    res.writeHead === ServerResponse.prototype.writeHead &&
    !Object.hasOwn(res, "setHeader") &&
    !Object.hasOwn(res, "end") &&
    res.socket instanceof Socket
  );
}
