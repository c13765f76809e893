import type { IncomingMessage } from "node:http";
import type { Request, Response } from "express";
import { addressOf } from "./http/client-address.js";
import type { LayerId } from "./layer-id.js";
import { HeaderBuffer } from "./response/header-buffer.js";
import { createRuntime, type Runtime } from "./runtime.js";
import type { StoreCaller, Wait } from "./store-caller.js";
import type { PendingLimits } from "./pending-limits.js";
import type { WindowOutcome, WindowPolicy } from "./rate-limits.js";

/**
 * The state is stored on the request itself, in the only property that the layers add for themselves. A WeakMap is as
 * fast to read, but the garbage collector scans its entries again and again: with two of them, half of the time that
 * a request took in this process was spent there. Each property also costs time: up to Node 22 a request has its own
 * shape once Express has changed its prototype, so adding a property takes 2 to 3 microseconds.
 *
 * A registered symbol, so that a second copy of this package (ESM and CommonJS) finds the state of the first. The
 * number goes up when the state changes in a way that another version would not understand.
 */
const STATE = Symbol.for("portcullis.state@1");

interface Carrier extends IncomingMessage {
  [STATE]?: RequestState;
}

/** What a guard asks for: a layer, or the app's own authentication. */
type Protection = LayerId | "external";

const BITS: Readonly<Record<Protection, number>> = {
  context: 1,
  headers: 2,
  "trusted-host": 4,
  cors: 8,
  "rate-limit": 16,
  csrf: 32,
  session: 64,
  "api-key": 128,
  jwt: 256,
  "principal-rate-limit": 512,
  external: 1024,
};

/** One count that includes the request, linked to those before it. */
export interface CountedIn {
  readonly store: object;
  readonly policy: WindowPolicy;
  readonly key: string;
  /** Units counted in all. */
  cost: number;
  /** The limit that the count was compared with. */
  limit: number;
  /** Units that this entry has added. */
  readonly units: number;
  /** The limiter to which the count belongs. */
  readonly limiter: object;
  /** The answer of the store; `undefined` while it has not answered. */
  outcome: WindowOutcome | undefined;
  /** When it answered, in milliseconds since the epoch. */
  decidedAt: number;
  /** The store that counted: that of the limiter or, while it fails, one in this process. */
  counter: object | undefined;
  /** Names the units in that store; `undefined` when they were not recorded, or were taken back. */
  recordedAt: number | string | undefined;
  readonly next: CountedIn | undefined;
}

/** Provides the value of `req.session`. */
export interface SessionOfRequest {
  read(): unknown;
  assign(value: unknown): void;
}

/** The state that the layers share for one request. */
export class RequestState implements StoreCaller {
  /** The runtime of the layer that handles the request now, or did so last; it announces refusals. */
  runtime: Runtime;
  /** The kind of credential that was presented, whether or not it proved valid. */
  presented: "api-key" | "jwt" | undefined;
  /** The service whose key authenticated the caller: no other service relies on it. */
  keyService: object | undefined;
  /** The manager whose access token authenticated the caller. */
  tokenManager: object | undefined;
  /** Limits that have not counted this request yet. */
  pendingLimits: PendingLimits | undefined;
  /** The counts that include this request: a limit that it meets again does not count it twice. */
  counted: CountedIn | undefined;
  /** Called once the request has logged a user in. */
  onLogIn: (() => void) | undefined;
  /** The session of this request. */
  session: SessionOfRequest | undefined;
  /** What the app's function has said about the origin of this request. */
  askedOrigin: { readonly by: object; readonly name: string; readonly trust: boolean | undefined } | undefined;
  /** The id of the credential whose record is looked up; the stores use it. */
  credential: string | undefined;
  /** The servers whose stores did not answer this request in time. */
  waits: Wait[] | undefined;
  /** How the layers of `app` ended, when they ran before Express and the app has not yet gone on from there. */
  outcome: { readonly app: object; readonly error: unknown } | undefined;
  /** Whether the caller is authenticated: the response is then for that caller only. */
  isPrivate = false;
  #ran = 0;
  #res: Response | undefined;
  #headers: HeaderBuffer | undefined;
  #address: string | undefined;
  #forwarded = false;
  #announced: [events: object, what: string][] | undefined;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** The buffer for the headers that the layers add to the response. */
  headersOf(res: Response): HeaderBuffer {
    if (this.#headers === undefined || this.#res !== res) {
      this.#res = res;
      this.#headers = new HeaderBuffer(res);
    }
    return this.#headers;
  }

