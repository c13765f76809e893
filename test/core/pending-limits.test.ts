import type { ErrorRequestHandler } from "express";
import { describe, expect, it } from "vitest";
import type { Layer, RunLayer } from "../../src/core/layer.js";
import type { LimitRefusal, PendingLimits } from "../../src/core/pending-limits.js";
import { compose } from "../../src/core/pipeline.js";
import { refuse } from "../../src/core/response/refuse.js";
import { createRuntime } from "../../src/core/runtime.js";
import { EXPRESS } from "../support/express-versions.js";
import { serve } from "../support/serve.js";

type Step = Pick<Layer, "run" | "isCostly">;

const EXHAUSTED: LimitRefusal = { source: "test", refusal: { code: "rate-limited", reason: "test" } };
/** A store in this process answers at once, another one later; either may refuse or fail. */
const ANSWERS = {
  "allowed at once": () => undefined,
  "allowed later": () => Promise.resolve(undefined),
  "refused at once": () => EXHAUSTED,
  "refused later": () => Promise.resolve(EXHAUSTED),
  "a failure at once": () => {
    throw new Error("broken");
  },
  "a failure later": () => Promise.reject(new Error("broken")),
  "a failure with no value": () => Promise.reject(undefined),
};

describe.each(EXPRESS)("pending limits on $name", ({ express }) => {
  /** Sends one request through a layer that leaves limits pending, and through the given ones. */
  async function through(consume: PendingLimits["consume"], layers: readonly Step[], last: readonly RunLayer[] = []) {
    const log: string[] = [];
    const pend: RunLayer = (_req, _res, next, state) => {
      state.pendingLimits = {
        store: {},
        add: () => undefined,
        consume: (caller) => {
          log.push("check");
          return consume(caller);
        },
        onError: next,
      };
      next();
    };
    const logged = layers.map(({ run, ...rest }, index): Step => ({
      ...rest,
      run: (...given) => {
        log.push(`layer ${index}`);
        return run(...given);
      },
    }));
    const app = express();
    app.use(
      compose([{ run: pend }, ...logged], createRuntime(), {
        last: last.map((run) => (...given) => {
          log.push("last");
          return run(...given);
        }),
      }),
    );
    app.get("/", (_req, res) => {
      log.push("app");
      res.send("ok");
    });
    app.use(((_error, _req, res, _next) => {
      log.push("error");
      res.sendStatus(500);
    }) as ErrorRequestHandler);
    const server = await serve(app);
    const { status } = await server.send("/");
    await server.close();
    return [status, ...log];
  }

  const goOn: RunLayer = (_req, _res, next) => next();
  const goOnLater: RunLayer = (_req, _res, next) => void setImmediate(next);
  const cheap: Step = { run: goOn };
  const costly: Step = { run: goOnLater, isCostly: () => true };
  const notCostlyHere: Step = { run: goOnLater, isCostly: () => false };
  const refusing: Step = { run: (req, res) => void refuse(req, res, "test", { code: "untrusted-host", reason: "x" }) };

  it.each([
    ["allowed at once", [200, "layer 0", "check", "layer 1", "layer 2", "app"]],
    ["allowed later", [200, "layer 0", "check", "layer 1", "layer 2", "app"]],
    ["refused at once", [429, "layer 0", "check"]],
    ["refused later", [429, "layer 0", "check"]],
    ["a failure at once", [500, "layer 0", "check", "error"]],
    ["a failure later", [500, "layer 0", "check", "error"]],
    ["a failure with no value", [500, "layer 0", "check", "error"]],
  ] as const)("are checked once, before the first costly layer: %s", async (answer, expected) => {
    expect(await through(ANSWERS[answer], [cheap, costly, costly])).toEqual(expected);
  });

  it.each([
    ["allowed at once", [200, "layer 0", "layer 1", "check", "app"]],
    ["allowed later", [200, "layer 0", "layer 1", "check", "app"]],
    ["refused at once", [429, "layer 0", "layer 1", "check"]],
    ["refused later", [429, "layer 0", "layer 1", "check"]],
    ["a failure at once", [500, "layer 0", "layer 1", "check", "error"]],
    ["a failure later", [500, "layer 0", "layer 1", "check", "error"]],
  ] as const)("are checked before the app when no layer is costly: %s", async (answer, expected) => {
    expect(await through(ANSWERS[answer], [cheap, notCostlyHere])).toEqual(expected);
  });

  it("are checked before a function of the app that runs after the layers", async () => {
    expect(await through(ANSWERS["allowed later"], [cheap], [goOn])).toEqual([200, "layer 0", "check", "last", "app"]);
    expect(await through(ANSWERS["refused later"], [cheap], [goOn])).toEqual([429, "layer 0", "check"]);
  });

  const failing: Record<string, RunLayer> = {
    "that throws": () => {
      throw new Error("hostile");
    },
    "that rejects": async () => Promise.reject(new Error("hostile")),
    "that passes an error on": (_req, _res, next) => next(new Error("hostile")),
    "that passes an error on later": (_req, _res, next) => void setImmediate(() => next(new Error("hostile"))),
    "that passes two errors on": (_req, _res, next) => {
      next(new Error("hostile"));
      next(new Error("again"));
    },
    "that throws after it failed": (_req, _res, next) => {
      next(new Error("hostile"));
      throw new Error("again");
    },
  };

  it.each(Object.keys(failing))("count a request that makes a layer fail, one %s", async (how) => {
    const layers = [cheap, { run: failing[how]! }, costly];
    for (const answer of ["allowed at once", "allowed later", "a failure at once", "a failure later"] as const)
      expect(await through(ANSWERS[answer], layers)).toEqual([500, "layer 0", "layer 1", "check", "error"]);
    for (const answer of ["refused at once", "refused later"] as const)
      expect(await through(ANSWERS[answer], layers)).toEqual([429, "layer 0", "layer 1", "check"]);
    // Counted before the costly layer, and not again when that one fails.
    expect(await through(ANSWERS["allowed later"], [costly, { run: failing[how]! }])).toEqual([
      500,
      "check",
      "layer 0",
      "layer 1",
      "error",
    ]);
  });

  it.each([
    ["allowed at once", [400, "layer 0", "layer 1", "check"]],
    ["allowed later", [400, "layer 0", "layer 1", "check"]],
    ["refused at once", [429, "layer 0", "layer 1", "check"]],
    ["refused later", [429, "layer 0", "layer 1", "check"]],
    ["a failure at once", [500, "layer 0", "layer 1", "check", "error"]],
    ["a failure later", [500, "layer 0", "layer 1", "check", "error"]],
    ["a failure with no value", [500, "layer 0", "layer 1", "check", "error"]],
  ] as const)("are checked before another refusal is sent: %s", async (answer, expected) => {
    expect(await through(ANSWERS[answer], [cheap, refusing, costly])).toEqual(expected);
  });
});
