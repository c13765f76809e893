import type { Response } from "express";
import type { MaybePromise } from "../maybe-promise.js";
import type { RequestState } from "../request-state.js";
import { applyHead } from "./apply-head.js";
import { finishHeadOf } from "./finish-head.js";
import { lockHeaders } from "./lock-headers.js";
import { keepConnection } from "./keep-connection.js";

/** Work that must finish before a response is sent. */
export interface BeforeSend {
  /**
   * Whether there is work to do. Called before headers are examined, so it should be cheap.
   *
   * @throws what the app's data throws
   */
  isPending(): boolean;
  /** Does the work. True: the response may be sent. False: it must not. Does not change headers. Never rejects. */
  run(): MaybePromise<boolean>;
  /** Adds the result of the commit to the response; called once `run` has returned true. */
  onCommitted(): void;
  /** Answers instead of the app, on a response that has been cleared. */
  onRefused(): void;
}

type Method = "writeHead" | "write" | "end" | "flushHeaders";
type AnyMethod = (...args: unknown[]) => unknown;
const METHODS: readonly Method[] = ["writeHead", "write", "end", "flushHeaders"];

/** Headers that describe a response that will not be sent. Security headers stay. */
const OF_THE_ANSWER =
  /^(?:content-(?!security-policy)|(?:etag|last-modified|location|set-cookie|transfer-encoding|accept-ranges|expires|age|refresh|link|trailer|cache-control)$)/;

/**
 * Delays a response until its commit has finished. express-session sends the headers and all of the body but one byte
 * before the save has finished, so a browser can follow a redirect before its session exists (expressjs/session#309,
 * #526). Here nothing is sent before: calls that would send are queued, `write` returns false and "drain" follows.
 *
 * When the commit is synchronous (a store in memory), nothing is queued.
 */
export function holdResponse(res: Response, state: RequestState, commit: BeforeSend): void {
  // Must come before the wrapping below: what the commit adds is sent with the headers.
  finishHeadOf(res, state);
  new HeldResponse(res, state, commit).install();
}

class HeldResponse {
  readonly #res: Response;
  readonly #state: RequestState;
  readonly #commit: BeforeSend;
  readonly #original: Record<Method, AnyMethod>;
  #phase: "waiting" | "held" | "open" | "refused" = "waiting";
  #queue: (readonly [Method, readonly unknown[]])[] = [];
  #unlock: () => void = () => undefined;
  #headQueued = false;
  #endQueued = false;
  #needsDrain = false;

