import type { ErrorRequestHandler } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiKeyService, JwtManager, parseSettings, SlidingWindowStore } from "portcullis";
import { compose } from "../../src/core/pipeline.js";
import type { RunLayer } from "../../src/core/layer.js";
import { createRuntime, type Runtime } from "../../src/core/runtime.js";
import { LAYERS } from "../../src/layers.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";
import { thrown } from "./pipeline-faults.js";
import { runs } from "./seed.js";
import { SECRETS } from "./settings-arbitraries.js";

/** The real layers, one of which may be put out of order. */
function realLayers(): { handlers: RunLayer[]; runtime: Runtime; close: () => Promise<void> } {
  const settings = parseSettings({
    secretKey: SECRETS.root,
    trustedHosts: ["127.0.0.1"],
    debug: true,
    cors: { origins: ["https://app.example"] },
    rateLimit: { limit: 1000, perPrincipal: { limit: 1000 } },
    session: {},
    apiKeys: {},
    jwt: {},
  });
  const runtime = createRuntime({ debug: true });
  const limitStore = new SlidingWindowStore();
  const apiKeys = new ApiKeyService(settings.apiKeys || {}, {
    runtime,
    secretKey: settings.secretKey,
    limiter: limitStore,
  });
  const jwt = new JwtManager(settings.jwt || {}, { runtime, secretKey: settings.secretKey });
  const layers = LAYERS.flatMap(
    (row) =>
      row.create({ settings, runtime, limitStore, sessionStore: undefined, apiKeys, jwt, originCheck: undefined }) ??
      [],
  );
  const close = async (): Promise<void> => {
    await Promise.all([apiKeys.close(), jwt.close(), ...layers.map(async (layer) => layer.close?.())]);
    limitStore.close();
  };
  return { handlers: layers.map(({ run }) => run), runtime, close };
}

const WAYS = ["throws", "throws after a while", "passes on", "passes on after a while"] as const;

function failing(way: (typeof WAYS)[number], error: unknown): RunLayer {
  return (_req, _res, next) => {
    switch (way) {
      case "throws":
        throw error;
      case "throws after a while":
        // Express 5 takes a promise from a handler; so does the pipeline.
        return new Promise((_resolve, reject) => setTimeout(() => reject(error as Error), 2));
      case "passes on":
        return next(error);
      case "passes on after a while":
        return void setTimeout(() => next(error), 2);
    }
  };
}

describe.each(EXPRESS)("on $name", ({ express }) => {
  it("any error of a layer in any place goes to the app's error handling: no later layer and no route runs", async () => {
    const { handlers, runtime, close } = realLayers();
    expect(handlers).toHaveLength(LAYERS.length);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(handlers.length - 1),
        fc.boolean(),
        fc.constantFrom(...WAYS),
        thrown,
        async (at, isInstead, way, error) => {
          // `next()` and `next(null)` say that all is well.
          fc.pre(!way.startsWith("passes") || (error !== undefined && error !== null));
          const later: number[] = [];
          const watched = handlers.map(
            (handler, index): RunLayer =>
              (req, res, next, state) => (later.push(index), handler(req, res, next, state)),
          );
          const app = express();
          app.use(
            compose(
              [...watched.slice(0, at), failing(way, error), ...watched.slice(isInstead ? at + 1 : at)].map((run) => ({
                run,
              })),
              runtime,
            ),
          );
          let reached = false;
          app.get("/", (_req, res) => {
            reached = true;
            res.send("reached");
          });
          app.use(((_error, _req, res, _next) => void res.status(500).send("failed")) as ErrorRequestHandler);
          const server = await serve(app);
          const answer = await Promise.race([
            server.send("/"),
            new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 1000).unref()),
          ]);
          await server.close();
          expect(reached).toBe(false);
          expect(later).toEqual([...Array(at).keys()]);
          expect([answer?.status, answer?.text]).toEqual([500, "failed"]);
        },
      ),
      { numRuns: runs(150) },
    );
    await close();
  }, 120_000);
});
