import type { Express, Request } from "express";
import { standalone } from "../../src/core/pipeline.js";
import type { Runtime } from "../../src/core/runtime.js";
import { createRuntime } from "../../src/core/runtime.js";
import type { SecurityEvent } from "../../src/core/events.js";
import { createPrincipal } from "../../src/core/principal.js";
import { createPrincipalRateLimit, createRateLimit } from "../../src/rate-limit/middleware.js";
import { rateLimitSchema, type RateLimitSettings } from "../../src/rate-limit/settings.js";
import { parse } from "../../src/settings/object.js";
import type { RateLimitStore } from "../../src/stores/contracts.js";
import { SlidingWindowStore } from "../../src/stores/memory/sliding-window/store.js";
import { ManualClock } from "../support/manual-clock.js";
import { serve, type TestServer } from "../support/serve.js";

export interface Bench {
  server: TestServer;
  clock: ManualClock;
  runtime: Runtime;
  events: SecurityEvent[];
  /** Requests that reached the app. */
  reached: () => number;
}

/** A principal out of a header, in the place of the protections that prove one. */
function authenticate(req: Request): void {
  const id = req.headers["x-test-principal"];
  if (typeof id !== "string") return;
  req.principal = createPrincipal({ id, kind: "jwt", scopes: [], roles: [], credentialId: "c" });
}

/** An app with both limiters in their places, over a real socket. */
export async function bench(
  express: () => Express,
  settings: RateLimitSettings = {},
  {
    store,
    prepare,
    routes,
  }: {
    store?: RateLimitStore;
    prepare?: (app: Express, runtime: Runtime) => void;
    routes?: (app: Express, runtime: Runtime, store: RateLimitStore) => void;
  } = {},
): Promise<Bench> {
  const clock = new ManualClock();
  const runtime = createRuntime({ clock });
  const events: SecurityEvent[] = [];
  runtime.events.on("*", (event) => events.push(event));
  const options = parse(rateLimitSchema, settings);
  const deps = { store: store ?? new SlidingWindowStore({ clock, maxClients: options.maxClients }) };
  const app = express();
  prepare?.(app, runtime);
  const first = createRateLimit(options, runtime, deps);
  if (first !== undefined) app.use(standalone([first], runtime));
  app.use((req, _res, next) => {
    authenticate(req);
    next();
  });
  const second = createPrincipalRateLimit(options, runtime, deps);
  if (second !== undefined) app.use(standalone([second], runtime));
  routes?.(app, runtime, deps.store);
  let reached = 0;
  app.use((_req, res) => {
    reached += 1;
    res.send("ok");
  });
  return { server: await serve(app), clock, runtime, events, reached: () => reached };
}

/** The statuses of that many requests, one after the other. */
export async function statuses(
  server: TestServer,
  count: number,
  headers: Record<string, string> = {},
  path = "/",
): Promise<number[]> {
  const seen: number[] = [];
  for (let i = 0; i < count; i += 1) seen.push((await server.send(path, { headers })).status);
  return seen;
}
