import type { Server } from "node:http";
import type { Express, Request } from "express";
import { compose } from "./core/pipeline.js";
import { requestContext } from "./core/request-events.js";
import type { Runtime } from "./core/runtime.js";
import { SetupError } from "./core/setup-error.js";
import { firstRequestReport } from "./first-request-report.js";
import { lateQueryParser } from "./late-settings.js";
import type { SecurityParts } from "./security-parts.js";
import { firstMiddleware, isExpress4 } from "./prepare-app.js";
import { beforeExpress } from "./server/before-express.js";
import { serverClasses, type ServerClasses } from "./server/classes.js";
import { createFastServer, ONLY_OPTIONS, type FastServerSettings } from "./server/create-server.js";
import { replaceListen } from "./server/listen.js";

/** The servers that an app can be served by. */
export interface Servers {
  createServer(options?: FastServerSettings): Server;
  readonly serverOptions: ServerClasses;
}

/** Mounts the layers as one handler, the first middleware of the app, and lets `app.listen` use a fast server. */
export function mountLayers(app: Express, { layers, runtime, settings }: SecurityParts): Servers {
  const lateParser = lateQueryParser(app);
  const leave = (req: Request, error?: object): void => {
    if (error !== undefined) announceFailure(req, runtime);
  };
  const pipeline = compose(
    layers.map(({ layer }) => layer),
    runtime,
    { last: lateParser === undefined ? [] : [lateParser], enter: firstRequestReport(app, runtime, settings), leave },
  );
  const handler = runtime.resources.carry(pipeline);
  const early =
    !isExpress4(app) && firstMiddleware(app) === undefined
      ? beforeExpress(app, handler, () => firstMiddleware(app))
      : { listener: app, middleware: handler };
  app.use(early.middleware);
  const serverOptions = serverClasses(app);
  const createServer = (options?: FastServerSettings, ...more: unknown[]): Server => {
    if (more.length > 0) throw new SetupError(ONLY_OPTIONS);
    return createFastServer(early.listener, serverOptions, options);
  };
  if (settings.fastServer) replaceListen(app, createServer, !isExpress4(app));
  return { createServer, serverOptions };
}

/** The event does not include the error, which may contain anything: it goes to the app's error handling. */
function announceFailure(req: Request, runtime: Runtime): void {
  runtime.events.emit("portcullis_layer_failed", () => {
    const what = { source: "pipeline", reason: "unexpected-error" };
    try {
      return { ...what, ...requestContext(req) };
    } catch {
      // Reading one of these facts may be what made the layer fail.
      return what;
    }
  });
}
