import type { ErrorRequestHandler, RequestHandler } from "express";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compose } from "../../src/core/pipeline.js";
import { createRuntime } from "../../src/core/runtime.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

describe.each(EXPRESS)("compose on $name", ({ express }) => {
  async function through(handlers: RequestHandler[]) {
    const app = express();
    app.use(
      compose(
        handlers.map((run) => ({ run })),
        createRuntime(),
      ),
    );
    app.get("/", (_req, res) => void res.send("reached"));
    app.use(((error, _req, res, _next) =>
      res.status(500).send(`error: ${(error as Error).message}`)) as ErrorRequestHandler);
    const server = await serve(app);
    const answer = await server.send("/");
    await server.close();
    return answer.text;
  }

  it("runs synchronous and asynchronous layers in order", async () => {
    const order: number[] = [];
    const handlers: RequestHandler[] = [0, 1, 2, 3].map((n) => (_req, _res, next) => {
      order.push(n);
      if (n % 2 === 0) next();
      else setImmediate(next);
    });
    expect(await through(handlers)).toBe("reached");
    expect(order).toEqual([0, 1, 2, 3]);
  });

  it("a layer that throws, or passes an error on, never reaches the route", async () => {
    const thrower: RequestHandler = () => {
      throw new Error("thrown");
    };
    const passer: RequestHandler = (_req, _res, next) => next(new Error("passed"));
    const never: RequestHandler = (_req, res) => void res.send("must not run");
    expect(await through([thrower, never])).toBe("error: thrown");
    expect(await through([passer, never])).toBe("error: passed");
  });

  it("keeps the order of any subset of layers", async () => {
    await fc.assert(
      fc.asyncProperty(fc.subarray([1, 2, 3, 4, 5, 6]), async (subset) => {
        const seen: number[] = [];
        await through(subset.map((n) => (_req, _res, next) => (seen.push(n), next())));
        expect(seen).toEqual(subset);
      }),
      { numRuns: 20 },
    );
  });
});
