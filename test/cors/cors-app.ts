import type { Request, Response } from "express";
import type express from "express";
import { standalone } from "../../src/core/pipeline.js";
import { SecurityEvents, type SecurityEvent } from "../../src/core/events.js";
import { createRuntime } from "../../src/core/runtime.js";
import { createCors } from "../../src/cors/middleware.js";
import { corsSchema, type CorsSettings } from "../../src/cors/settings.js";
import { parse } from "../../src/settings/object.js";
import { type Answer, serve, type TestServer } from "../support/serve.js";

export interface CorsServer extends TestServer {
  events: SecurityEvent[];
  /** Methods of the requests that came through to the app. */
  reached: string[];
  use(settings: CorsSettings): void;
}

/** One server whose CORS layer can be exchanged. The app answers every method with 200 and its own Vary on /vary. */
export async function corsServer(
  factory: typeof express,
  settings: CorsSettings,
  trustProxy: boolean = false,
): Promise<CorsServer> {
  const events: SecurityEvent[] = [];
  const reached: string[] = [];
  const runtime = createRuntime({ events: new SecurityEvents().on("*", (event) => events.push(event)) });
  const make = (next: CorsSettings) => standalone([createCors(parse(corsSchema, next))], runtime);
  let handler = make(settings);
  const app = factory();
  app.set("trust proxy", trustProxy);
  app.use("/vary", (_req, res, next) => {
    res.setHeader("Vary", "Accept-Encoding");
    next();
  });
  app.use((req, res, next) => void handler(req, res, next));
  app.use("/late", (_req, res, next) => {
    res.vary("Accept-Language");
    next();
  });
  app.use((req: Request, res: Response) => {
    reached.push(req.method);
    res.status(req.path === "/limited" ? 429 : 200).end("app");
  });
  const server = await serve(app);
  return Object.assign(server, {
    events,
    reached,
    use: (next: CorsSettings) => {
      handler = make(next);
    },
  });
}

/** Every header of an answer that bears on CORS: the closed world. Anything that is not expected fails the comparison. */
export function corsHeaders(answer: Answer): Record<string, string | string[] | undefined> {
  return Object.fromEntries(
    Object.entries(answer.headers).filter(([name]) => name.startsWith("access-control-") || name === "vary"),
  );
}
