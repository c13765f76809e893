import type { NextFunction, Request, Response } from "express";
import type { LayerId } from "./layer-id.js";
import type { RequestState } from "./request-state.js";

/** `enforce` refuses; `report` announces the event and lets the request pass. */
export type Mode = "enforce" | "report";

/**
 * What a layer does with one request. It calls `next` at most once. An error that it throws, or passes to `next`,
 * goes to the app's error handling.
 *
 * @param state the state that the layers share for the request; it also collects the headers of this layer
 */
export type RunLayer = (req: Request, res: Response, next: NextFunction, state: RequestState) => unknown;

/** A running layer, with its part of `describe`, `ready` and `close`. */
export interface Layer {
  readonly id: LayerId;
  readonly mode: Mode;
  /** A named function: Express shows the name. */
  readonly run: RunLayer;
  /**
   * Whether the layer is about to do costly work for this request: a call of a store, a slow hash. The pipeline then
   * checks the pending rate limits first; it asks only while there are any.
   */
  readonly isCostly?: (req: Request, state: RequestState) => boolean;
  /** The effective settings, JSON-able, secrets as `[secret]`. */
  describe(): Record<string, unknown>;
  ready?(): Promise<void>;
  close?(): Promise<void>;
}
