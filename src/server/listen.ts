import type { Server } from "node:http";
import type { Express } from "express";

/**
 * Makes `app.listen` create its server with `create`. A `listen` that is not Express's own (express-ws brings one) stays
 * as it is.
 *
 * @param reportsErrors whether the callback also receives the error of a server that cannot listen, as on Express 5
 */
export function replaceListen(app: Express, create: () => Server, reportsErrors: boolean): void {
  const ofExpress = app.listen as (...args: unknown[]) => Server;
  if (!isOfExpress(ofExpress)) return;
  function listen(this: unknown, ...args: unknown[]): Server {
    // Called on a wrapper around the app, Express serves the wrapper.
    if (this !== app) return ofExpress.apply(this, args);
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

const SERVER = "functionlisten(){varserver=http.createServer(this)";
const SLICED = (slice: string): string =>
  `${SERVER}varargs=${slice}.call(arguments)if(typeofargs[args.length-1]==='function'){vardone=args[args.length-1]=once(args[args.length-1])server.once('error',done)}returnserver.listen.apply(server,args)}`;
/** The methods of Express 4 and 5, without space and semicolons. */
const LISTEN_OF_EXPRESS: ReadonlySet<string> = new Set([
  `${SERVER}returnserver.listen.apply(server,arguments)}`,
  SLICED("Array.prototype.slice"),
  SLICED("slice"),
]);

/** Express gives each app a copy of this method, so it is recognised by its text; any other is left alone. */
function isOfExpress(listen: (...args: never[]) => unknown): boolean {
  return LISTEN_OF_EXPRESS.has(Function.prototype.toString.call(listen).replace(/[\s;]+/g, ""));
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
