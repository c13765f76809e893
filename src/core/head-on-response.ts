import { type IncomingMessage, ServerResponse } from "node:http";
import type { Response } from "express";
import { fieldLine } from "./header-block.js";
import { ResponseHead } from "./response-head.js";
import type { RequestState } from "./request-state.js";

/** The head of a response, on the response itself: wherever it is passed on to, its headers go with it. */
const HEAD = Symbol("portcullis.head");
/** On the `response` of an app: that the methods below are in place there. */
const VIEW = Symbol("portcullis.head-view");

/** Node's own step from headers to text; all ways to send headers end in it. */
interface Storing {
  _storeHeader(firstLine: string, headers: unknown): void;
}

interface Carrier {
  [HEAD]?: ResponseHead;
  readonly [VIEW]?: object;
}

type Methods = Pick<ServerResponse, "getHeader" | "hasHeader" | "getHeaderNames" | "getHeaders" | "setHeader" | "appendHeader" | "removeHeader" | "writeHead"> & {
  getRawHeaderNames?(): string[];
};

/**
 * Shows the heads of an app's responses on them: who reads a header finds it, who changes one finds that it was there.
 *
 * @param response the app's own `app.response`, from which its responses inherit, and no other app's
 */
export function showHeadsOn(response: Response): void {
  const base = Object.getPrototypeOf(response) as Methods;
  const view: Methods & ThisType<Response> = {
    getHeader(name) {
      return found(this, name) ?? base.getHeader.call(this, name);
    },
    hasHeader(name) {
      return found(this, name) !== undefined || base.hasHeader.call(this, name);
    },
    getHeaderNames() {
      return [...namesOf(headOf(this)).map((name) => name.toLowerCase()), ...base.getHeaderNames.call(this)];
    },
    getRawHeaderNames() {
      return [...namesOf(headOf(this)), ...(base.getRawHeaderNames?.call(this) ?? [])];
    },
    getHeaders() {
      const all = base.getHeaders.call(this);
      for (const [name, value] of headOf(this)?.entries() ?? []) all[name.toLowerCase()] = value;
      return all;
    },
    setHeader(name, value) {
      releaseOne(this, name);
      return base.setHeader.call(this, name, value);
    },
    appendHeader(name, value) {
      releaseOne(this, name);
      return base.appendHeader.call(this, name, value);
    },
    removeHeader(name) {
      releaseOne(this, name);
      base.removeHeader.call(this, name);
    },
    writeHead(...args: unknown[]) {
      // Headers given here replace those that were set.
      if (args.length > 1 && args.some((arg) => typeof arg === "object" && arg !== null)) releaseAll(this);
      return Reflect.apply(base.writeHead, this, args) as Response;
    },
  };
  for (const [name, value] of Object.entries(view)) Object.defineProperty(response, name, { configurable: true, enumerable: false, writable: true, value });
  Object.defineProperty(response, VIEW, { value: response });
}

/** Lets the headers of this request stay in a head, where its response can carry one. */
export function holdHead(state: RequestState, res: Response): void {
  if (state.head !== undefined || !canCarry(res)) return;
  const head = new ResponseHead();
  (res as Carrier)[HEAD] = head;
  (res as unknown as Storing)._storeHeader = storeWithHead;
  state.head = head;
}

/** Where a layer puts headers: into the head, or on the response. */
export function headersFor(state: RequestState, res: Response): ResponseHead | Response {
  return state.head?.isOpen === true ? state.head : res;
}

/** The request goes on to the app. */
export function passHead({ head }: RequestState, res: Response): void {
  if (head?.isOpen === true) head.close(res);
}

export function headOf(res: Response): ResponseHead | undefined {
  return (res as Carrier)[HEAD];
}

/** Answers the request, with the headers of its head and these lines. */
export function answerWith(state: RequestState, res: Response, status: number, lines: readonly string[], body: string | Buffer | undefined): void {
  // Whoever replaced `writeHead` wants to see the headers on the response.
  if (state.head !== undefined && !Object.hasOwn(res, "writeHead") && hasNone(res)) {
    ServerResponse.prototype.writeHead.call(res, status, lines as string[]);
  } else {
    res.statusCode = status;
    for (let at = 0; at < lines.length; at += 2) res.setHeader(lines[at] as string, lines[at + 1] as string);
  }
  res.end(body);
}

