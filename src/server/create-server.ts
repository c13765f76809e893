import http, { type RequestListener, type Server, type ServerOptions } from "node:http";
import { SetupError } from "../core/setup-error.js";
import type { ServerClasses } from "./classes.js";

/** The options of `http.createServer` (all of Node's), except those that `createServer` sets itself. */
export type FastServerSettings = Omit<ServerOptions, keyof ServerClasses>;

/** Refuses a listener: on a plain server it would handle the requests, here it would be ignored. */
export const ONLY_OPTIONS =
  "createServer takes the options of http.createServer and nothing else: its listener is the app. For a listener of your own call http.createServer({ ...security.serverOptions }, listener).";

/**
 * `http.createServer` with the classes of the app.
 *
 * @throws SetupError when the options name classes of their own, or are not an object
 */
export function createFastServer(
  listener: RequestListener,
  classes: ServerClasses,
  options: FastServerSettings = {},
): Server {
  if (typeof (options as unknown) !== "object" || (options as unknown) === null) throw new SetupError(ONLY_OPTIONS);
  for (const name of Object.keys(classes)) {
    if (Object.hasOwn(options, name))
      throw new SetupError(
        `createServer sets ${name} itself. Remove it from the options, or call http.createServer(options, app).`,
      );
  }
  return http.createServer({ ...options, ...classes } as ServerOptions, listener);
}