  constructor(res: Response, state: RequestState, commit: BeforeSend) {
    this.#res = res;
    this.#state = state;
    this.#commit = commit;
    this.#original = {
      writeHead: method(res, "writeHead"),
      write: method(res, "write"),
      end: method(res, "end"),
      flushHeaders: method(res, "flushHeaders"),
    };
  }

  install(): void {
    const held = this as HeldResponse;
    put(this.#res, {
      writeHead: (...args) => held.#writeHead(args),
      write: (...args) => held.#write(args),
      end: (...args) => held.#end(args),
      flushHeaders: () => held.#flushHeaders(),
    });
  }

  #call(name: Method, args: readonly unknown[]): unknown {
    return this.#original[name].apply(this.#res, [...args]);
  }

  #writeHead(args: unknown[]): unknown {
    if (this.#phase === "waiting" && isStatus(args[0]) && this.#begins()) {
      // Applied now, so that invalid headers throw here, and so that our headers are added and not replaced.
      applyHead(this.#res, args);
      this.#start();
      if (this.#after() === "open") return this.#call("writeHead", [this.#res.statusCode]);
    }
    if (this.#phase === "refused") return this.#res;
    if (this.#phase !== "held") return this.#call("writeHead", args);
    // compression calls this before every write for as long as no header was sent.
    if (!this.#headQueued) {
      this.#headQueued = true;
      this.#queue.push(["writeHead", []]);
    }
    return this.#res;
  }

  #flushHeaders(): void {
    if (this.#phase === "waiting" && this.#begins()) this.#start();
    if (this.#phase === "held") this.#queue.push(["flushHeaders", []]);
    else if (this.#phase === "open") this.#call("flushHeaders", []);
  }

  #write(args: unknown[]): unknown {
    if (!isChunk(args[0])) return this.#call("write", args);
    if (this.#phase === "waiting" && this.#begins()) this.#start();
    if (this.#phase === "refused") return discard(args, true);
    if (this.#phase !== "held") return this.#call("write", args);
    this.#queue.push(["write", args]);
    this.#needsDrain = true;
    return false;
  }

  #end(args: unknown[]): unknown {
    if (args[0] != null && typeof args[0] !== "function" && !isChunk(args[0])) return this.#call("end", args);
    if (this.#phase === "refused") return discard(args, this.#res);
    if (this.#phase === "held") {
      if (!this.#endQueued) this.#queueEnd(args);
      return this.#res;
    }
    // Also when the headers have been sent: a stream may have changed the session since.
    if (!this.#res.writableEnded && this.#begins()) this.#start();
    if (this.#after() === "held") {
      this.#queueEnd(args);
      return this.#res;
    }
    return this.#after() === "refused" ? discard(args, this.#res) : this.#call("end", args);
  }

  #queueEnd(args: unknown[]): void {
    this.#endQueued = true;
    this.#queue.push(["end", args]);
  }

  /** The phase after `#start`; a method, because the compiler assumes that calls do not change fields. */
  #after(): string {
    return this.#phase;
  }

  /** Whether there is something to commit. From here on the phase is `open`, unless `#start` changes it. */
  #begins(): boolean {
    this.#phase = "open";
    return this.#commit.isPending();
  }

  #start(): void {
    const answer = this.#commit.run();
    if (!(answer instanceof Promise)) {
      if (answer) this.#commit.onCommitted();
      else this.#refuse();
      return;
    }
    this.#phase = "held";
    // The app has answered: a second answer (from an error handler) must not be mixed with the first.
    this.#unlock = lockHeaders(this.#res);
    const release = keepConnection(this.#res.socket);
    void answer.then((granted) => {
      const destroy = release();
      this.#release(granted);
      if (destroy === undefined) return;
      if (this.#endQueued && !this.#res.destroyed) this.#res.once("close", destroy);
      else destroy();
    });
  }

  #release(granted: boolean): void {
    this.#unlock();
    this.#phase = "open";
    if (!granted && !this.#res.headersSent) {
      this.#refuse();
    } else {
      if (granted) this.#commit.onCommitted();
      this.#replay();
    }
    const drains =
      this.#needsDrain && !this.#endQueued && (this.#after() === "refused" || !this.#res.writableNeedDrain);
    this.#needsDrain = false;
    if (drains) this.#res.emit("drain");
  }

  #replay(): void {
    const queue = this.#queue;
    this.#queue = [];
    try {
      for (const [name, args] of queue) {
        if (name !== "writeHead") this.#call(name, args);
        else if (!this.#res.headersSent) this.#call(name, [this.#res.statusCode]);
      }
    } catch (error) {
      // An error that the app would have received (a body longer than its Content-Length) has no caller here to catch
      // it.
      this.#res.destroy(error instanceof Error ? error : undefined);
    }
  }

  #refuse(): void {
    for (const [, args] of this.#queue) discard(args, undefined);
    this.#queue = [];
    if (this.#res.headersSent) return;
    clearAnswer(this.#res);
    this.#state.headersOf(this.#res).takeCookies();
    // Bypasses functions wrapped around ours since (compression), for which the response has ended.
    put(this.#res, this.#original);
    this.#commit.onRefused();
    this.#phase = "refused";
    this.install();
  }
}

function method(res: Response, name: Method): AnyMethod {
  return res[name] as unknown as AnyMethod;
}

function put(res: Response, methods: Record<Method, AnyMethod>): void {
  for (const name of METHODS) (res as unknown as Record<Method, AnyMethod>)[name] = methods[name];
}

function isStatus(value: unknown): boolean {
  return typeof value === "number" && value >= 100 && value <= 999;
}

function isChunk(value: unknown): boolean {
  return typeof value === "string" || value instanceof Uint8Array;
}

/** Handles a call on a response that was replaced: sends nothing, and calls the callback as if it had been sent. */
function discard<T>(args: readonly unknown[], answer: T): T {
  const callback = args.findLast((arg) => typeof arg === "function") as (() => void) | undefined;
  if (callback !== undefined) process.nextTick(callback);
  return answer;
}

function clearAnswer(res: Response): void {
  for (const name of res.getHeaderNames()) if (OF_THE_ANSWER.test(name)) res.removeHeader(name);
  res.statusMessage = "";
}
