import { type IncomingMessage, ServerResponse } from "node:http";
import type { Request, Response } from "express";
import { fieldLine } from "./header-block.js";
import { ResponseHead } from "./response-head.js";
import { leaveState, type RequestState, stateIn } from "./request-state.js";

/** The head of a response, on its own `_storeHeader`: wherever the response is passed on to, its headers go with it. */
const HEAD = Symbol("portcullis.head");
/** On the prototype of the responses of one copy of Express: the methods below are in place there. */
const VIEW = Symbol("portcullis.head-view");

/** Node's own step from headers to text; all ways to send headers end in it. */
interface Storing {
  _storeHeader(firstLine: string, headers: unknown): void;
}

/** `_storeHeader` of a response with a head. The one property put on a response: `request-state.ts` says what each costs. */
interface StoreWithHead {
  (this: Response, firstLine: string, headers: unknown): void;
  [HEAD]?: ResponseHead;
}

interface Carrier {
  _storeHeader?: StoreWithHead;
  readonly [VIEW]?: Methods;
}

type Methods = Pick<ServerResponse, "getHeader" | "hasHeader" | "getHeaderNames" | "getHeaders" | "setHeader" | "appendHeader" | "removeHeader" | "writeHead"> & {
  getRawHeaderNames(): string[];
};

/**
 * Shows heads on all responses of an app's copy of Express, as a response passes from app to app: who reads a header finds it,
 * who changes one finds that it was there. Responses without a head are as they were.
 *
 * @param response the app's own `app.response`
 */
export function showHeadsOn(response: Response): void {
  const root = sharedPrototype(response) as (Methods & Carrier) | undefined;
  if (root === undefined || root[VIEW] !== undefined) return;
  // What is there already, and what Node has: another copy of this library may have been here before.
  const { getHeader, hasHeader, getHeaderNames, getRawHeaderNames, getHeaders, setHeader, appendHeader, removeHeader, writeHead } = root;
  const view: Methods & ThisType<Response> = {
    getHeader(name) {
      return getHeader.call(this, name) ?? found(this, name);
    },
    hasHeader(name) {
      return hasHeader.call(this, name) || found(this, name) !== undefined;
    },
    getHeaderNames() {
      return [...namesOf(headOf(this)).map((name) => name.toLowerCase()), ...getHeaderNames.call(this)];
    },
    getRawHeaderNames() {
      return [...namesOf(headOf(this)), ...getRawHeaderNames.call(this)];
    },
    getHeaders() {
      const all = getHeaders.call(this);
      for (const [name, value] of headOf(this)?.entries() ?? []) all[name.toLowerCase()] ??= value;
      return all;
    },
    setHeader(name, value) {
      releaseOne(this, name);
      return setHeader.call(this, name, value);
    },
    appendHeader(name, value) {
      releaseOne(this, name);
      return appendHeader.call(this, name, value);
    },
    removeHeader(name) {
      releaseOne(this, name);
      removeHeader.call(this, name);
    },
    writeHead(...args: unknown[]) {
      // Headers given here replace those that were set.
      if (args.length > 1 && args.some((arg) => typeof arg === "object" && arg !== null)) releaseAll(this);
      return Reflect.apply(writeHead, this, args) as Response;
    },
  };
  for (const [name, value] of Object.entries(view)) Object.defineProperty(root, name, { configurable: true, enumerable: false, writable: true, value });
  Object.defineProperty(root, VIEW, { value: view });
}

/** The prototype directly above Node's: `express.response`, which the response of every app of that copy inherits from. */
export function sharedPrototype(prototype: object): object | undefined {
  let below: object | undefined;
  for (let object: object | null = prototype; object !== null; object = Object.getPrototypeOf(object) as object | null) {
    if (object === ServerResponse.prototype) return below;
    below = object;
  }
  return undefined;
}

