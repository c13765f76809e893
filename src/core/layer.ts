import type { RequestHandler } from "express";

/** Ids of the layers, in no order: the order is a number in `src/layers.ts`. */
export type LayerId =
  | "context"
  | "headers"
  | "trusted-host"
  | "cors"
  | "rate-limit"
  | "csrf"
  | "session"
  | "api-key"
  | "jwt"
  | "principal-rate-limit";

export type Mode = "enforce" | "report";

/** A layer at work: a named handler, and what `describe`, `ready` and `close` need of it. */
export interface Layer {
  readonly id: LayerId;
  readonly mode: Mode;
  /** The Express part. Calls `next` at most once, never throws. */
  readonly handler: RequestHandler;
  /** What it still has to do after all the layers, before the app. */
  readonly last?: RequestHandler;
  /** The effective settings, JSON-able, secrets as `[secret]`. */
  describe(): Record<string, unknown>;
  ready?(): Promise<void>;
  close?(): Promise<void>;
}