  /** Buffers headers until the layers have finished with the request, unless the response has headers already. */
  holdHeaders(res: Response): HeaderBuffer {
    if (this.#headers === undefined && res.getHeaderNames().length === 0) {
      this.#res = res;
      this.#headers = new HeaderBuffer();
    }
    return this.headersOf(res);
  }

  /** The client's normalised address, computed once per request. */
  address(req: Request): string {
    if (this.#address === undefined) {
      let { ip } = req;
      if (ip === "") {
        // Behind a load balancer, serverless-express sets an empty `ip`, which hides what Express reads from
        // X-Forwarded-For.
        delete (req as { ip?: string }).ip;
        ({ ip } = req);
      }
      const peer = req.socket.remoteAddress;
      this.#forwarded = ip !== undefined && ip !== peer;
      this.#address = addressOf(ip, peer);
    }
    return this.#address;
  }

  /** That address, if it has been computed. */
  get client(): string | undefined {
    return this.#address;
  }

  /** Whether that address differs from the peer address of this connection: a trusted proxy has named it. */
  isForwarded(req: Request): boolean {
    this.address(req);
    return this.#forwarded;
  }

  /** Whether the current app computes a different client address than the app that computed it first. */
  isAddressedOtherwise(req: Request): boolean {
    return this.#address !== undefined && addressOf(req.ip, req.socket.remoteAddress) !== this.#address;
  }

  /**
   * Whether this request causes this event on `events` for the first time. It may do so twice, in the layers of an
   * outer and a mounted app or in a handler that is mounted twice, but the event is announced once.
   */
  isFirstReport(events: object, what: string): boolean {
    if (this.#announced?.some((known) => known[0] === events && known[1] === what) === true) return false;
    (this.#announced ??= []).push([events, what]);
    return true;
  }

  markRan(protection: Protection): void {
    this.#ran |= BITS[protection];
  }

  /** Whether that protection ran on this request. Guards ask, because "nothing ran" must not mean "anonymous". */
  hasRun(protection: Protection): boolean {
    return (this.#ran & BITS[protection]) !== 0;
  }
}

/** The runtime of requests that no component with its own runtime has handled. */
const standaloneRuntime = createRuntime();

/** The state of a request, created on first use. */
export function stateOf(req: Request): RequestState {
  return ((req as Request & Carrier)[STATE] ??= new RequestState(standaloneRuntime));
}

/** The state of a request, if it has one. */
export function stateIn(req: object): RequestState | undefined {
  return (req as Carrier)[STATE];
}

/** The state of a request that a component of `runtime` handles now: `runtime` announces its refusals. */
export function beginState(req: Request, runtime: Runtime): RequestState {
  const state = ((req as Request & Carrier)[STATE] ??= new RequestState(runtime));
  state.runtime = runtime;
  return state;
}

/**
 * The client's address, for keys of limits and for logs. It follows the app's `trust proxy` setting and has one
 * spelling (no port, brackets or zone; IPv4 that is mapped or translated into IPv6 as IPv4). `"unknown"` when there
 * is none. In the key of a limit, an IPv6 address counts by its subnet (`ipv6Subnet`).
 *
 *     security.rateLimit({ name: "search", limit: 10, key: (req) => `${clientAddress(req)} ${req.params.index}` })
 *
 * @example
 * ```ts
 * import express from "express";
 * import { clientAddress } from "portcullis";
 *
 * const app = express();
 * app.get("/", (req, res) => void res.json({ address: clientAddress(req) }));
 * ```
 */
export function clientAddress(req: Request): string {
  return stateIn(req)?.address(req) ?? addressOf(req.ip, req.socket.remoteAddress);
}