/** Lets the headers of this request stay in a head, where its response can carry one. */
export function holdHead(state: RequestState, res: Response): void {
  if (state.head !== undefined || !canCarry(res)) return;
  const head = new ResponseHead();
  const store: StoreWithHead = function storeHeader(firstLine, headers) {
    storeWithHead(this, head, firstLine, headers);
  };
  store[HEAD] = head;
  (res as Carrier)._storeHeader = store;
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
  const store = (res as Carrier)._storeHeader;
  const head = store?.[HEAD];
  if (head !== undefined || store === (ServerResponse.prototype as unknown as Carrier)._storeHeader) return head;
  // Somebody has put a function of theirs around it.
  return (res.req as Request | undefined) === undefined ? undefined : stateIn(res.req)?.head;
}

/** Answers the request, with the headers of its head and these lines. */
export function answerWith(state: RequestState, res: Response & Carrier, status: number, lines: readonly string[], body: string | Buffer | undefined): void {
  // As a whole only while no app has had the request, and nobody listens for what is put on the response or sent.
  if (state.head?.isOpen === true && res.writeHead === res[VIEW]?.writeHead && !hasOwnMethods(res) && hasNone(res)) {
    ServerResponse.prototype.writeHead.call(res, status, lines as string[]);
  } else {
    res.statusCode = status;
    for (let at = 0; at < lines.length; at += 2) res.setHeader(lines[at] as string, lines[at + 1] as string);
  }
  leaveState(state);
  res.end(body);
}

/**
 * A response of HTTP/1, made by Node, that nobody has put a header on, nor methods to see headers by, of an app that is mounted in no other: that
 * one may be of another copy of Express, and takes its own methods back when the request returns to it.
 */
function canCarry(res: Response & Carrier): boolean {
  const app = res.app as unknown as { readonly parent?: unknown; readonly response: Response };
  return (
    res[VIEW] !== undefined &&
    Object.hasOwn(res, "_header") &&
    app.parent === undefined &&
    (res as unknown as Storing)._storeHeader === (ServerResponse.prototype as unknown as Storing)._storeHeader &&
    // Compared, which costs less than to ask for own properties.
    res.setHeader === app.response.setHeader &&
    res.getHeader === app.response.getHeader &&
    hasNone(res) &&
    sendsTextsFirst()
  );
}

const WRAPPED = ["setHeader", "getHeader", "writeHead", "write", "end"] as const;

/** Whether somebody has put methods on this very response, to see or to change what goes through them. */
export function hasOwnMethods(res: Response): boolean {
  return WRAPPED.some((name) => Object.hasOwn(res, name));
}

/** No header on the response itself. */
function hasNone(res: Response): boolean {
  return ServerResponse.prototype.getHeaderNames.call(res).length === 0;
}

/** The head's lines follow the status line. */
function storeWithHead(res: Response, head: ResponseHead, firstLine: string, headers: unknown): void {
  const text = overlaps(head, headers) ? textWithout(head, headers) : head.text;
  (ServerResponse.prototype as unknown as Storing)._storeHeader.call(res, firstLine + text, headers);
}

/** Whether a header of the head stands among the response's own: it came there past the methods above. */
function overlaps(head: ResponseHead, headers: unknown): boolean {
  if (Array.isArray(headers)) return sentNames(headers).some((name) => head.find(name) !== undefined);
  for (const name in headers as object | null | undefined) if (head.find(name) !== undefined) return true;
  return false;
}

/** Lists, of which a response may have several lines (RFC 9110 section 5.2): the app's own adds to them. */
const LISTS: ReadonlySet<string> = new Set(["vary", "ratelimit", "ratelimit-policy"]);

/** The head without what the response has as well, which counts: for apps of another copy of Express, which do not show heads. */
function textWithout(head: ResponseHead, headers: unknown): string {
  const own = new Set(sentNames(headers).map((name) => name.toLowerCase()));
  return head
    .entries()
    .filter(([name]) => !own.has(name.toLowerCase()) || LISTS.has(name.toLowerCase()))
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
