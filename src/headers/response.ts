import { randomBytes } from "node:crypto";
import type { Response } from "express";
import type { HeaderBuffer, HeaderLines, ResponsePolicies } from "../core/response/header-buffer.js";
import type { HeaderPlan, NoncedHeader } from "./plan.js";

const HEADERS = Symbol("portcullis.headers");
const POLICY = "Content-Security-Policy";

/** `res.locals` with the header state under a symbol, where the nonce accessor finds it. */
interface Carrier {
  [HEADERS]?: ResponseHeaders;
}

/** The header state of one response: the plan that wrote the headers, and the nonce once it was read. */
export class ResponseHeaders implements ResponsePolicies {
  plan: HeaderPlan;
  readonly #res: Response;
  readonly #headers: HeaderBuffer;
  #nonce: string | undefined;

  /** @param nonce one that may already have been read */
  constructor(res: Response, headers: HeaderBuffer, plan: HeaderPlan, nonce?: string) {
    this.#res = res;
    this.#headers = headers;
    this.plan = plan;
    this.#nonce = nonce;
  }

  get isEnforced(): boolean {
    return this.plan.values.has(POLICY);
  }

  removeNonced(): void {
    for (const header of this.plan.nonced) {
      // A policy that the app has set instead stays.
      const value = this.#res.getHeader(header.name);
      if (value === header.unread || value === this.#withNonce(header)) this.#res.removeHeader(header.name);
    }
  }

  /** The nonce, created on first read; only then is it added to the policies that name it. */
  nonce(): string {
    if (this.#nonce === undefined) {
      this.#nonce = newNonce();
      this.#writeNonce();
    }
    return this.#nonce;
  }

  /**
   * Switches to another plan. Writes only the differences, so a header that the app has set in between stays unless the
   * plans differ in it.
   */
  change(plan: HeaderPlan, secure: boolean): void {
    const before = this.plan;
    this.plan = plan;
    if (this.#nonce !== undefined && plan.nonced.length > 0) this.#holdNonce(this.#nonce);
    if (before === plan || this.#res.headersSent) return;
    for (const name of before.values.keys()) if (!plan.values.has(name)) this.#headers.remove(name);
    const lines = linesOf(plan, secure);
    for (let at = 0; at < lines.length; at += 2) {
      const name = lines[at] as string;
      if (before.values.get(name) !== lines[at + 1]) this.#headers.set(name, lines[at + 1] as string);
    }
    if (this.#nonce !== undefined) this.#writeNonce();
  }

  #writeNonce(): void {
    if (this.#res.headersSent) return;
    for (const header of this.plan.nonced) {
      // Keep a policy that the app, or Express's own error page, has set instead.
      if (this.#headers.get(header.name) === header.unread) this.#headers.set(header.name, this.#withNonce(header));
    }
  }

  #withNonce({ parts }: NoncedHeader): string {
    return parts.join(`'nonce-${this.#nonce}'`);
  }

  /** When no earlier policy named a nonce, its plain value may have been changed, or lost with `res.locals`. */
  #holdNonce(nonce: string): void {
    const locals = this.#res.locals as { cspNonce?: unknown };
    if (locals.cspNonce !== nonce)
      Reflect.defineProperty(locals, "cspNonce", { configurable: true, enumerable: true, value: nonce });
  }
}

function linesOf(plan: HeaderPlan, secure: boolean): HeaderLines {
  return secure ? plan.secure : plan.plain;
}

/** 144 random bits: more than the 128 that CSP Level 3 section 7.1 asks for, and base64 without padding. */
const NONCE_BYTES = 18;
const NONCE_CHARACTERS = 24;
/** Number of nonces created at once, because a call for random bytes costs more than the bytes. */
const NONCES_AT_ONCE = 128;

let nonces = "";
let given = 0;

function newNonce(): string {
  if (given === nonces.length) {
    nonces = randomBytes(NONCE_BYTES * NONCES_AT_ONCE).toString("base64");
    given = 0;
  }
  given += NONCE_CHARACTERS;
  return nonces.slice(given - NONCE_CHARACTERS, given);
}

/**
 * `res.locals.cspNonce`. An own, enumerable property, because `res.render` of Express 5 copies own properties only. All
 * responses share one descriptor, because a getter for each would cost more than the headers.
 */
const NONCE_PROPERTY: PropertyDescriptor = {
  configurable: true,
  enumerable: true,
  get(this: Carrier): string {
    // A copy that lost the symbol still gets a nonce, but one that allows nothing.
    return this[HEADERS]?.nonce() ?? newNonce();
  },
};

/** Writes a plan on a response, or switches to it when another plan was written before. */
export function writeHeaders(res: Response, headers: HeaderBuffer, plan: HeaderPlan, secure: boolean): void {
  if (res.headersSent) return;
  const { policies } = headers;
  if (policies instanceof ResponseHeaders) {
    policies.change(plan, secure);
    return;
  }
  // Headers are deferred only for a response that has none yet.
  if (!headers.isWaiting) res.removeHeader("X-Powered-By");
  headers.begin(linesOf(plan, secure), (released) => offerNonce(released, headers, plan));
}

/** The plan that was written on a response, if one was. */
export function planOf({ policies }: HeaderBuffer): HeaderPlan | undefined {
  return policies instanceof ResponseHeaders ? policies.plan : undefined;
}

/** Defines `res.locals.cspNonce` on a response that goes on to the app. */
function offerNonce(res: Response, headers: HeaderBuffer, plan: HeaderPlan): void {
  const locals = ((res.locals as object | undefined) ??
    (res.locals = Object.create(null) as Response["locals"])) as Carrier & { cspNonce?: string };
  // No policy names a nonce, so reading it has no effect: a plain value, at a tenth of the accessor's cost.
  if (plan.nonced.length === 0 && Object.isExtensible(locals) && !("cspNonce" in locals)) {
    locals.cspNonce = newNonce();
    headers.policies = new ResponseHeaders(res, headers, plan, locals.cspNonce);
    return;
  }
  const policies = new ResponseHeaders(res, headers, plan);
  headers.policies = policies;
  // Reflect, so that a frozen `res.locals` stays unchanged instead of throwing. The accessor first: the other order
  // costs more.
  Reflect.defineProperty(locals, "cspNonce", NONCE_PROPERTY);
  Reflect.set(locals, HEADERS, policies);
}
