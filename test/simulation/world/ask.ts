import { IncomingMessage, ServerResponse } from "node:http";
import express, { type Express } from "express";
import { Duplex } from "node:stream";
import type { Socket } from "node:net";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Every Set-Cookie line. */
  readonly cookies: readonly string[];
  readonly body: Record<string, unknown>;
}

export interface Question {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly address: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
}

/** A connection without a network: what is written to it is kept. */
class Wire extends Duplex {
  readonly remoteAddress = "127.0.0.1";
  readonly chunks: Buffer[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk);
    done();
  }

  setTimeout(): this {
    return this;
  }
}

/**
 * A request that inherits Express's methods from the start. Express changes the prototype of each request and response it is
 * given, and V8 then gives each of them a hidden class of its own, so that no access to them is ever fast.
 */
class AppRequest extends IncomingMessage {
  app: Express | undefined;
}

class AppResponse extends ServerResponse {
  app: Express | undefined;
}

Object.setPrototypeOf(AppRequest.prototype, express.request);
Object.setPrototypeOf(AppResponse.prototype, express.response);

/** An app whose requests and responses come from `ask`. */
export function newApp(): Express {
  const app = express();
  return Object.assign(app, { request: AppRequest.prototype, response: AppResponse.prototype });
}

/** Asks an Express app in this process, by real request and response objects over no network. */
export function ask(app: Express, { method, path, address, headers = {}, body }: Question): Promise<Answer> {
  return new Promise((resolve) => {
    const wire = new Wire();
    const req = new AppRequest(wire as unknown as Socket);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const all: Record<string, string> = { host: "localhost", "x-forwarded-for": address, ...headers };
    if (text !== undefined)
      Object.assign(all, { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) });
    Object.assign(req, {
      method,
      url: path,
      httpVersion: "1.1",
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      complete: true,
      headers: all,
    });
    req.rawHeaders = Object.entries(all).flat();
    if (text !== undefined) req.push(text);
    req.push(null);
    const res = new AppResponse(req);
    res.assignSocket(wire as unknown as Socket);
    res.once("finish", () => resolve(new WrittenAnswer(res.statusCode, Buffer.concat(wire.chunks).toString())));
    req.app = app;
    res.app = app;
    app(req as never, res as never);
  });
}

/** An answer as it was written; it is read only as far as somebody asks. */
class WrittenAnswer implements Answer {
  readonly status: number;
  readonly #text: string;

  constructor(status: number, text: string) {
    this.status = status;
    this.#text = text;
  }

  get headers(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#lines());
  }

  get cookies(): readonly string[] {
    return this.#lines().flatMap(([name, value]) => (name === "set-cookie" ? [value] : []));
  }

  get body(): Record<string, unknown> {
    const content = this.#text.slice(this.#headEnd + 4).replace(/^[0-9a-f]+\r\n|\r\n0(?:\r\n)*$/g, "");
    return content.startsWith("{") ? (JSON.parse(content) as Record<string, unknown>) : {};
  }

  get #headEnd(): number {
    return this.#text.indexOf("\r\n\r\n");
  }

  #lines(): [string, string][] {
    const lines = this.#text.slice(0, this.#headEnd).split("\r\n").slice(1);
    return lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
    });
  }
}
