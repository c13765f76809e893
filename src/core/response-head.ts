import { ServerResponse } from "node:http";
import type { Response } from "express";
import type { RequestState } from "./request-state.js";

/** What the layers need of a response to put headers on it. */
export interface HeaderTarget {
  getHeader(name: string): number | string | string[] | undefined;
  setHeader(name: string, value: string): unknown;
}

/**
 * The headers of a request that is still on its way through the layers. Put on the response one by one, as the app may read
 * and change them there, they cost more than anything else a refusal does; so they wait here. A refusal sends them in one
 * list, and before the app gets the request they go on the response.
 */
export class ResponseHead {
  #ready: readonly string[] = [];
  #write: ((res: Response) => void) | undefined;
  readonly #lines: string[] = [];

  /**
   * The lines that are ready since start-up.
   *
   * @param write puts the same on the response, when it comes to that
   */
  begin(lines: readonly string[], write: (res: Response) => void): void {
    this.#ready = lines;
    this.#write = write;
  }

  /** By the very name it was set with: all who write here are layers. */
  getHeader(name: string): string | undefined {
    const at = this.#lines.indexOf(name);
    return at === -1 ? undefined : this.#lines[at + 1];
  }

  setHeader(name: string, value: string): void {
    const at = this.#lines.indexOf(name);
    if (at === -1) this.#lines.push(name, value);
    else this.#lines[at + 1] = value;
  }

  /** Puts everything on the response. */
  writeTo(res: Response): void {
    this.#write?.(res);
    writeLines(res, this.#lines);
  }

  /** Name, value, name, value, …: everything, and these lines after it. */
  linesWith(lines: readonly string[]): string[] {
    return [...this.#ready, ...this.#lines, ...lines];
  }
}

/** Where a layer puts headers: with those that wait, or on the response. */
export function headersFor(state: RequestState, res: Response): ResponseHead | Response {
  return state.head ?? res;
}

/** Keeps the headers of this request waiting, if nobody has put any on the response before. */
export function holdHead(state: RequestState, res: Response): void {
  if (isUntouched(res)) state.head ??= new ResponseHead();
}

/** The request goes on to the app: its headers go on the response. */
export function releaseHead(state: RequestState, res: Response): void {
  const { head } = state;
  if (head === undefined) return;
  state.head = undefined;
  head.writeTo(res);
}

/** Answers the request, with the headers that wait and these lines. */
export function answerWith(state: RequestState, res: Response, status: number, lines: readonly string[], body: string | Buffer | undefined): void {
  const { head } = state;
  if (head !== undefined && isUntouched(res)) {
    state.head = undefined;
    res.writeHead(status, head.linesWith(lines));
    res.end(body);
    return;
  }
  releaseHead(state, res);
  res.statusCode = status;
  writeLines(res, lines);
  res.end(body);
}

const { writeHead } = ServerResponse.prototype;

/** Nothing put on it, and nobody listening for what will be: who replaces `writeHead` reads the headers there one by one. */
function isUntouched(res: Response): boolean {
  return res.writeHead === writeHead && res.getHeaderNames().length === 0;
}

function writeLines(res: Response, lines: readonly string[]): void {
  for (let at = 0; at < lines.length; at += 2) res.setHeader(lines[at] as string, lines[at + 1] as string);
}
