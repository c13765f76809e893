import type { Request } from "express";
import { clientAddress } from "./client-address.js";
import type { LayerId } from "./layer.js";
import { createRuntime, type Runtime } from "./runtime.js";

const STATE = Symbol("portcullis");

/** What the layers know of one request. Lives under a symbol of the request, so an app cannot stumble over it. */
export class RequestState {
  runtime: Runtime;
  /** Which credential kinds were presented, whether or not they proved valid. */
  presented: "api-key" | "jwt" | undefined;
  readonly #ran = new Set<LayerId>();
  #address: string | undefined;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** The client's normalised address, worked out once per request. */
  address(req: Request): string {
    return (this.#address ??= clientAddress(req));
  }

  markRan(layer: LayerId): void {
    this.#ran.add(layer);
  }

  /** Whether that protection ran on this request: guards ask, because "nothing ran" is never "anonymous". */
  hasRun(layer: LayerId): boolean {
    return this.#ran.has(layer);
  }
}

interface CarriesState {
  [STATE]?: RequestState;
}

const standalone = createRuntime();

/** The state of a request, made on first use. A factory used alone gets a default runtime. */
export function stateOf(req: Request): RequestState {
  const carrier = req as Request & CarriesState;
  return (carrier[STATE] ??= new RequestState(standalone));
}

/** Begins the state of a request under `runtime`, or keeps the one that an outer pipeline has begun. */
export function beginState(req: Request, runtime: Runtime): RequestState {
  const carrier = req as Request & CarriesState;
  return (carrier[STATE] ??= new RequestState(runtime));
}
