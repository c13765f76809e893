import type { IncomingMessage } from "node:http";
import type { Request, Response } from "express";
import { addressOf } from "./http/client-address.js";
import type { LayerId } from "./layer-id.js";
import { HeaderBuffer } from "./response/header-buffer.js";
import { createRuntime, type Runtime } from "./runtime.js";
import type { StoreCaller, Wait } from "./store-caller.js";
import type { PendingLimits } from "./pending-limits.js";

/**
 * On the request itself, and the only property the layers put there for themselves. A WeakMap beside it reads as fast, but the
 * collector goes through its entries again and again: with two of them half of all the time a request took in this process was
 * spent there. Each property costs too: up to Node 22 a request has a shape of its own once Express has changed its prototype,
 * so what is added to it takes 2 to 3 microseconds.
 *
 * A registered symbol, so that a second copy of this package (ESM and CommonJS) finds what the first one did. The number goes
 * up when the state changes in a way that another version would not understand.
 */
const STATE = Symbol.for("portcullis.state@1");

interface Carrier extends IncomingMessage {
  [STATE]?: RequestState;
}

const BITS: Readonly<Record<LayerId, number>> = {
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
};

/** One count that a request was entered in, and those before it. */
export interface CountedIn {
  readonly store: object;
  readonly name: string;
  readonly key: string;
  /** Units counted. */
  cost: number;
  /** The limit that the count was compared with. */
  limit: number;
  readonly next: CountedIn | undefined;
}

/** What `req.session` stands for. */
export interface SessionOfRequest {
  read(): unknown;
  assign(value: unknown): void;
}

/** What the layers know of one request. */
export class RequestState implements StoreCaller {
  /** Of the layer that has the request at the moment, or had it last: it announces what is refused. */
  runtime: Runtime;
  /** Which credential kinds were presented, whether or not they proved valid. */
  presented: "api-key" | "jwt" | undefined;
  /** The service whose key proved the principal: no other service takes its word for it. */
  keyService: object | undefined;
  /** The manager whose access token proved the principal. */
  tokenManager: object | undefined;
  /** Limits this request has met and is not counted in yet; no refusal and no costly work before they agree. */
  limits: PendingLimits | undefined;
  /** What this request has been counted in: a limit met again counts no more. */
  counted: CountedIn | undefined;
  /** The session bound to it. */
  session: SessionOfRequest | undefined;
  /** The id of the credential that is looked up, for the stores. */
  credential: string | undefined;
  /** The servers whose stores this request has waited for in vain. */
  waits: Wait[] | undefined;
  /** Whether a credential has been proved: the answer is for its caller alone. */
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

  /** Where the layers put headers of the response. */
  headersOf(res: Response): HeaderBuffer {
    if (this.#headers === undefined || this.#res !== res) {
      this.#res = res;
      this.#headers = new HeaderBuffer(res);
    }
    return this.#headers;
  }

  /** Keeps headers back until the layers are done with the request, where nobody has given the response any. */
  holdHeaders(res: Response): HeaderBuffer {
    if (this.#headers === undefined && res.getHeaderNames().length === 0) {
      this.#res = res;
      this.#headers = new HeaderBuffer();
    }
    return this.headersOf(res);
  }

  /** The client's normalised address, worked out once per request. */
  address(req: Request): string {
    if (this.#address === undefined) {
      let { ip } = req;
      if (ip === "") {
        // Behind a load balancer serverless-express sets an empty `ip`, which hides what Express reads from X-Forwarded-For.
        delete (req as { ip?: string }).ip;
        ({ ip } = req);
      }
      const peer = req.socket.remoteAddress;
      this.#forwarded = ip !== undefined && ip !== peer;
      this.#address = addressOf(ip, peer);
    }
    return this.#address;
  }

  /** That address, where it has been worked out. */
  get client(): string | undefined {
    return this.#address;
  }

  /** Whether that address is another than the peer's of this connection: a proxy that the app trusts has named it. */
  isForwarded(req: Request): boolean {
    this.address(req);
    return this.#forwarded;
  }

  /** Whether the app that has the request now takes another client for its sender than the one that was asked first. */
  isAddressedOtherwise(req: Request): boolean {
    return this.#address !== undefined && addressOf(req.ip, req.socket.remoteAddress) !== this.#address;
  }

  /**
   * Whether `events` hears this of the request for the first time: what a request that goes on meets twice, the layer of an app
   * and of one mounted in it or one factory's handler mounted twice, is announced once.
   */
  isNews(events: object, what: string): boolean {
    if (this.#announced?.some((known) => known[0] === events && known[1] === what) === true) return false;
    (this.#announced ??= []).push([events, what]);
    return true;
  }

  markRan(layer: LayerId): void {
    this.#ran |= BITS[layer];
  }

  /** Whether that protection ran on this request: guards ask, because "nothing ran" is never "anonymous". */
  hasRun(layer: LayerId): boolean {
    return (this.#ran & BITS[layer]) !== 0;
  }
}

/** For a request that no part with a runtime has seen. */
const standaloneRuntime = createRuntime();

/** The state of a request, made on first use. */
export function stateOf(req: Request): RequestState {
  return ((req as Request & Carrier)[STATE] ??= new RequestState(standaloneRuntime));
}

/** The state of a request, where one has begun. */
export function stateIn(req: object): RequestState | undefined {
  return (req as Carrier)[STATE];
}

/** The state of a request that a part of `runtime` has now: its refusals are announced there. */
export function beginState(req: Request, runtime: Runtime): RequestState {
  const state = ((req as Request & Carrier)[STATE] ??= new RequestState(runtime));
  state.runtime = runtime;
  return state;
}

/**
 * The client's address, for keys of limits and for logs: by the app's `trust proxy` setting, in one spelling (no port, brackets or
 * zone; IPv4 that is mapped or translated into IPv6 as IPv4). `"unknown"` when there is none. In the key of a limit an IPv6
 * address counts by its subnet (`ipv6Subnet`).
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
