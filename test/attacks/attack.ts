import type { RefusalCode } from "../../src/core/response/problem.js";
import type { Answer } from "../support/serve.js";
import type { Lab } from "./app.js";

/** Stands in every request that is sent here: no refusal and no event may repeat it. */
export const MARK = "zXq7echo";

/** A request that an HTTP client would send. What is left out is that of an ordinary client: GET, the right Host, its own address. */
export interface Ask {
  readonly method?: string;
  readonly path?: string;
  /** `undefined` takes an ordinary header away. */
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: string;
}

/** An answer, and what the app had to do with it. */
export interface Seen extends Answer {
  /** Routes that were reached while the answer was awaited. */
  readonly reached: readonly string[];
  /** Answers that came over the connection: more than one to one request means that a second was smuggled in. */
  readonly responses: number;
}

export type Outcome =
  /** The library refuses: status and body by its code, all security headers, no route reached. */
  | { readonly refused: RefusalCode; readonly over?: "http" }
  /** Node's own parser answers, or closes the connection, before any middleware: no header of ours can be there. */
  | { readonly node: 400 | 408 | 431 | "closed" }
  | { readonly served: number; readonly answers?: 2 }
  /** The attack is answered and gains nothing: what the sequence saw equals `evidence`. */
  | { readonly holds: string; readonly evidence: unknown };

interface Described {
  readonly name: string;
  /** Where it is described: CWE, CVE, GHSA, RFC, an issue, or a requirement of ASVS 5.0 (V…). */
  readonly reference: string;
  readonly outcome: Outcome;
}

/** One request. Its twin changes one field of it and is served. */
export interface RequestAttack extends Described {
  readonly ask: Ask;
  readonly twin?: Ask;
  /** Status of the twin's answer; 200 unless given. */
  readonly served?: number;
}

/** Bytes that no client would send; `{address}` stands for the attacker's address. Its twin has one text replaced by another, and is served. */
export interface WireAttack extends Described {
  readonly wire: string;
  readonly twin?: readonly [from: string, to: string];
  readonly served?: number;
  /** Answers the twin gets: 2 where a second request stands behind the first, and nothing about the first is in doubt. */
  readonly answers?: 2;
  /** Sent to the server that waits for no one and takes headers of 256 KB. */
  readonly impatient?: true;
}

/** Several steps; the last answer, or what was seen on the way, is judged. Its twin takes one step otherwise. */
export interface SequenceAttack extends Described {
  readonly sequence: (lab: Lab, twin: boolean) => Promise<unknown>;
  readonly twin?: { readonly differs: string; readonly outcome: Outcome };
}

export type Attack = RequestAttack | WireAttack | SequenceAttack;

export interface Group {
  readonly title: string;
  readonly attacks: readonly Attack[];
}

export const SERVED: Outcome = { served: 200 };

/** The request with one field changed. */
export function changed(ask: Ask, change: Ask): Ask {
  return { ...ask, ...change, headers: { ...ask.headers, ...change.headers } };
}

/** Fields that a change names: a twin has one. */
export function fieldsOf({ headers = {}, ...rest }: Ask): string[] {
  return [...Object.keys(rest), ...Object.keys(headers)];
}

/** An ordinary request as bytes, which the attack then bends. */
export function wire(requestLine: string, lines: readonly string[] = [], body = ""): string {
  const ordinary = [
    "Host: api.example.com",
    "X-Forwarded-Proto: https",
    "X-Forwarded-For: {address}",
    `X-Marker: ${MARK}`,
  ];
  return [requestLine, ...ordinary, ...lines, "Connection: close", "", body].join("\r\n");
}

/** A JSON body with its type. */
export function json(value: unknown, method = "POST"): Ask {
  return {
    method,
    headers: { "Content-Type": "application/json" },
    body: typeof value === "string" ? value : JSON.stringify(value),
  };
}
