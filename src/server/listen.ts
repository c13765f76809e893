import type { Server } from "node:http";
import type { Express } from "express";

/**
 * Makes `app.listen` create its server with `create`. A `listen` that is not Express's own (express-ws brings one) stays
 * as it is.
 *
 * @param reportsErrors whether the callback also receives the error of a server that cannot listen, as on Express 5
 */
export function replaceListen(app: Express, create: () => Server, reportsErrors: boolean): void {
  if (!isOfExpress(app.listen)) return;
  function listen(...args: unknown[]): Server {
    const server = create();
    const callback = args.at(-1);
    if (reportsErrors && typeof callback === "function") {
      const done = once(callback as (...args: unknown[]) => void);
      server.once("error", done);
      args[args.length - 1] = done;
    }
    return server.listen(...(args as Parameters<Server["listen"]>));
  }
  app.listen = listen as Express["listen"];
}

/** Express gives each app a copy of this method, so it is recognised by what it does. */
function isOfExpress(listen: (...args: never[]) => unknown): boolean {
  return Function.prototype.toString.call(listen).includes(".createServer(this)");
}

/** Express calls the callback either with the error or when the server listens, and not twice. */
function once(callback: (...args: unknown[]) => void): (...args: unknown[]) => void {
  let isCalled = false;
  return function (this: unknown, ...args: unknown[]): void {
    if (isCalled) return;
    isCalled = true;
    callback.apply(this, args);
  };
}