/**
 * A response of HTTP/1 that nobody has put a header on, of an app that shows heads and is mounted in no other: that one would
 * take its own methods back when the request returns to it.
 */
function canCarry(res: Response & Carrier): boolean {
  return (
    res[VIEW] === Object.getPrototypeOf(res) &&
    (res.app as { parent?: unknown }).parent === undefined &&
    (res as unknown as Storing)._storeHeader === (ServerResponse.prototype as unknown as Storing)._storeHeader &&
    hasNone(res) &&
    sendsTextsFirst()
  );
}

/** No header on the response itself. */
function hasNone(res: Response): boolean {
  return ServerResponse.prototype.getHeaderNames.call(res).length === 0;
}

/** `_storeHeader` of a response with a head: the head's lines follow the status line. */
function storeWithHead(this: Response & Carrier, firstLine: string, headers: unknown): void {
  const head = this[HEAD];
  const text = head === undefined ? "" : this[VIEW] === undefined ? textWithout(head, headers) : head.text;
  (ServerResponse.prototype as unknown as Storing)._storeHeader.call(this, firstLine + text, headers);
}

/** For a response that was handed to an app which does not show heads: what was set there counts. */
function textWithout(head: ResponseHead, headers: unknown): string {
  const own = new Set(sentNames(headers).map((name) => name.toLowerCase()));
  return head
    .entries()
    .filter(([name]) => !own.has(name.toLowerCase()))
    .map(([name, value]) => fieldLine(name, value))
    .join("");
}

/** The names in what Node passes on: pairs, a flat list, or an object. */
function sentNames(headers: unknown): string[] {
  if (!Array.isArray(headers)) return Object.keys(headers ?? {});
  const list = headers as unknown[];
  return list.flatMap((item, at) => (Array.isArray(item) ? [String(item[0])] : at % 2 === 0 ? [String(item)] : []));
}

let sends: boolean | undefined;

/**
 * Whether this Node makes of a first line and headers what all do that are known: `_storeHeader` is no documented name. Tried
 * once, on a response that is never sent; where it does not, headers are put on the response one by one.
 */
function sendsTextsFirst(): boolean {
  if (sends !== undefined) return sends;
  try {
    const probe = new ServerResponse({ method: "GET", httpVersionMajor: 1, httpVersionMinor: 1, headers: {} } as IncomingMessage);
    const { _storeHeader } = ServerResponse.prototype as unknown as Storing;
    Object.assign(probe, { _storeHeader: (first: string, headers: unknown) => _storeHeader.call(probe, `${first}${fieldLine("X-Head", "1")}`, headers) });
    probe.setHeader("X-Own", "2");
    probe.writeHead(204);
    sends = (probe as unknown as { _header: unknown })._header?.toString().startsWith("HTTP/1.1 204 No Content\r\nX-Head: 1\r\nX-Own: 2\r\n") === true;
  } catch {
    sends = false;
  }
  return sends;
}

function found(res: Response, name: unknown): string | undefined {
  return typeof name === "string" ? headOf(res)?.find(name) : undefined;
}

function namesOf(head: ResponseHead | undefined): string[] {
  return head === undefined ? [] : head.entries().map(([name]) => name);
}

function releaseOne(res: Response, name: string): void {
  // What has been sent is refused by Node itself, and so is what is no name.
  if (found(res, name) !== undefined && !res.headersSent) headOf(res)?.release(name, putOn(res));
}

function releaseAll(res: Response): void {
  if (!res.headersSent) headOf(res)?.releaseAll(putOn(res));
}

/** Node's own method: the app's has done what it does already, or is about to. */
function putOn(res: Response): (name: string, value: string) => void {
  return (name, value) => void ServerResponse.prototype.setHeader.call(res, name, value);
}
